"""How far a score may be off: split conformal intervals from residuals on scenes that were never trained on.

Images of one scene resemble each other, so not images but scenes are exchangeable. The quantile is that of Lee, Barber
and Willett, "Distribution-free inference with hierarchical data" (2023): every scene counts the same, however many
images it has, and one further scene, the new one, counts as infinitely wrong. The interval then covers the opinion of
an image of a new scene with at least the nominal probability, on average over scenes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mmifn.core.errors import UserError

LEVEL = 0.9
COLUMNS = ("scene", "mos", "score")


@dataclass(frozen=True)
class Calibration:
    """A symmetric interval: score ± half_width, on the scale of the MOS, at a nominal level.

    half_width is infinite where there are too few scenes for the level (nine are needed for 90 %); scenes, images: how
    many it rests on; labels: "human" or "simulated".
    """

    level: float
    half_width: float
    scenes: int
    images: int
    labels: str

    def interval(self, score: float, low: float, high: float) -> tuple[float, float]:
        """Return the interval around a score, clipped to the scale low..high."""
        return max(low, score - self.half_width), min(high, score + self.half_width)


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


def calibrate(table: pd.DataFrame, labels: str, level: float = LEVEL) -> Calibration:
    """Return the calibration that a table with the columns scene, mos and score gives (one row per image unseen)."""
    residuals = (table["mos"] - table["score"]).abs().to_numpy(dtype=np.float64)
    scenes = table["scene"].astype(str).tolist()
    return Calibration(level, scene_quantile(residuals, scenes, level), len(set(scenes)), len(table), labels)


def left_out_coverage(table: pd.DataFrame, level: float = LEVEL) -> float:
    """Return the share of opinions that intervals hold which are calibrated without their scene; scenes count the same.

    table: as for `calibrate`, of at least two scenes.
    """
    residuals, scenes = (table["mos"] - table["score"]).abs().to_numpy(dtype=np.float64), table["scene"].astype(str).to_numpy()
    held = []
    for scene in np.unique(scenes):
        others = scenes != scene
        held.append(np.mean(residuals[~others] <= scene_quantile(residuals[others], scenes[others].tolist(), level)))
    return float(np.mean(held))


def read_residuals(path: Path, source: str, variant: str) -> pd.DataFrame:
    """Read scores of images never trained on: a CSV with scene, mos and score, such as results/predictions.csv.

    Of a table with the columns source, variant and side, only the rows of that source and variant on side "test" count.
    Raises UserError where columns or rows are missing, or values are not finite numbers.
    """
    if not Path(path).is_file():
        raise UserError(f"{path} does not exist; evaluate.py writes results/predictions.csv")
    try:
        table = pd.read_csv(path)
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a CSV that can be read ({error})") from error
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise UserError(f"{path} lacks the column(s) {', '.join(missing)}; found {', '.join(map(str, table.columns))}, "
                        f"wanted {', '.join(COLUMNS)} (evaluate.py writes them to results/predictions.csv)")
    for column, wanted in (("source", source), ("variant", variant), ("side", "test")):
        if column in table.columns:
            table = table[table[column] == wanted]
    if table.empty:
        raise UserError(f"{path} has no rows of source {source}, variant {variant} on side test, or is empty")
    for column in ("mos", "score"):
        if not np.isfinite(pd.to_numeric(table[column], errors="coerce")).all():
            raise UserError(f"{path}: column {column} holds values that are not finite numbers")
    return table
