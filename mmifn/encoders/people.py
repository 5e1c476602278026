"""The encoder taught by people: what they would say of a view as of a photograph on their screen, on 0..100.

EfficientNet-Lite0 from its ImageNet weights, all five maps of its pyramid, means and deviations, one linear head. Early
layers stay as ImageNet left them; later ones were tuned on photographs with authentic faults (`adapt/people.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mmifn.core.artefact import sha256_tensors
from mmifn.core.errors import UserError
from mmifn.core.json_text import parse_json
from mmifn.encoders.adaptable import FOLDER
from mmifn.encoders.efficientnet_lite import Lite0, fold_norms
from mmifn.encoders.encoder import in_parts
from mmifn.encoders.lite0 import build_lite0
from mmifn.encoders.pooling import mean_std
from mmifn.encoders.state import load_strictly, read_state, valueless

Network = TypeVar("Network", bound=nn.Module)

NAME = "lite0_people"
SCHEMA = "people encoder/1"
CHANNELS = (16, 24, 40, 112, 320)


class PeopleEncoder(nn.Module):
    """Images (B, 3, H, W), normalised to mean and SD 0.5, of 64 px and more -> scores (B,), 0..100 on the scale of the
    opinions that it learnt from."""

    def __init__(self, blank: bool = False) -> None:
        super().__init__()
        self.trunk = Lite0() if blank else build_lite0()
        width = 2 * sum(CHANNELS)
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.head = nn.Linear(width, 1)

    def features(self, images: Tensor) -> Tensor:
        """Return means and deviations of every map, (B, 1024)."""
        return torch.cat([mean_std(maps) for maps in self.trunk(images)], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head((self.features(images) - self.centre) / self.spread)[:, 0]


def weights_file() -> Path:
    """Return where the weights lie that come with the package."""
    return FOLDER / f"{NAME}.safetensors"


def normalise(pixels: Tensor) -> Tensor:
    """Return what the network wants of pixels (B, 3, H, W) in 0..1."""
    return ((pixels - 0.5) / 0.5).contiguous(memory_format=torch.channels_last)


def load_people(path: Path | None = None) -> tuple[PeopleEncoder, dict[str, Any]]:
    """Return the encoder in float32 and what its file says of itself. Raises UserError where it is missing or damaged."""
    path = path or weights_file()
    remedy = "Make it: python tools/adapt_to_people.py --opinions DIR --panoramas DIR"
    about = described(path, SCHEMA, remedy)
    with valueless():
        network = PeopleEncoder(blank=True)
    load_strictly(network, read_state(path), path, NAME, remedy=remedy)
    return network.eval(), about


def described(path: Path, wanted: str, remedy: str) -> dict[str, Any]:
    """Return what a file of weights says of itself. Raises UserError where it is missing, damaged or of another schema."""
    if not path.is_file():
        raise UserError(f"{path} does not exist: the weights taught by people.\n{remedy}")
    try:
        with safe_open(path, "pt") as file:
            about = parse_json((file.metadata() or {}).get("about", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is not a readable safetensors file ({error}).\n{remedy}") from error
    schema = about.get("schema") if isinstance(about, dict) else None
    if schema != wanted:
        raise UserError(f"{path} holds {schema or 'something else'}, wanted {wanted}.\n{remedy}")
    return about


@dataclass(frozen=True)
class People:
    """The encoder of the package, ready to be asked; digest: of its weights."""

    network: PeopleEncoder
    device: torch.device
    digest: str

    @torch.inference_mode()
    def __call__(self, pictures: Tensor) -> Tensor:
        """Return the scores of pictures (B, 3, H, W) in 0..1: (B,) float32 on the CPU, 0..100."""
        parts = in_parts(pictures.to(self.device), self.device)
        return torch.cat([self.network(normalise(part)).clamp(0, 100) for part in parts]).cpu()


def placed(network: Network, device: str) -> tuple[Network, torch.device, str]:
    """Return a loaded network ready to be asked on a type of device, that device, and the digest of the weights as loaded."""
    digest, place = sha256_tensors(network.state_dict()), torch.device(device)
    network = network.requires_grad_(False).to(place, memory_format=torch.channels_last)
    fold_norms(network)
    return network, place, digest


@lru_cache(maxsize=2)
def open_people(device: str) -> People:
    """Return the encoder that comes with the package, on a type of device; it stays loaded."""
    return People(*placed(load_people()[0], device))
