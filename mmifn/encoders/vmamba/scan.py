"""The selective scan of VMamba in four directions, as one differentiable torch operator.

Source: SS2D of VMamba (Liu et al., 2024) with the selective scan of Mamba (Gu and Dao, 2023). The operator is
opaque to torch.compile. On CUDA the Triton kernels run where Triton and a C compiler are; elsewhere, and in float64,
the portable torch code does. Both compute the same. Differentiable once.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from mmifn.encoders.vmamba import scan_portable, scan_triton


def cross_scan(x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, decay: Tensor, skip: Tensor) -> Tensor:
    """Scan a map along rows, columns, and both in reverse, and add the four results up.

    In direction k: [dt (R), B (N), C (N)] = proj_k; Δ = softplus(weight_k dt + bias_k);
    h_t = exp(Δ decay_k) h_{t-1} + Δ B x_t, from h = 0 and carried across the ends of lines; y_t = C h_t.
    skip x_t is added once.

    x: (B, H, W, D); proj: (B, H, W, 4, R + 2N); weight: (4, D, R); bias: (4, D); decay: A (4, N, D),
    negative; skip: (D), the sum of the four directions' skips. float64 is kept, anything else is computed in
    float32, under autocast too. Returns (B, H, W, D), float64 or float32.
    """
    kept = x.dtype if x.dtype == torch.float64 else torch.float32
    inputs = [value.to(kept).contiguous() for value in (x, proj, weight, bias, decay, skip)]
    if not torch.compiler.is_compiling() and torch.is_inference_mode_enabled():
        return _forward(*inputs)[0]  # the operator's first call imports the compiler, which takes as long as a panorama
    return torch.ops.mmifn.cross_scan(*inputs)[0]


def _backend(x: Tensor) -> ModuleType:
    return scan_triton if x.is_cuda and x.dtype == torch.float32 and scan_triton.available() else scan_portable


def _forward(x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, decay: Tensor,
             skip: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    with torch.autocast(x.device.type, enabled=False):
        return _backend(x).forward(x, proj, weight, bias, decay, skip)


_cross_scan = torch.library.custom_op("mmifn::cross_scan", _forward, mutates_args=())


@torch.library.custom_op("mmifn::cross_scan_backward", mutates_args=())
def _cross_scan_backward(
    g: Tensor, x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, decay: Tensor, skip: Tensor,
    row_states: Tensor, column_states: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    inputs = (x, proj, weight, bias, decay, skip)
    with torch.autocast(x.device.type, enabled=False):
        return _backend(x).backward(g.contiguous(), *inputs, row_states, column_states)


@_cross_scan.register_fake
def _(x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, decay: Tensor,
      skip: Tensor) -> tuple[Tensor, ...]:
    return torch.empty_like(x), *(x.new_empty(shape) for shape in _backend(x).states_shapes(x, decay))


@_cross_scan_backward.register_fake
def _(g: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(value) for value in saved[:6])


def _keep(ctx, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs, *output[1:])


def _backward(ctx, g: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
    return torch.ops.mmifn.cross_scan_backward(g, *ctx.saved_tensors)


_cross_scan.register_autograd(_backward, setup_context=_keep)
