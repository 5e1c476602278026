"""The frozen networks of the viewport and the global branch, behind two small interfaces.

A view encoder maps tangent views (B, 3, S, S) in 0..1 to vectors (B, D); an ERP encoder maps panoramas (B, 3, H, W)
in 0..1 to three levels (B, T, C_l) on one grid. Both know the hash of their weights and their own preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmifn.core import torchvision_shim as compat  # noqa: F401  (before timm and transformers)
from mmifn.core.artefact import sha256_tensors
from mmifn.core.errors import UserError, first_line
from mmifn.encoders.adapted import BACKBONES, ERP_ADAPTED, AdaptedEncoder, load_adapted
from mmifn.encoders.packaged import HALF, IMAGENET, LITE0_STAGES, build_lite0, build_vit_s14
from mmifn.encoders.pooling import mean_std, pool_erp_grid
from mmifn.encoders.presets import Preset
from mmifn.encoders.published import DownloadFailed, Published, cached_hub_file, published_views, require_publisher
from mmifn.encoders.state import load_strictly, read_state
from mmifn.encoders.vmamba import crop_wrapped, load_vmamba, pad_wrapped

VIT_S_TAPS = (2, 4, 6)  # early layers see distortions; the last ones mostly meaning


@dataclass(frozen=True)
class Encoder:
    """A frozen network with its identity.

    run: normalised images (B, 3, H, W) -> features; settings: all that changes the values, for the provenance.
    """

    name: str
    weights_sha256: str
    settings: dict[str, Any]
    device: torch.device
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    run: Callable[[Tensor], Any]

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Any:
        mean = torch.tensor(self.mean, device=self.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=self.device).view(3, 1, 1)
        with torch.autocast(self.device.type, enabled=self.device.type == "cuda"):
            return self.run((images.to(self.device) - mean) / std)


def _freeze(network: nn.Module, device: torch.device) -> tuple[nn.Module, str]:
    """Put a network in evaluation mode on a device; return it and its weights' hash (taken on the CPU)."""
    digest = sha256_tensors(network.state_dict())
    return network.requires_grad_(False).eval().to(device), digest


def _vit_s14(device: torch.device) -> Encoder:
    network = build_vit_s14()
    network.encoder.layer = network.encoder.layer[:max(VIT_S_TAPS)]  # what lies above the last tap is not needed
    network, digest = _freeze(network, device)

    def run(images: Tensor) -> Tensor:
        states = network(pixel_values=images, output_hidden_states=True).hidden_states
        # patch tokens of a layer as a map (B, 384, patches, 1): the spread over patches tells noise and blocks
        return torch.cat([mean_std(states[tap][:, 1:].transpose(1, 2)[..., None]) for tap in VIT_S_TAPS], dim=1)

    return Encoder("vit_s14", digest, {"taps": list(VIT_S_TAPS), "pool": "mean+std of patches"}, device, *IMAGENET, run)


def _lite0_views(device: torch.device) -> Encoder:
    network, digest = _freeze(build_lite0(), device)
    settings = {"stages": list(LITE0_STAGES), "pool": "mean+std"}
    return Encoder("lite0", digest, settings, device, *HALF,
                   lambda images: torch.cat([mean_std(maps) for maps in network(images)], dim=1))


def _see_closed(network: Callable[[Tensor], list[Tensor]], images: Tensor, wrap_px: int) -> list[Tensor]:
    """Run a network on panoramas continued by wrap_px on both sides, and cut the continuation from its maps."""
    if not wrap_px:
        return list(network(images))
    return crop_wrapped(list(network(pad_wrapped(images, wrap_px))), wrap_px, images.shape[-1])


def _lite0_erp(device: torch.device, grid: tuple[int, int], wrap_px: int) -> Encoder:
    network, digest = _freeze(build_lite0(), device)

    def run(images: Tensor) -> list[Tensor]:
        pooled = [pool_erp_grid(maps, grid, with_std=True) for maps in _see_closed(network, images, wrap_px)]
        return [torch.cat(pooled[:3], dim=2), pooled[3], pooled[4]]

    settings = {"stages": "1+2+3, 4, 5", "pool": "mean+std", "grid": list(grid), "wrap_px": wrap_px}
    return Encoder("lite0", digest, settings, device, *HALF, run)


# --- networks adapted to distortions ---------------------------------------------------------------------------------

def _adapted(name: str, weights: Path | None, device: torch.device) -> tuple[AdaptedEncoder, str, dict[str, Any]]:
    network, about = load_adapted(name, weights)
    network, digest = _freeze(network, device)
    network = network.to(memory_format=torch.channels_last)  # nearly twice as fast on CPUs
    return network, digest, {"adapted_on": about["scenes"]}


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _adapted_views(name: str, weights: Path | None, device: torch.device) -> Encoder:
    """Give the head's scores of a view and nothing else, so that what a viewport is worth is seen in that viewport; the
    kinds of distortion would not carry over to kinds that fusion has not met."""
    network, digest, settings = _adapted(name, weights, device)
    backbone = BACKBONES[name]
    return Encoder(name, digest, settings | {"pool": "scores of the head"}, device, backbone.mean, backbone.std,
                   lambda images: network(_channels_last(images))[1][:, network.scores].float())


