"""Let a network see an equirectangular image (ERP) as closed: the left and right edges are neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mmifn.core.errors import UserError


def pad_wrapped(erp: Tensor, pad_px: int) -> Tensor:
    """Continue an ERP across its vertical edges: (B, C, H, W) -> (B, C, H, W + 2 pad_px), 0 <= pad_px <= W."""
    width = erp.shape[-1]
    if not 0 <= pad_px <= width:
        raise UserError(f"an ERP {width} pixels wide cannot be continued by {pad_px} pixels on either side")
    return torch.cat([erp[..., width - pad_px:], erp, erp[..., :pad_px]], dim=-1)


def crop_wrapped(maps: list[Tensor], pad_px: int, width_px: int) -> list[Tensor]:
    """Cut from feature maps of a continued ERP what lies beyond its edges: (B, C, h, w) -> (B, C, h, w').

    width_px: of the ERP before it was continued. Wherever pad_px and width_px are multiples of a map's stride,
    w' = width_px / stride.
    """
    cut = []
    for value in maps:
        whole = width_px + 2 * pad_px
        start, size = (value.shape[-1] * part // whole for part in (pad_px, width_px))
        cut.append(value[..., start:start + size])
    return cut


def see_closed(network: Callable[[Tensor], Sequence[Tensor]], images: Tensor, wrap_px: int) -> list[Tensor]:
    """Run a network on panoramas continued by wrap_px on both sides, and cut the continuation from its maps."""
    if not wrap_px:
        return list(network(images))
    return crop_wrapped(list(network(pad_wrapped(images, wrap_px))), wrap_px, images.shape[-1])
