"""Bootstrap 95% intervals over scenes, for a figure that is a mean over runs on several splits.

Images of one scene are not independent, and the splits of one database share scenes, so neither images nor runs can be
resampled alone. Here the scenes of the database that are tested in any run are drawn with replacement; in every run an
image counts as often as its scene was drawn; the figure of every run is computed anew and averaged over the runs (a run
none of whose scenes were drawn drops out of that draw). The interval spans the 2.5% and 97.5% quantiles of these means
(Efron's percentile bootstrap with clusters as units: Davison and Hinkley 1997, 3.8). Trained models and the logistic fit
of each run are held fixed, so the interval tells how far the figure depends on which scenes happened to be tested.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmifn.metrics import logistic_fit

RESAMPLES = 2000
SEED = 2026
COVER = 0.95


@dataclass(frozen=True)
class Scored:
    """One run's predictions (N,) with the opinion scores (N,) and the scene of each image."""

    pred: np.ndarray
    mos: np.ndarray
    scenes: list[str]


def resampled_figures(runs: list[Scored], parameters: int = 4) -> dict[str, np.ndarray]:
    """Return PLCC (after each run's logistic fit) and SRCC, mean over runs, of every draw of scenes: each (RESAMPLES,).

    The draws depend only on the names of the scenes, so that two methods tested on the same scenes get the same draws
    and their figures can be subtracted. A draw in which no run has two different opinion scores gives NaN.
    """
    units = sorted({scene for run in runs for scene in run.scenes})
    draws = np.random.default_rng(SEED).multinomial(len(units), np.full(len(units), 1 / len(units)), size=RESAMPLES)
    place = {scene: i for i, scene in enumerate(units)}
    found: dict[str, list[np.ndarray]] = {"plcc": [], "srcc": []}
    for run in runs:
        counts = draws[:, [place[scene] for scene in run.scenes]].astype(np.float64)
        mapped = logistic_fit(run.pred, run.mos, parameters).mapped
        found["plcc"].append(weighted_correlation(np.broadcast_to(mapped, counts.shape), run.mos, counts))
        ranks = weighted_ranks(run.pred, counts), weighted_ranks(run.mos, counts)
        found["srcc"].append(weighted_correlation(*ranks, counts))
    return {name: _mean_over_runs(np.array(values)) for name, values in found.items()}


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


def _mean_over_runs(values: np.ndarray) -> np.ndarray:
    """Average (runs, R) over the runs that have a value in each draw; NaN where none has."""
    there = np.isfinite(values)
    return np.divide(np.where(there, values, 0).sum(axis=0), there.sum(axis=0), out=np.full(values.shape[1], np.nan),
                     where=there.any(axis=0))


def interval(draws: np.ndarray) -> tuple[float, float] | None:
    """Return the central 95% of the draws; None where they say nothing (a single scene, or no figure)."""
    draws = draws[np.isfinite(draws)]
    if not len(draws) or np.ptp(draws) == 0:
        return None
    low, high = np.quantile(draws, [(1 - COVER) / 2, (1 + COVER) / 2])
    return float(low), float(high)


def interval_text(draws: np.ndarray) -> str:
    """Format the interval of the draws; a dash where there is none."""
    found = interval(draws)
    return f"{found[0]:.3f} to {found[1]:.3f}" if found else "–"
