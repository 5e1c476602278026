"""Photographs that people judged: a folder `images` and a table scores.csv (file, MOS) beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mmifn.core.errors import UserError, listed
from mmifn.data.images import read_image

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
    try:
        rows = pd.read_csv(table, dtype={"file": str}).sort_values("file", ignore_index=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{table} is not a readable table ({error}); wanted columns file and MOS, and the pictures in "
                        f"{folder / 'images'}") from error
    if lacking := {"file", "MOS"} - set(rows.columns):
        raise UserError(f"{table} lacks the column(s) {', '.join(sorted(lacking))}; found {', '.join(rows.columns)}")
    mos = pd.to_numeric(rows["MOS"], errors="coerce").to_numpy(dtype=np.float64)
    files = tuple(folder / "images" / name for name in rows["file"])
    problems = [f"{path.name}: not in {path.parent}" for path in files if not path.is_file()]
    problems += [f"{path.name}: its MOS is no number" for path, value in zip(files, mos, strict=True) if not np.isfinite(value)]
    if problems or len(files) < 4 * FOLDS:
        raise UserError(f"{table}: {len(problems)} of {len(files)} rows cannot be used, {4 * FOLDS} good ones are needed:\n"
                        + listed(problems))
    return Photographs(files, mos, np.random.default_rng(seed).permutation(len(files)) % FOLDS)
