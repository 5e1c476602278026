"""Encoders adapted to distortions: a small backbone with a head that names, scores and locates what is wrong.

The head reads mean and standard deviation of several maps, early ones too. Fusion gets the head's scores of each view,
and pooled maps of the whole. Weights are float16 safetensors beside this module; their metadata name the scenes that
they were adapted on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mmifn.core.errors import UserError
from mmifn.core.json_text import parse_json
from mmifn.encoders import conv_stem
from mmifn.encoders.adaptable import weights_file
from mmifn.encoders.efficientnet_lite import Lite0
from mmifn.encoders.encoder import HALF, IMAGENET, Encoder, Family, freeze
from mmifn.encoders.lite0 import build_lite0
from mmifn.encoders.pooling import mean_std, pool_erp_grid
from mmifn.encoders.seam import see_closed
from mmifn.encoders.state import load_strictly, valueless
from mmifn.encoders.vit_nano import MAPS, ViTNano
from mmifn.encoders.vit_s14 import blank_vit_s14, build_vit_s14
from mmifn.encoders.vmamba import VMamba, VMambaConfig
from mmifn.encoders.vmamba.blocks import ToChannelsLast

SCHEMA = "adapted encoder/1"
HIDDEN = 128
SCORES = 3  # human score, GMSD, SSIM
VIT_LAYERS = 4
VIT_TAPS = (2, 4)


class ViTMaps(nn.Module):
    """The first layers of a ViT-S/14; gives the patch tokens of two of them as maps (B, 384, patches, 1)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        network.encoder.layer = network.encoder.layer[:VIT_LAYERS]
        self.network = network

    def forward(self, images: Tensor) -> list[Tensor]:
        states = self.network(pixel_values=images, output_hidden_states=True).hidden_states
        return [states[tap][:, 1:].transpose(1, 2)[..., None] for tap in VIT_TAPS]


class LastMaps(nn.Module):
    """The last three maps of a pyramid."""

    def __init__(self, network: nn.Module, maps: Callable[[nn.Module, Tensor], list[Tensor]]) -> None:
        super().__init__()
        self.network, self._maps = network, maps

    def forward(self, images: Tensor) -> list[Tensor]:
        return list(self._maps(self.network, images))[-3:]


