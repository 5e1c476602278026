"""Files that installed packages bring along, such as pretrained weights: no download, nothing copied."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from mmifn.core.errors import UserError

PINNED = "Install the version in constraints.txt: bash env.sh"  # remedy where a package holds something else


def package_file(package: str, pattern: str) -> Path:
    """Return a weights file that an installed package brings, without importing the package."""
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations) if spec and spec.submodule_search_locations else []
    paths = [path for folder in folders for path in sorted(Path(folder).glob(pattern))]
    if not paths:
        raise UserError(f"the package {package} with its weights ({pattern}) is not installed.\n"
                        "Set the environment up with `bash env.sh`, or choose another encoder (see --help).")
    return paths[0]
