"""Convolutions of frozen networks on CPUs as oneDNN does them best: weights in its own order, bias and clipping on the way.

A convolution, its bias and ReLU6 one after the other read and write every map three times, and put the weights in order at
every call. These are operators of torch that its own compiler calls; where a build lacks them nothing is packed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PackedConvolution:
    """What a convolution gives, clipped to 0..6 or not, within rounding: maps (B, C, H, W) float32 -> (B, C', H', W').

    The weights are copied: later changes of the convolution's are not seen.
    """

    def __init__(self, convolution: nn.Conv2d, clips: bool) -> None:
        geometry = [list(convolution.padding), list(convolution.stride), list(convolution.dilation), convolution.groups]
        weight = convolution.weight.detach()
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *geometry, None)
        self._bias = None if convolution.bias is None else convolution.bias.detach()
        self._rest = [*geometry, *(("hardtanh", [0.0, 6.0], "") if clips else ("none", [], ""))]

    def __call__(self, maps: Tensor) -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise(maps, self._weight, self._bias, *self._rest)


def packed(convolution: nn.Conv2d, clips: bool) -> PackedConvolution | None:
    """Return a convolution packed, or None where it is on no CPU, in another precision, or torch cannot."""
    if convolution.weight.device.type != "cpu" or convolution.weight.dtype != torch.float32:
        return None
    if not torch.backends.mkldnn.is_available():
        return None
    try:
        made = PackedConvolution(convolution, clips)
        with torch.inference_mode():
            made(torch.zeros(1, convolution.in_channels, *convolution.kernel_size))
    except (AttributeError, RuntimeError, NotImplementedError, TypeError):
        return None
    return made