def _adapted_erp(name: str, weights: Path | None, device: torch.device, grid: tuple[int, int], wrap_px: int) -> Encoder:
    network, digest, settings = _adapted(name, weights, device)
    backbone = BACKBONES[name]
    settings |= {"stages": "2, 3, 4", "pool": "mean+std", "grid": list(grid), "wrap_px": wrap_px}
    return Encoder(name, digest, settings, device, backbone.mean, backbone.std, lambda images: [
        pool_erp_grid(maps, grid, with_std=True) for maps in _see_closed(network.backbone, _channels_last(images), wrap_px)])


# --- downloaded networks ---------------------------------------------------------------------------------------------

def _timm_network(name: str, weights: Path | None) -> nn.Module:
    """Return a timm model with all of its weights and without its classifier: from a file, or downloaded."""
    import timm

    if not timm.is_model(name.split(".")[0]):
        raise UserError(f"viewport encoder {name!r} is unknown; use vit_s14, lite0, or a model name of timm")
    with torch.device("meta"):
        blank = timm.create_model(name)
    repository = blank.pretrained_cfg.get("hf_hub_id") or f"timm/{name}"
    weights = weights or cached_hub_file(repository, "model.safetensors")
    if weights is not None:
        network = timm.create_model(name)  # with its own classifier, so that every tensor can be checked
        load_strictly(network, read_state(weights), weights, name, head=network.pretrained_cfg["classifier"],
                      remedy=f"Wanted: the file that timm publishes for {name} (model.safetensors), unchanged.")
    else:
        network = _download_timm(published_views(name, repository, sum(each.numel() for each in blank.parameters())))
    network.reset_classifier(0)
    return network


def _download_timm(published: Published) -> nn.Module:
    import timm

    require_publisher(published)
    try:
        return timm.create_model(published.network, pretrained=True)  # with its classifier, timm takes every tensor or none
    except Exception as error:
        raise DownloadFailed(f"the weights of {published.network} could not be downloaded ({first_line(error)}):\n"
                             f"{published.lines()}\nOr do without: --preset offline.") from error


def _timm_views(name: str, weights: Path | None, device: torch.device) -> Encoder:
    network = _timm_network(name, weights)
    config = network.pretrained_cfg
    network, digest = _freeze(network, device)
    # forward_features then the class token: one vector per view, before any classification head
    def run(images: Tensor) -> Tensor:
        states = network.forward_features(images)
        return network.forward_head(states, pre_logits=True).float()

    return Encoder(name, digest, {"pool": "pre-logits (class token for ViT)"}, device, config["mean"], config["std"], run)


def _vmamba_erp(name: str, weights: Path | None, device: torch.device, grid: tuple[int, int], wrap_px: int) -> Encoder:
    network, digest = load_vmamba(name, weights)
    network = network.requires_grad_(False).to(device)

    def run(images: Tensor) -> list[Tensor]:
        return [pool_erp_grid(maps, grid) for maps in _see_closed(network.forward_features, images, wrap_px)[1:]]

    settings = {"stages": "2, 3, 4", "pool": "mean", "grid": list(grid), "wrap_px": wrap_px}
    return Encoder(name, digest, settings, device, *IMAGENET, run)


def load_view_encoder(name: str, device: torch.device, weights: Path | None = None) -> Encoder:
    """Return a view encoder by name: vit_s14 or lite0 (from packages), an adapted one, or any timm model.

    weights: a local file, for adapted encoders and timm models.
    """
    if name in ("vit_s14", "lite0"):
        _refuse_weights(name, weights, "--viewport-weights")
        return _vit_s14(device) if name == "vit_s14" else _lite0_views(device)
    return _adapted_views(name, weights, device) if name in BACKBONES else _timm_views(name, weights, device)


def load_erp_encoder(preset: Preset, device: torch.device, weights: Path | None = None) -> Encoder:
    """Return a preset's ERP encoder: lite0 (from its package), an adapted one, or a VMamba variant (downloaded or `weights`)."""
    if preset.wrap_px % 32 or preset.wrap_px < 0 or preset.wrap_px > 2 * preset.erp_height_px:
        raise UserError(f"--wrap-px {preset.wrap_px}: wanted a multiple of 32, the networks' stride, up to the ERP's width")
    if preset.global_ == "lite0":
        _refuse_weights("lite0", weights, "--global-weights")
        return _lite0_erp(device, preset.grid, preset.wrap_px)
    build = _adapted_erp if preset.global_ in ERP_ADAPTED else _vmamba_erp
    return build(preset.global_, weights, device, preset.grid, preset.wrap_px)


def _refuse_weights(name: str, weights: Path | None, flag: str) -> None:
    if weights is not None:
        raise UserError(f"{flag} {weights}: {name} takes its weights from an installed package; leave the flag out")
