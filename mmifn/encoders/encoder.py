"""What a frozen network of the viewport or the global branch is, and what a family of them gives to the registry.

A view encoder maps tangent views (B, 3, S, S) in 0..1 to vectors (B, D); an ERP encoder maps panoramas (B, 3, H, W)
in 0..1 to three levels (B, T, C_l) on one grid. Both know the hash of their weights and their own preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mmifn.core.artefact import sha256_tensors
from mmifn.core.errors import UserError

# Mean and standard deviation per channel that networks were trained with.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_CPU_PICTURES = 2  # more take up to a quarter longer


@dataclass(frozen=True)
class Encoder:
    """A frozen network with its identity.

    run: normalised images (B, 3, H, W) -> features, by `network`; settings: all that changes the values, for the provenance.
    Computed in float32 on every device, so that features of a GPU and of a CPU are the same within rounding.
    """

    name: str
    weights_sha256: str
    settings: dict[str, Any]
    device: torch.device
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    run: Callable[[Tensor], Any]
    network: nn.Module

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Any:
        """Return the features of images (B, 3, H, W) in 0..1."""
        return self.differentiable(images)

    def differentiable(self, images: Tensor) -> Any:
        """Return the same with gradients, where the network's parameters ask for them."""
        mean = torch.tensor(self.mean, device=self.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=self.device).view(3, 1, 1)
        if self.device.type == "cuda" and not images.is_cuda:
            images = images.pin_memory()  # copied while the next images are read
        return self.run((images.to(self.device, non_blocking=True) - mean) / std)


class ViewLoader(Protocol):
    """Loads the view encoder `name` onto a device, from a local file of weights where one is given."""

    def __call__(self, name: str, weights: Path | None, device: torch.device) -> Encoder: ...


class ErpLoader(Protocol):
    """Loads the ERP encoder `name`; its maps are pooled to `grid`, the ERP is continued by wrap_px on both sides."""

    def __call__(self, name: str, weights: Path | None, device: torch.device, grid: tuple[int, int],
                 wrap_px: int) -> Encoder: ...


@dataclass(frozen=True)
class Family:
    """One family of networks, as its module gives it to the registry (`mmifn.encoders.networks`).

    view_names, erp_names: the encoders that it has for each branch; None for "any name that nobody else has".
    """

    views: ViewLoader | None = None
    erp: ErpLoader | None = None
    view_names: tuple[str, ...] | None = ()
    erp_names: tuple[str, ...] | None = ()


def in_parts(pictures: Tensor, device: torch.device) -> tuple[Tensor, ...]:
    """Return pictures (B, 3, H, W) as a network is given them: on a CPU a few at a time, so that maps stay in its cache."""
    return pictures.split(_CPU_PICTURES if device.type == "cpu" else max(1, len(pictures)))


def freeze(network: nn.Module, device: torch.device) -> tuple[nn.Module, str]:
    """Put a network in evaluation mode on a device; return it and its weights' hash (taken on the CPU)."""
    digest = sha256_tensors(network.state_dict())
    return network.requires_grad_(False).eval().to(device), digest


def refuse_weights(name: str, weights: Path | None, flag: str) -> None:
    """Refuse a local file for a network whose weights come with an installed package."""
    if weights is not None:
        raise UserError(f"{flag} {weights}: {name} takes its weights from an installed package; leave the flag out")
