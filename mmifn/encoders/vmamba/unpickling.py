"""Read a torch file that holds pickled objects without running what they name."""

from __future__ import annotations

import pickle
import types
from pathlib import Path
from typing import Any

from mmifn.core.artefact import load_torch

HARMLESS = {
    ("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"), ("torch.nn.parameter", "Parameter"),
}


class Placeholder(dict):
    """Stands for anything else a pickle names: takes what is done to it, and does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        """Forget the state."""

    append = extend = __setstate__


class Unpickler(pickle.Unpickler):
    """Rebuilds tensors and plain containers only."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the class or function where it is harmless, a placeholder otherwise."""
        return super().find_class(module, name) if (module, name) in HARMLESS else Placeholder


def _load(file: Any, **options: Any) -> Any:
    return Unpickler(file, **options).load()


def read_with_placeholders(path: Path) -> Any:
    """Return what a torch file holds, tensors on the CPU and every unknown object as an empty `Placeholder`.

    This leaves torch's own protection off, so it is for files whose origin the user vouches for.
    Raises ArtefactError where the file is missing or cannot be read.
    """
    return load_torch(path, types.SimpleNamespace(Unpickler=Unpickler, load=_load, __name__="inert"))
