"""Photographs that people judged: a folder `images` and a table scores.csv (file, MOS) beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmifn.core.errors import UserError
from mmifn.data.images import read_image
from mmifn.data.tables import numbers, read_table, refuse_rows

FOLDS = 5
VALIDATION, LAST = 3, 4  # options are chosen on one fold; the last is looked at once


@dataclass(frozen=True)
class Photographs:
    """files (N,), mos (N,) float64 on the database's own scale, fold (N,) of 0..FOLDS-1."""

    files: tuple[Path, ...]
    mos: np.ndarray
    fold: np.ndarray

    def __len__(self) -> int:
        return len(self.files)

    def pixels(self, index: int) -> np.ndarray:
        """Return a photograph, (H, W, 3) uint8."""
        return read_image(self.files[index], panorama=False)

    def rows(self, *folds: int) -> np.ndarray:
        """Return the indices of the photographs in some folds."""
        return np.flatnonzero(np.isin(self.fold, folds))


def read_photographs(folder: Path, seed: int = 0) -> Photographs:
    """Read a database; folds are drawn by seed, picture by picture, in the order of the file names.

    Raises UserError where the table or a picture is missing, or a score is no number.
    """
    table = folder / "scores.csv"
    if not table.is_file():
        raise UserError(f"{table} does not exist; wanted columns file and MOS, and the pictures in {folder / 'images'}")
    rows, problems = read_table(table, ("file", "MOS"))
    rows = rows.sort_values("file", kind="stable")
    mos, wrong = numbers(rows, "MOS")
    files = tuple(folder / "images" / name for name in rows["file"])
    missing = [(line, f"{path.name} is not in {path.parent}") for line, path in zip(rows.index, files, strict=True)
               if not path.is_file()]
    refuse_rows(table, problems + wrong + missing)
    if len(files) < 4 * FOLDS:
        raise UserError(f"{table} has {len(files)} rows; {4 * FOLDS} are needed")
    return Photographs(files, mos, np.random.default_rng(seed).permutation(len(files)) % FOLDS)
