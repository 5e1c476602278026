"""Where everything lies below one root folder (`--root`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mmifn.core.errors import UserError

DATASET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Workspace:
    """The folder layout of a project; no method touches the disk unless its docstring says so."""

    root: Path = Path(".")

    def dataset_dir(self, dataset: str) -> Path:
        """Return the folder of a database; its name must be a plain folder name."""
        if not DATASET_NAME.fullmatch(dataset):
            raise UserError(f"dataset name {dataset!r}: use letters, digits, '.', '_' and '-' only")
        return self.root / "datasets" / dataset

    def images_dir(self, dataset: str) -> Path:
        return self.dataset_dir(dataset) / "images"

    def references_dir(self, dataset: str) -> Path:
        """Pristine panoramas, where a database has them: images named <reference>.*"""
        return self.dataset_dir(dataset) / "references"

    def manifest(self, dataset: str) -> Path:
        return self.dataset_dir(dataset) / "des.csv"

    def viewports_dir(self, dataset: str) -> Path:
        return self.dataset_dir(dataset) / "viewports"

    @property
    def descriptions(self) -> Path:
        return self.root / "text" / "des.csv"

    def features(self, dataset: str, name: str) -> Path:
        """Return features/<dataset>/<name>.pt."""
        self.dataset_dir(dataset)
        return self.root / "features" / dataset / f"{name}.pt"

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoints" / "mmifn_best.pth"

    @property
    def results(self) -> Path:
        return self.root / "results"

    def datasets(self) -> list[str]:
        """List the databases that have a des.csv (reads the disk)."""
        return sorted(path.parent.name for path in (self.root / "datasets").glob("*/des.csv"))
