"""Make torchvision importable beside a CPU build of torch.

Some package indexes offer torchvision only as built for CUDA; beside a CPU torch its compiled operators are missing
and `import torchvision` fails while registering fake kernels for two of them, taking timm, piq and every transformers
vision model with it. Declaring the two schemas lets the import pass; torchvision's detection operators stay unusable,
and nothing here uses them. Where torchvision's own operators are present, nothing is touched. Import this module
before torchvision, timm, piq or transformers' vision models.
"""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

import torch

_LIBRARY: torch.library.Library | None = None


def _own_operators_load() -> bool:
    """Tell whether the compiled operators of an installed torchvision fit this torch; true where none is installed."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True
    folder = Path(spec.origin).parent
    for path in [*folder.glob("_C*.so"), *folder.glob("_C*.pyd"), *folder.glob("_C*.dylib")]:
        try:
            ctypes.CDLL(str(path))
        except OSError:
            return False
        return True
    return False


def declare_missing_operators() -> None:
    """Declare torchvision::nms and torchvision::qnms if torchvision cannot bring them itself."""
    global _LIBRARY
    if _LIBRARY is not None or _own_operators_load():
        return
    _LIBRARY = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        _LIBRARY.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]


declare_missing_operators()
