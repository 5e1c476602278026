"""How far a score may be off: split conformal intervals from residuals on scenes that were never trained on.

Images of one scene resemble each other, so not images but scenes are exchangeable. The quantile is that of Lee, Barber
and Willett, "Distribution-free inference with hierarchical data" (2023): every scene counts the same, however many
images it has, and one further scene, the new one, counts as infinitely wrong. The interval then covers the opinion of
an image of a new scene with at least the nominal probability, on average over scenes.

One width for all would be too wide where models err little (the worst pictures, on which people agree) and too narrow
elsewhere, so widths differ by band of the predicted score, which is known when a new panorama is scored: within each band
the promise holds by itself (Mondrian conformal prediction: Vovk et al., "Algorithmic learning in a random world", 2005).
A model that was corrected (training/correction.py) knows one thing more: how far the correction moved the score. What it moves
far is of a kind that fusion never met, and it errs more there, so the widths grow by band of that as well.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmifn.core.errors import UserError
from mmifn.data.mos_scale import PLAUSIBLE
from mmifn.data.tables import numbers, read_table, refuse_rows

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.9
COLUMNS = ("scene", "mos", "score")
MAX_BANDS = 4


@dataclass(frozen=True)
class Calibration:
    """A symmetric interval: score ± half width, on the scale of the MOS, at a nominal level.

    half_width: over all scores, infinite where there are too few scenes for the level (nine are needed for 90 %); scenes,
    images: how many it rests on; labels: "human" or "simulated". edges, half_widths: predicted scores between bands,
    ascending, and the width of each band (one more); empty where one width is for all. moves, factors: the same for how far a
    correction moved the score, and by how much the width grows in each band.
    """

    level: float
    half_width: float = field(metadata={"infinite": True})
    scenes: int
    images: int
    labels: str
    edges: tuple[float, ...] = ()
    half_widths: tuple[float, ...] = field(default=(), metadata={"infinite": True})
    moves: tuple[float, ...] = ()
    factors: tuple[float, ...] = ()

    def width_at(self, score: float, moved: float = 0.0) -> float:
        """Return the half width for a predicted score, which a correction moved by so much."""
        width = self.half_widths[bisect_right(self.edges, score)] if self.half_widths else self.half_width
        return width * self.factors[bisect_right(self.moves, abs(moved))] if self.factors else width

    def interval(self, score: float, low: float, high: float, moved: float = 0.0) -> tuple[float, float]:
        """Return the interval around a score, clipped to the scale low..high."""
        width = self.width_at(score, moved)
        return max(low, score - width), min(high, score + width)


def scene_quantile(residuals: np.ndarray, scenes: list[str], level: float) -> float:
    """Return the half width of a conformal interval.

    residuals: (N,) absolute errors; scenes: the scene of each. The weighted quantile at `level` where each of K scenes
    has weight 1/(K+1), spread evenly over its images, and infinity has the rest.
    """
    _, index, counts = np.unique(scenes, return_inverse=True, return_counts=True)
    weights = 1.0 / ((len(counts) + 1) * counts[index])
    order = np.argsort(residuals, kind="stable")
    reached = np.cumsum(weights[order]) >= level - 1e-12
    return float(residuals[order][reached.argmax()]) if reached.any() else math.inf


def _parts(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return predicted scores, absolute errors and scenes of a table."""
    score = table["score"].to_numpy(dtype=np.float64)
    return score, np.abs(table["mos"].to_numpy(dtype=np.float64) - score), table["scene"].astype(str).to_numpy()


def _bands(score: np.ndarray, scenes: np.ndarray, level: float) -> list[float]:
    """Return the edges of the most bands, up to MAX_BANDS of as many images each, that all have scenes enough.

    Enough is twice what the level needs: with just as many, the width would be the greatest error of all.
    """
    for count in range(MAX_BANDS, 1, -1):
        edges = np.quantile(score, np.arange(1, count) / count)
        band = np.searchsorted(edges, score, side="right")
        if min(len(set(scenes[band == k])) for k in range(count)) >= 2 * level / (1 - level) - 1e-9:
            return [float(edge) for edge in edges]
    return []


def _by_band(values: np.ndarray, residuals: np.ndarray, scenes: np.ndarray,
             level: float) -> tuple[tuple[float, ...], list[float]]:
    """Return the edges of bands of values, and the quantile of the residuals in each."""
    edges = _bands(values, scenes, level)
    band = np.searchsorted(edges, values, side="right")
    return tuple(edges), [scene_quantile(residuals[band == k], scenes[band == k].tolist(), level) for k in range(len(edges) + 1)]


def calibrate(table: pd.DataFrame, labels: str, level: float = LEVEL) -> Calibration:
    """Return the calibration that a table with the columns scene, mos and score gives (one row per image unseen)."""
    score, residuals, scenes = _parts(table)
    edges, widths = _by_band(score, residuals, scenes, level)
    return Calibration(level, scene_quantile(residuals, scenes.tolist(), level), len(set(scenes)), len(table), labels,
                       edges, tuple(widths) if edges else ())


def widened(known: Calibration, table: pd.DataFrame) -> Calibration:
    """Return a calibration that is as wide as a correction asks for: in each band of how far it moved a score all widths times
    what 90 % of the errors there are of them, at least 1.

    table: as for `calibrate`, and the score before the correction, of material that the known calibration need not speak of.
    """
    score, residuals, scenes = _parts(table)
    shares = residuals / np.array([known.width_at(value) for value in score])
    moved = np.abs(score - table["before"].to_numpy(dtype=np.float64))
    edges, factors = _by_band(moved, shares, scenes, known.level)
    return replace(known, moves=edges, factors=tuple(max(1.0, factor) for factor in factors))


def left_out(table: pd.DataFrame, level: float = LEVEL) -> np.ndarray:
    """Return for each opinion of a table of two scenes or more whether the interval calibrated without its scene holds it."""
    score, residuals, scenes = _parts(table)
    held = np.zeros(len(table), dtype=bool)
    for scene in np.unique(scenes):
        known = calibrate(table[scenes != scene], "", level)
        mine = scenes == scene
        held[mine] = [error <= known.width_at(value) for value, error in zip(score[mine], residuals[mine], strict=True)]
    return held


def left_out_coverage(table: pd.DataFrame, level: float = LEVEL) -> float:
    """Return the share of opinions that `left_out` intervals hold; scenes count the same."""
    import pandas as pd

    held = pd.Series(left_out(table, level)).groupby(table["scene"].astype(str).to_numpy()).mean()
    return float(held.mean())


def read_residuals(path: Path, source: str, variant: str) -> pd.DataFrame:
    """Read scores of images never trained on: a CSV with scene, mos and score, such as results/predictions.csv.

    Of a table with the columns source, variant and side, only the rows of that source and variant on side "test" count.
    Raises UserError where columns or rows are missing, or values are not finite numbers.
    """

    if not Path(path).is_file():
        raise UserError(f"{path} does not exist; evaluate.py writes results/predictions.csv")
    table, problems = read_table(path, COLUMNS, " (evaluate.py writes results/predictions.csv)")
    for column, wanted in (("source", source), ("variant", variant), ("side", "test")):
        if column in table.columns:
            table = table[table[column].isin([wanted, column])]  # the name of the column itself: a second header, refused below
    for column in ("mos", "score"):
        values, wrong = numbers(table, column, *PLAUSIBLE)
        table, problems = table.assign(**{column: values}), problems + wrong
    refuse_rows(path, problems)
    if table.empty:
        raise UserError(f"{path} has no rows of source {source}, variant {variant} on side test, or is empty")
    return table
