"""Vectors of numbers in a MATLAB file, read by a process of its own: scipy breaks down over some damaged files, and takes the
process with it.

    python mmifn/data/importers/mat.py FILE

writes a JSON object: vectors (name -> numbers), others (what else the file holds, in words), or error, or short (of memory).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

_LIMIT_S = 120.0


def mat_vectors(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the vectors of more than two numbers in a MATLAB file, by name, and in words what else it holds.

    Raises ValueError where it cannot be read, OSError where it may not be, MemoryError where there is none for it.
    """
    with open(path, "rb"):
        pass
    try:
        done = subprocess.run([sys.executable, __file__, str(path)], capture_output=True, timeout=_LIMIT_S, check=False,
                              env={**os.environ, "PYTHONSAFEPATH": "1"})  # our own modules here are not for it
    except subprocess.TimeoutExpired:
        raise ValueError(f"it takes more than {_LIMIT_S:.0f} s to read") from None
    if done.returncode:
        raise ValueError(f"its reader breaks down with code {done.returncode}")
    said = json.loads(done.stdout)
    if "short" in said:
        raise MemoryError(f"{path}: {said['short']}")
    if "error" in said:
        raise ValueError(said["error"])
    return {name: np.array(values) for name, values in said["vectors"].items()}, said["others"]


def _content(path: str) -> dict[str, Any]:
    """Read a file in this very process: what `mat_vectors` asks for, with numbers as JSON has them."""
    from scipy.io import loadmat

    try:
        content = loadmat(path)
    except MemoryError as error:
        return {"short": str(error)}
    except Exception as error:  # on nonsense it raises almost anything
        return {"error": str(error) or type(error).__name__}
    vectors, others = {}, []
    for name, value in content.items():
        if not name.startswith("__"):
            flat = value.squeeze() if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" else np.zeros(0)
            if flat.ndim == 1 and flat.size > 2:
                vectors[name] = flat.astype(np.float64).tolist()
            else:
                others.append(f"{name}: {getattr(value, 'shape', '')} {getattr(value, 'dtype', '')}")
    return {"vectors": vectors, "others": others}


if __name__ == "__main__":
    print(json.dumps(_content(sys.argv[1])))
