"""Where to compute, how exactly, and saying so: the word of a flag turned into a device of torch."""

from __future__ import annotations

import os
import sys
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
    # Convolutions of float32 would otherwise be computed from ten bits of it, and features of a GPU differ from a CPU's.
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda" if name == "auto" and torch.cuda.is_available() else "cpu" if name == "auto" else name)


def announced_device(name: str, deterministic: bool = False) -> torch.device:
    """Return the device like `resolve_device`, and say on stderr where an automatic choice fell to the CPU, and why.

    deterministic: let torch refuse operations whose result depends on timing; must be asked for before anything is computed.
    """
    import torch

    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is first used
        torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(deterministic)
    device = resolve_device(name)
    if name == "auto" and device.type == "cpu":
        why = ("it is built without CUDA" if torch.version.cuda is None else
               f"it is built for CUDA {torch.version.cuda} and finds no GPU (no driver, too old a driver, or no device)")
        print(f"computing on the CPU: torch {torch.__version__} sees no GPU, {why}", file=sys.stderr)
    return device


def feature_words(device: torch.device) -> str:
    """Say on what features are computed; their precision is the same everywhere."""
    import torch

    return f"{'CPU' if device.type == 'cpu' else torch.cuda.get_device_name(device)}, float32"


def device_words(device: torch.device) -> str:
    """Say on what a training was computed, in which precision, and whether it can be repeated to the last bit."""
    import torch

    if device.type == "cpu":
        return "CPU, float32, one thread a training (repeatable)"
    exact = "deterministic algorithms" if torch.are_deterministic_algorithms_enabled() else "not deterministic"
    return f"{torch.cuda.get_device_name(device)}, float16 autocast, {exact}"
