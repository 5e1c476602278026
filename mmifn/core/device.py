"""Where to compute: the word of a flag turned into a device of torch."""

from __future__ import annotations

import torch

from mmifn.core.errors import UserError

DEVICES = ("auto", "cpu", "cuda")


def resolve_device(name: str) -> torch.device:
    """Turn one of DEVICES into a device; asking for CUDA where there is none is a UserError."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device here; use --device cpu or install a CUDA build of torch")
    return torch.device("cuda" if name == "auto" and torch.cuda.is_available() else "cpu" if name == "auto" else name)
