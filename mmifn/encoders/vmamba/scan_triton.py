"""The selective scan of a map in four directions on CUDA, in Triton kernels; the twin of `scan_portable`.

The launches of the four directions follow each other and add to one map: results do not depend on timing.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

INSTALLED = importlib.util.find_spec("triton") is not None
CHUNK, BLOCK = 64, 32


@lru_cache(maxsize=1)
def available() -> bool:
    """Tell whether the kernels can run: Triton is installed, and finds the C compiler that it builds their launchers with.

    Says once, on stderr, that it is the compiler which is missing.
    """
    if not INSTALLED:
        return False
    compiler = next((name for name in (os.environ.get("CC"), "gcc", "clang", "cc") if name and shutil.which(name)), None)
    if compiler is None:
        print("note: Triton is here but no C compiler (gcc, clang or $CC), which it needs at run time: the slower, portable scan "
              "is used. On Debian: apt-get install gcc libc6-dev", file=sys.stderr)
    return compiler is not None


def _cells(x: Tensor, decay: Tensor) -> tuple[int, int, int, int]:
    """Return the shape of values per chunk: x (B, H, W, D), decay (4, N, D) -> (B, N, chunks, D)."""
    batch, height, width, d = x.shape
    return batch, decay.shape[1], -(-height * width // CHUNK), d


class _Launcher:
    """Runs the kernels of one direction."""

    def __init__(self, x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, decay: Tensor, k: int) -> None:
        from mmifn.encoders.vmamba import triton_kernels

        self.kernels = triton_kernels
        self.cells, rank, n = _cells(x, decay), weight.shape[2], decay.shape[1]
        self.x, self.proj, self.decay = x, proj[..., k, :], decay[k].contiguous()
        self.dt = self.proj[..., :rank]
        self.delta = F.softplus(F.linear(self.dt, weight[k], bias[k]))
        self.sizes = (*x.shape[1:], n, self.cells[2], proj.stride(2))
        self.b_at, self.c_at = rank, rank + n
        self.direction = {"COLUMNS": k % 2 == 1, "REVERSE": k >= 2, "CHUNK": CHUNK, "BLOCK": BLOCK}

    def tiles(self) -> tuple[int, int]:
        """Return the grid of one program per chunk and block of channels."""
        batch, _, chunks, d = self.cells
        return batch * chunks, -(-d // BLOCK)

    def carry(self, ends: Tensor, decays: Tensor, reverse: bool) -> Tensor:
        """Return the true states at chunks' starts from their ends: (B, N, chunks, D)."""
        batch, n, chunks, d = self.cells
        starts = torch.empty_like(ends)
        self.kernels.carry[(batch * n, -(-d // BLOCK))](ends, decays, starts, d, chunks, REVERSE=reverse,
                                                        CHUNK=CHUNK, BLOCK=BLOCK)
        return starts

    def forward(self, y: Tensor) -> Tensor:
        """Add the direction's scan to y (B, H, W, D); return the state before each chunk."""
        ends, decays = self.x.new_empty(self.cells), self.x.new_empty(self.cells)
        shared = (self.x, self.delta, self.proj, self.decay)
        self.kernels.chunk_ends[self.tiles()](*shared, ends, decays, *self.sizes, self.b_at, **self.direction)
        starts = self.carry(ends, decays, reverse=False)
        self.kernels.outputs[self.tiles()](*shared, starts, y, *self.sizes, self.b_at, self.c_at,
                                           **self.direction)
        return starts

    def backward(self, g: Tensor, starts: Tensor, grad_x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Add to grad_x; return the gradients of Δ (B, H, W, D), B and C (B, H, W, 2N), and A (N, D)."""
        ends, decays, grad_decay = (self.x.new_empty(self.cells) for _ in range(3))
        self.kernels.chunk_ends_backward[self.tiles()](g, self.delta, self.proj, self.decay, ends, decays,
                                                       *self.sizes, self.c_at, **self.direction)
        after = self.carry(ends, decays, reverse=True)
        grad_delta = torch.empty_like(self.x)
        parts = self.x.new_empty(self.tiles()[1], *self.x.shape[:3], 2 * self.cells[1])
        self.kernels.gradients[self.tiles()](
            g, self.x, self.delta, self.proj, self.decay, starts, after, grad_x, grad_delta, parts,
            grad_decay, *self.sizes, self.b_at, self.c_at, **self.direction)
        return grad_delta, parts.sum(0), grad_decay.sum((0, 2))


def forward(x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, decay: Tensor,
            skip: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scan a map in four directions and add them up; as `scan_portable.forward`, in float32."""
    y = x * skip
    states = [_Launcher(x, proj, weight, bias, decay, k).forward(y) for k in range(4)]
    return y, torch.stack(states[0::2]), torch.stack(states[1::2])


def states_shapes(x: Tensor, decay: Tensor) -> list[tuple[int, ...]]:
    """Return the shapes of `forward`'s states: (2 directions, B, N, chunks, D), twice."""
    return [(2, *_cells(x, decay))] * 2


def backward(g: Tensor, x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, decay: Tensor, skip: Tensor,
             *states: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of all six inputs of `forward`, given g, that of its y, and its states."""
    grad_x, grad_proj = g * skip, torch.empty_like(proj)
    grads = [torch.empty_like(value) for value in (weight, bias, decay)]
    for k in range(4):
        scan = _Launcher(x, proj, weight, bias, decay, k)
        grad_delta, grad_ends, grads[2][k] = scan.backward(g, states[k % 2][k // 2], grad_x)
        grad_z = grad_delta.mul_(-torch.expm1(-scan.delta)).flatten(0, 2)  # softplus' = 1 - exp(-softplus)
        grads[0][k], grads[1][k] = grad_z.t() @ scan.dt.flatten(0, 2), grad_z.sum(0)
        grad_dt = (grad_z @ weight[k]).view(scan.dt.shape)
        grad_proj[..., k, :] = torch.cat([grad_dt, grad_ends], dim=-1)
    return grad_x, grad_proj, *grads, (g * x).sum((0, 1, 2))
