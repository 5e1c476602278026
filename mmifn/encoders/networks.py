"""The registry of frozen networks: encoders of views and of whole panoramas, by name.

A new network is a module with a `FAMILY` (see `mmifn.encoders.encoder`) and its entry in FAMILIES.
"""

from __future__ import annotations

from pathlib import Path

import torch

from mmifn.core.errors import UserError
from mmifn.encoders import adapted, lite0, timm_models, vit_s14
from mmifn.encoders.encoder import Encoder
from mmifn.encoders.presets import Preset
from mmifn.encoders.vmamba import encoder as vmamba

# Looked through in this order: the last two take any name that the others do not have.
FAMILIES = (lite0.FAMILY, vit_s14.FAMILY, adapted.FAMILY, timm_models.FAMILY, vmamba.FAMILY)


def load_view_encoder(name: str, device: torch.device, weights: Path | None = None) -> Encoder:
    """Return a view encoder by name: vit_s14 or lite0 (from packages), an adapted one, or any timm model.

    weights: a local file, for adapted encoders and timm models.
    """
    family = next(family for family in FAMILIES if family.view_names is None or name in family.view_names)
    return family.views(name, weights, device)


def load_erp_encoder(preset: Preset, device: torch.device, weights: Path | None = None) -> Encoder:
    """Return a preset's ERP encoder: lite0 (from its package), an adapted one, or a VMamba variant (downloaded or `weights`)."""
    if preset.wrap_px % 32 or preset.wrap_px < 0 or preset.wrap_px > 2 * preset.erp_height_px:
        raise UserError(f"--wrap-px {preset.wrap_px}: wanted a multiple of 32, the networks' stride, up to the ERP's width")
    name = preset.global_
    family = next(family for family in FAMILIES if family.erp_names is None or name in family.erp_names)
    return family.erp(name, weights, device, preset.grid, preset.wrap_px)
