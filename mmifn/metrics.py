"""Agreement of predicted and subjective scores: PLCC, SRCC, KRCC, RMSE, and the logistic mapping before PLCC and RMSE."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIN_IMAGES = 3


def _checked(pred: np.ndarray, mos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pred, mos = np.asarray(pred, dtype=np.float64), np.asarray(mos, dtype=np.float64)
    if pred.ndim != 1 or pred.shape != mos.shape:
        raise ValueError(f"predictions {pred.shape} and scores {mos.shape} must be vectors of one length")
    if len(pred) < MIN_IMAGES:
        raise ValueError(f"at least {MIN_IMAGES} images are needed, got {len(pred)}")
    if not (np.isfinite(pred).all() and np.isfinite(mos).all()):
        raise ValueError("predictions and scores must be finite")
    return pred, mos


def _constant(*vectors: np.ndarray) -> bool:
    return any(np.ptp(vector) <= 1e-12 * max(1.0, float(np.abs(vector).max())) for vector in vectors)


def plcc(pred: np.ndarray, mos: np.ndarray) -> float:
    """Pearson linear correlation of (N,) vectors, as they are; 0 where one of them is constant."""
    pred, mos = _checked(pred, mos)
    return 0.0 if _constant(pred, mos) else float(np.corrcoef(pred, mos)[0, 1])


def srcc(pred: np.ndarray, mos: np.ndarray) -> float:
    """Spearman rank correlation of (N,) vectors, ties averaged; 0 where one of them is constant."""
    from scipy import stats  # takes as long to import as the rest together, and scoring a panorama does not need it

    pred, mos = _checked(pred, mos)
    return 0.0 if _constant(pred, mos) else float(stats.spearmanr(pred, mos).statistic)


def krcc(pred: np.ndarray, mos: np.ndarray) -> float:
    """Kendall rank correlation (tau-b) of (N,) vectors; 0 where one of them is constant."""
    from scipy import stats

    pred, mos = _checked(pred, mos)
    return 0.0 if _constant(pred, mos) else float(stats.kendalltau(pred, mos).statistic)


def rmse(pred: np.ndarray, mos: np.ndarray) -> float:
    """Root mean squared error, in units of the scores."""
    pred, mos = _checked(pred, mos)
    return float(np.sqrt(np.mean((pred - mos) ** 2)))


def selection_quality(pred: np.ndarray, mos: np.ndarray) -> float:
    """What epochs and strengths are chosen by on validation scenes: the mean of PLCC and SRCC, without a fit."""
    return 0.5 * (plcc(pred, mos) + srcc(pred, mos))


@dataclass(frozen=True)
class LogisticFit:
    """A fitted mapping of predictions to scores.

    mapped: (N,) mapped predictions; parameters: of the logistic, for predictions standardised by `centre` and
    `scale`; converged: false where the fit failed, then `mapped` is the least-squares straight line.
    """

    mapped: np.ndarray
    parameters: tuple[float, ...]
    centre: float
    scale: float
    converged: bool

    def __call__(self, pred: np.ndarray) -> np.ndarray:
        """Map further predictions."""
        x = (np.asarray(pred, dtype=np.float64) - self.centre) / self.scale
        if not self.converged:
            return np.polyval(self.parameters, x)
        return (_logistic4 if len(self.parameters) == 4 else _logistic5)(x, *self.parameters)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(x / 2))


def _logistic4(x: np.ndarray, top: float, bottom: float, middle: float, width: float) -> np.ndarray:
    return bottom + (top - bottom) * _sigmoid((x - middle) / (abs(width) + 1e-9))


def _logistic5(x: np.ndarray, b1: float, b2: float, b3: float, b4: float, b5: float) -> np.ndarray:
    return b1 * (_sigmoid(b2 * (x - b3)) - 0.5) + b4 * x + b5


def logistic_fit(pred: np.ndarray, mos: np.ndarray, parameters: int = 4) -> LogisticFit:
    """Fit the field's monotonic logistic from predictions to scores by least squares.

    4 parameters (VQEG 2000): b2 + (b1 - b2) / (1 + exp(-(x - b3) / |b4|)), started at [max MOS, min MOS, mean, 0.5]
    with predictions standardised, so that the start suits any scale. 5 parameters: Sheikh et al. 2006, which adds a
    straight line. A fit that fails, or ends worse than the least-squares line, is reported by converged=False.
    """
    from scipy import optimize

    if parameters not in (4, 5):
        raise ValueError(f"the logistic has 4 or 5 parameters, not {parameters}")
    pred, mos = _checked(pred, mos)
    centre, scale = float(pred.mean()), float(pred.std()) or 1.0
    x = (pred - centre) / scale
    line = np.polyfit(x, mos, 1) if np.ptp(x) > 0 else np.array([0.0, mos.mean()])
    fallback = LogisticFit(np.polyval(line, x), tuple(line), centre, scale, False)
    if len(pred) <= parameters or _constant(pred, mos):
        return fallback
    function = _logistic4 if parameters == 4 else _logistic5
    spread = float(np.ptp(mos))
    start = [mos.max(), mos.min(), 0.0, 0.5] if parameters == 4 else [spread, 1.0, 0.0, line[0] / 2, mos.mean()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optimize.OptimizeWarning)
            parameters, _ = optimize.curve_fit(function, x, mos, p0=start, maxfev=20000)
    except (RuntimeError, ValueError):
        return fallback
    mapped = function(x, *parameters)
    if not np.isfinite(mapped).all() or rmse(mapped, mos) > rmse(fallback.mapped, mos) * (1 + 1e-6):
        return fallback
    return LogisticFit(mapped, tuple(float(value) for value in parameters), centre, scale, True)


@dataclass(frozen=True)
class Agreement:
    """All figures of one set of predictions: PLCC and RMSE after the fit, the rest on raw predictions."""

    plcc: float
    srcc: float
    krcc: float
    rmse: float
    plcc_raw: float
    converged: bool
    images: int
    mos_sd: float

    @property
    def rmse_from_plcc(self) -> float:
        """RMSE that a least-squares fit of this PLCC implies: sigma * sqrt(1 - PLCC^2)."""
        return self.mos_sd * math.sqrt(max(0.0, 1 - self.plcc ** 2))


def agreement(pred: np.ndarray, mos: np.ndarray, parameters: int = 4) -> Agreement:
    """Measure (N,) predictions against (N,) scores as the field does."""
    pred, mos = _checked(pred, mos)
    fit = logistic_fit(pred, mos, parameters)
    return Agreement(plcc(fit.mapped, mos), srcc(pred, mos), krcc(pred, mos), rmse(fit.mapped, mos), plcc(pred, mos),
                     fit.converged, len(pred), float(mos.std()))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p values for their number by Holm's step-down method (Scand. J. Statist. 1979); None stays None.

    The k-th smallest of m is multiplied by m - k + 1, and none falls below a smaller one's: then a row below .05 is one of a
    family in which a false one would be found in at most one table of twenty.
    """
    order = sorted((value, i) for i, value in enumerate(p_values) if value is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (value, i) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * value))
        corrected[i] = highest
    return corrected
