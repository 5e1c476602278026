"""Let VMamba see an equirectangular image as closed: the left and right edges are neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from mmifn.core.errors import UserError
from mmifn.encoders.vmamba.model import VMamba


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


def wrapped_features(model: VMamba, erp: Tensor, pad_px: int | None = None) -> list[Tensor]:
    """Return `model.forward_features` of an ERP with its vertical seam closed.

    erp: (B, 3, H, W), W a multiple of the model's stride (32 with four stages). pad_px: how far the image is
    continued on either side, a multiple of the stride; None for twice the stride; 0 leaves the seam open.
    Returns the maps of the stages, NCHW, of the same sizes as without. Raises UserError for other sizes.
    """
    stride, width = model.config.stride, erp.shape[-1]
    pad_px = 2 * stride if pad_px is None else pad_px
    if width % stride or pad_px % stride:
        raise UserError(f"closing the seam needs an image width and a padding that are multiples of {stride} "
                        f"pixels; found {width} and {pad_px}. Resize the image or change the padding")
    return crop_wrapped(model.forward_features(pad_wrapped(erp, pad_px)), pad_px, width)
