"""Where to compute: the word of a flag turned into a device of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmifn.core.errors import UserError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda")


def resolve_device(name: str) -> torch.device:
    """Turn one of DEVICES into a device; asking for CUDA where there is none is a UserError."""
    import torch  # not before a computation is wanted

    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device here; use --device cpu or install a CUDA build of torch")
    return torch.device("cuda" if name == "auto" and torch.cuda.is_available() else "cpu" if name == "auto" else name)
