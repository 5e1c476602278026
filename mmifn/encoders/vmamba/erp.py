"""Let VMamba see an equirectangular image as closed: the left and right edges are neighbours."""

from __future__ import annotations

from torch import Tensor

from mmifn.core.errors import UserError
from mmifn.encoders.seam import see_closed
from mmifn.encoders.vmamba.model import VMamba


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
    return see_closed(model.forward_features, erp, pad_px)
