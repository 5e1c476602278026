"""What people would say of a photograph seen whole, by what ImageNet's networks see in photographs that people judged.

EfficientNet-Lite0 and -Lite2 as ImageNet left them, means and deviations of all their maps, and a kernel ridge on those of
the photographs in the file (`adapt/photographs.py`). It stands beside the encoder taught by people, which forgot a little of
what ImageNet taught. Lite0 comes from its package, Lite2 from the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmifn.encoders.adaptable import FOLDER
from mmifn.encoders.efficientnet_lite import LITE2, Lite0
from mmifn.encoders.lite0 import build_lite0
from mmifn.encoders.people import described, normalise, placed
from mmifn.encoders.pooling import mean_std
from mmifn.encoders.state import load_strictly, read_state, valueless

NAME = "photographs"
SCHEMA = "photographs/1"
CHANNELS = (16, 24, 40, 112, 320, 16, 24, 48, 120, 352)
FARTHEST = 4.0  # SDs from the mean, at which a feature is cut off
WIDTH = 1.5  # of the Gaussian kernel, in SDs of a feature


class Neighbours(nn.Module):
    """Pictures (B, 3, H, W), normalised to mean and SD 0.5, of about 448 x 448 px -> scores (B,), on the scale of the opinions.

    count: of photographs that it compares with, whose features (count, 2144) are in `known`.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.trunks = nn.ModuleList([Lite0(), Lite0(LITE2)])
        width = 2 * sum(CHANNELS)
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.register_buffer("known", torch.zeros(count, width))
        self.register_buffer("weight", torch.zeros(count))
        self.register_buffer("bias", torch.zeros(1))

    def features(self, images: Tensor) -> Tensor:
        """Return means and deviations of every map of both networks, (B, 2144)."""
        return torch.cat([mean_std(maps) for trunk in self.trunks for maps in trunk(images)], dim=1)

    def standard(self, features: Tensor) -> Tensor:
        """Return features (B, 2144) in SDs from their means."""
        return ((features - self.centre) / self.spread).clamp(-FARTHEST, FARTHEST)

    def judge(self, features: Tensor) -> Tensor:
        """Return the scores of features (B, 2144): (B,)."""
        return alike(self.standard(features), self.known) @ self.weight + self.bias

    def forward(self, images: Tensor) -> Tensor:
        return self.judge(self.features(images))


def alike(some: Tensor, others: Tensor) -> Tensor:
    """Return the Gaussian kernel of standard features (B, D) and (N, D), (B, N); its width is that of one feature."""
    return torch.exp(-torch.cdist(some, others) ** 2 / (2 * WIDTH ** 2 * some.shape[1]))


def weights_file() -> Path:
    """Return where the file lies that comes with the package."""
    return FOLDER / f"{NAME}.safetensors"


def load_photographs(path: Path | None = None) -> tuple[Neighbours, dict[str, Any]]:
    """Return the judge in float32 and what its file says of itself. Raises UserError where it is missing or damaged."""
    path = path or weights_file()
    remedy = "Make it: python tools/fit_photographs.py --opinions DIR --lite2 FILE"
    about = described(path, SCHEMA, remedy)
    state = read_state(path)
    with valueless():
        network = Neighbours(len(state.get("weight", ())))
    given = {f"trunks.0.{key}": value for key, value in build_lite0().state_dict().items()}
    load_strictly(network, given | state, path, NAME, remedy=remedy)
    return network.eval(), about


@dataclass(frozen=True)
class Judge:
    """The judge of the package, ready to be asked; digest: of its weights."""

    network: Neighbours
    device: torch.device
    digest: str

    @torch.inference_mode()
    def __call__(self, pictures: Tensor) -> Tensor:
        """Return the scores of pictures (B, 3, H, W) in 0..1 seen whole: (B,) float32 on the CPU, 0..100."""
        return self.network(normalise(pictures.to(self.device))).clamp(0, 100).cpu()


@lru_cache(maxsize=2)
def open_photographs(device: str) -> Judge:
    """Return the judge that comes with the package, on a type of device; it stays loaded."""
    return Judge(*placed(load_photographs()[0], device))
