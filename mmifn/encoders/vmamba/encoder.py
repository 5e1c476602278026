"""VMamba as the encoder of the global branch: stages 2, 3 and 4, pooled to one grid."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from mmifn.encoders.encoder import IMAGENET, Encoder, Family
from mmifn.encoders.pooling import pool_erp_grid
from mmifn.encoders.seam import see_closed
from mmifn.encoders.vmamba.checkpoint import load_vmamba
from mmifn.encoders.vmamba.config import CLASSES
from mmifn.encoders.vmamba.model import VMamba


def _erp(name: str, weights: Path | None, device: torch.device, grid: tuple[int, int], wrap_px: int) -> Encoder:
    """Load a VMamba as published: one with another classifier is another network, and refused."""
    return erp_encoder(name, *load_vmamba(name, weights, num_classes=CLASSES), device, grid, wrap_px)


def erp_encoder(name: str, network: VMamba, digest: str, device: torch.device, grid: tuple[int, int],
                wrap_px: int) -> Encoder:
    """Return a VMamba as it looks at panoramas; digest: the identity of its weights."""
    network = network.requires_grad_(False).eval().to(device)

    def run(images: Tensor) -> list[Tensor]:
        return [pool_erp_grid(maps, grid) for maps in see_closed(network.forward_features, images, wrap_px)[1:]]

    settings = {"stages": "2, 3, 4", "pool": "mean", "grid": list(grid), "wrap_px": wrap_px}
    return Encoder(name, digest, settings, device, *IMAGENET, run, network)


FAMILY = Family(erp=_erp, erp_names=None)
