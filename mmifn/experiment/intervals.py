"""Bootstrap 95% intervals over scenes, of figures over the test predictions of all runs.

Images of one scene are not independent, and the splits of one database share scenes, so neither images nor runs can be
resampled alone. The test predictions of all runs are pooled (an image stands there once for every run that tested it),
one logistic is fitted, and scenes are drawn with replacement: a prediction counts as often as its scene was drawn. The
interval spans the 2.5% and 97.5% quantiles of the figure over the draws (Efron's percentile bootstrap with clusters as
units: Davison and Hinkley 1997, 3.8). Trained models and the fit are held fixed, so the interval tells how far the
figure depends on which scenes happened to be tested.

Pooled, because a run tests three scenes or fewer: drawing with replacement often leaves but one of them, whose images
agree better among themselves than with those of others, so that draws of a mean over runs lie above that mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmifn.metrics import logistic_fit

RESAMPLES = 2000
SEED = 2026
COVER = 0.95
MIN_SCENES = 5  # fewer have too few different draws (35 of four scenes), many of them of one scene alone


@dataclass(frozen=True)
class Scored:
    """Predictions (N,) with the opinion score (N,) and the scene of each image."""

    pred: np.ndarray
    mos: np.ndarray
    scenes: list[str]


def resampled_figures(scored: Scored, parameters: int = 4) -> dict[str, np.ndarray]:
    """Return PLCC (after the logistic fit) and SRCC of every draw of scenes: each (RESAMPLES,).

    The draws depend only on the names of the scenes, so that two methods tested on the same scenes get the same draws
    and their figures can be subtracted. A draw without two different opinion scores gives NaN, and so do all draws of fewer
    than MIN_SCENES scenes.
    """
    units, place = np.unique(scored.scenes, return_inverse=True)
    if len(units) < MIN_SCENES:
        return {name: np.full(RESAMPLES, np.nan) for name in ("plcc", "srcc")}
    draws = np.random.default_rng(SEED).multinomial(len(units), np.full(len(units), 1 / len(units)), size=RESAMPLES)
    mapped = logistic_fit(scored.pred, scored.mos, parameters).mapped
    figures: dict[str, list[np.ndarray]] = {"plcc": [], "srcc": []}
    for part in np.array_split(draws, 20):  # all at once, thousands of predictions would take a gigabyte
        counts = part[:, place].astype(np.float64)
        ranks = weighted_ranks(scored.pred, counts), weighted_ranks(scored.mos, counts)
        figures["plcc"].append(weighted_correlation(mapped, scored.mos, counts))
        figures["srcc"].append(weighted_correlation(*ranks, counts))
    return {name: np.concatenate(values) for name, values in figures.items()}


def weighted_correlation(a: np.ndarray, b: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Pearson correlation of a and b, (R, N) or (N,), with image i counted counts[r, i] times: (R,).

    NaN where the drawn values of b are all one; 0 where only those of a are, as in `metrics`.
    """
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    a, b = (values - (counts * values).sum(axis=1, keepdims=True) / total for values in (a, b))
    aa, bb, ab = ((counts * x).sum(axis=1) for x in (a * a, b * b, a * b))
    tiny = 1e-12 * total[:, 0]
    value = np.divide(ab, np.sqrt(aa * bb), out=np.zeros_like(ab), where=(aa > tiny) & (bb > tiny))
    return np.where(bb > tiny, value, np.nan)


def weighted_ranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Rank values (N,), ties averaged, as if value i stood counts[r, i] times in the list: (R, N)."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(group.max() + 1))
    sizes = np.add.reduceat(counts[:, order], starts, axis=1)
    middle = np.cumsum(sizes, axis=1) - sizes + (sizes + 1) / 2
    return middle[:, group]


def interval(draws: np.ndarray) -> tuple[float, float] | None:
    """Return the central 95% of the draws; None where they say nothing (too few scenes, or no figure)."""
    draws = draws[np.isfinite(draws)]
    if not len(draws) or np.ptp(draws) == 0:
        return None
    low, high = np.quantile(draws, [(1 - COVER) / 2, (1 + COVER) / 2])
    return float(low), float(high)


def interval_text(draws: np.ndarray) -> str:
    """Format the interval of the draws; a dash where there is none."""
    ends = interval(draws)
    return f"{ends[0]:.3f} to {ends[1]:.3f}" if ends else "–"


def with_interval(value: float, draws: np.ndarray) -> str:
    """Format a figure with its interval in brackets."""
    ends = interval(draws)
    return f"{value:.3f} [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else f"{value:.3f}"