@dataclass(frozen=True)
class Backbone:
    """An adaptable backbone: how it is made (with the weights that adaptation starts from, or blank), which channels its
    maps have, how its input is normalised, and how it is trained: teacher is the encoder that it learns from, if any, and whose
    first stages it looks through."""

    build: Callable[[], nn.Module]
    blank: Callable[[], nn.Module]
    channels: tuple[int, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    learning_rate: float
    epochs: int
    teacher: str | None = None


NANO_VMAMBA = VMambaConfig(dims=(64, 128, 192), depths=(1, 2, 1))  # at strides 8, 16 and 32


def _pyramid(network: nn.Module) -> LastMaps:
    return LastMaps(network, lambda network, images: network(images))


def _nano_vmamba() -> LastMaps:
    network = VMamba(NANO_VMAMBA, 1)
    network.patch_embed = nn.Sequential(conv_stem.ConvStem(), nn.Conv2d(conv_stem.CHANNELS, NANO_VMAMBA.dims[0], 1),
                                        ToChannelsLast())
    network.classifier = nn.Identity()  # the head reads the maps
    return LastMaps(network, lambda network, images: network.forward_features(images))


BACKBONES = {
    "lite0_adapted": Backbone(lambda: _pyramid(build_lite0()), lambda: _pyramid(Lite0()), (40, 112, 320), *HALF, 5e-4, 1),
    "vit_s14_adapted": Backbone(lambda: ViTMaps(build_vit_s14()), lambda: ViTMaps(blank_vit_s14()), (384, 384), *IMAGENET, 2e-4,
                                1),
    "vit_nano": Backbone(ViTNano, ViTNano, MAPS, *HALF, 3e-3, 2, "lite0_adapted"),
    "vmamba_nano": Backbone(_nano_vmamba, _nano_vmamba, NANO_VMAMBA.dims, *HALF, 3e-3, 2, "lite0_adapted"),
}
ERP_ADAPTED = ("lite0_adapted", "vit_nano", "vmamba_nano")  # those with maps of a whole panorama


class QualityHead(nn.Module):
    """Pooled maps (…, 2 * sum(channels)) -> hidden (…, HIDDEN) and outputs (…, targets)."""

    def __init__(self, channels: tuple[int, ...], targets: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * sum(channels))
        self.enter = nn.Linear(2 * sum(channels), HIDDEN)
        self.leave = nn.Linear(HIDDEN, targets)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        hidden = nn.functional.gelu(self.enter(self.norm(pooled)))
        return hidden, self.leave(hidden)


class AdaptedEncoder(nn.Module):
    """A backbone and its head: normalised images (B, 3, H, W) -> hidden (B, HIDDEN), outputs (B, len(targets)).

    targets: what the outputs are; the last SCORES of them are scores, those before tell kinds of distortion.
    """

    def __init__(self, name: str, targets: Sequence[str], blank: bool = False) -> None:
        super().__init__()
        self.scores = slice(len(targets) - SCORES, len(targets))
        self.backbone = BACKBONES[name].blank() if blank else BACKBONES[name].build()
        self.head = QualityHead(BACKBONES[name].channels, len(targets))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(torch.cat([mean_std(maps) for maps in self.backbone(images)], dim=1))


def load_adapted(name: str, path: Path | None = None) -> tuple[AdaptedEncoder, dict[str, Any]]:
    """Return an adapted encoder in float32 and what its file says of itself (scenes, targets, …).

    Raises UserError where the file is missing, damaged, or of another encoder.
    """
    path = path or weights_file(name)
    if not path.is_file():
        raise UserError(f"{path} does not exist: the adapted weights of {name}.\nMake them: python tools/adapt_encoders.py "
                        f"--encoder {name} --panoramas DIR, or choose an encoder that is not adapted (see --help).")
    try:
        with safe_open(path, "pt") as file:
            about = parse_json((file.metadata() or {}).get("about", "{}"))
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is not a readable safetensors file ({error}); make it anew: "
                        "python tools/adapt_encoders.py") from error
    if not isinstance(about, dict) or not all(isinstance(about.get(key), list) for key in ("targets", "scenes")):
        raise UserError(f"{path} does not say what it was adapted to; make it anew: python tools/adapt_encoders.py --encoder "
                        f"{name}")
    if about.get("schema") != SCHEMA or about.get("encoder") != name:
        raise UserError(f"{path} holds {about.get('encoder', 'something else')} ({about.get('schema', 'no schema')}), wanted "
                        f"{name} ({SCHEMA}); make it anew: python tools/adapt_encoders.py --encoder {name}")
    with valueless():
        network = AdaptedEncoder(name, about["targets"], blank=True)
    load_strictly(network, state, path, name, remedy=f"Make it anew: python tools/adapt_encoders.py --encoder {name}")
    return network, about


def _load(name: str, weights: Path | None, device: torch.device) -> tuple[AdaptedEncoder, str, dict[str, Any]]:
    network, about = load_adapted(name, weights)
    network, digest = freeze(network, device)
    network = network.to(memory_format=torch.channels_last)  # nearly twice as fast on CPUs
    return network, digest, {"adapted_on": about["scenes"]}


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _views(name: str, weights: Path | None, device: torch.device) -> Encoder:
    """Give the head's scores of a view and nothing else, so that what a viewport is worth is seen in that viewport; the
    kinds of distortion would not carry over to kinds that fusion has not met."""
    network, digest, settings = _load(name, weights, device)
    backbone = BACKBONES[name]
    return Encoder(name, digest, settings | {"pool": "scores of the head"}, device, backbone.mean, backbone.std,
                   lambda images: network(_channels_last(images))[1][:, network.scores].float(), network)


def _erp(name: str, weights: Path | None, device: torch.device, grid: tuple[int, int], wrap_px: int) -> Encoder:
    network, digest, settings = _load(name, weights, device)
    backbone = BACKBONES[name]
    settings |= {"stages": "2, 3, 4", "pool": "mean+std", "grid": list(grid), "wrap_px": wrap_px}
    return Encoder(name, digest, settings, device, backbone.mean, backbone.std, lambda images: [
        pool_erp_grid(maps, grid, with_std=True) for maps in see_closed(network.backbone, _channels_last(images), wrap_px)],
        network)


FAMILY = Family(_views, _erp, tuple(BACKBONES), ERP_ADAPTED)
