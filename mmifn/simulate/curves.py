"""From what a headset shows to what people say: human curves of metric and setting, at any size of panorama.

Opinion belongs to what is seen at the headset's resolution (fullref.headset). label_curves.csv holds the mean loss of
photographs, each compared with the scene at its best, for settings of every kind at several widths; where people judged a
setting it holds their mean score too. So a loss has a score per kind, and a setting has one at every width. Missing
size is loss as well and is read through the curve of blur: the ceiling of a small panorama (docs/databases.md, "Labels").
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmifn.simulate.human_anchor import HUMAN_PRISTINE
from mmifn.sphere import HEADSET_PPD

if TYPE_CHECKING:  # brings half of scipy, which a panorama of full size is scored without
    from scipy.interpolate import PchipInterpolator

RULE = "headset/2"  # raise it whenever a change alters labels
PRISTINE_MOS = float(np.mean([mean for mean, _ in HUMAN_PRISTINE.values()]))
WORST_MOS = 10.0  # what curves approach beyond the worst that people judged; CVIQ's lowest score is 16.1
HEADSET_WIDTH = round(360 * HEADSET_PPD)
METRICS = ("fsim", "gmsd")
_SIZE, _RESAMPLED, _BLUR = "size", "DS", "GB"
_BY_RATIO = ("JP2K", "GN", "GB")  # kinds whose strength people perceive by ratio
_TABLE = Path(__file__).with_name("label_curves.csv")
_TINY = 1e-6


@dataclass(frozen=True)
class Curve:
    """Mean score against the logarithm of loss: monotone through the judged settings, and smooth beyond both ends.

    losses ascending (mild to severe), scores descending. Below the mildest, what is lacking to PRISTINE_MOS is a power of the
    loss; above the severest, scores approach WORST_MOS exponentially; both go on with the curve's own slope.
    """

    losses: tuple[float, ...]
    scores: tuple[float, ...]

    def __call__(self, loss: float | np.ndarray) -> np.ndarray:
        x = np.log(np.maximum(loss, _TINY))
        inside, ends, (mild, severe) = self._judged
        lacking, left = PRISTINE_MOS - self.scores[0], self.scores[-1] - WORST_MOS
        below = PRISTINE_MOS - lacking * np.exp(-mild / lacking * np.minimum(x - ends[0], 0))
        above = WORST_MOS + left * np.exp(severe / left * np.maximum(x - ends[1], 0))
        opinion = np.where(x < ends[0], below, np.where(x > ends[1], above, inside(np.clip(x, *ends))))
        return np.where(np.asarray(loss) <= _TINY, PRISTINE_MOS, opinion)

    @cached_property
    def _judged(self) -> tuple[PchipInterpolator, np.ndarray, np.ndarray]:
        """Return scores by log loss between the judged settings, where those end, and the slopes there."""
        from scipy.interpolate import PchipInterpolator

        inside = PchipInterpolator(np.log(self.losses), self.scores)
        ends = np.log([self.losses[0], self.losses[-1]])
        return inside, ends, inside.derivative()(ends)


@dataclass(frozen=True)
class _Row:
    kind: str
    parameter: float
    width: int
    fsim: float  # loss: 1 - FSIM
    gmsd: float
    mos: float | None  # of people, where they judged the setting


@lru_cache(maxsize=1)
def _rows() -> tuple[_Row, ...]:
    with open(_TABLE, newline="", encoding="utf-8") as file:
        return tuple(_Row(row["kind"], float(row["parameter"]), int(row["width"]), float(row["fsim_loss"]),
                          float(row["gmsd"]), float(row["mos"]) if row["mos"] else None) for row in csv.DictReader(file))


@lru_cache(maxsize=1)
def judged_kinds() -> tuple[str, ...]:
    """Return the kinds whose settings people judged."""
    return tuple(dict.fromkeys(row.kind for row in _rows() if row.mos is not None))


@lru_cache(maxsize=32)
def curve(kind: str, metric: str = "fsim") -> Curve:
    """Return the human curve of a judged kind (resampling: that of blur) by a metric of METRICS."""
    kind = _BLUR if kind in (_SIZE, _RESAMPLED) else kind
    rows = sorted((row for row in _rows() if row.kind == kind and row.mos is not None), key=lambda row: -row.mos)
    return Curve(tuple(getattr(row, metric) for row in rows), tuple(row.mos for row in rows))


@lru_cache(maxsize=8)
def curve_by_setting(kind: str) -> Curve:
    """Return the human curve of a judged kind whose greater parameters are severer, over its parameter in the headset.

    Where a metric can tell no longer what is worse, this one goes on (Curve: with its own slope, towards WORST_MOS).
    """
    rows = sorted((row for row in _rows() if row.kind == kind and row.mos is not None), key=lambda row: row.parameter)
    return Curve(tuple(row.parameter for row in rows), tuple(row.mos for row in rows))


def _scale(kind: str, parameter: float | np.ndarray) -> np.ndarray:
    return np.log(parameter) if kind in _BY_RATIO else np.asarray(parameter, dtype=float)


@dataclass(frozen=True)
class _Sweep:
    """Log losses of a kind at one width over scaled parameters, ascending."""

    parameters: tuple[float, ...]
    logs: tuple[float, ...]
    between: PchipInterpolator


@lru_cache(maxsize=64)
def _sweeps(kind: str, metric: str) -> dict[int, _Sweep]:
    """Return width -> sweep of a kind."""
    from scipy.interpolate import PchipInterpolator

    sweeps = {}
    for width in sorted({row.width for row in _rows() if row.kind == kind}):
        rows = sorted((row for row in _rows() if row.kind == kind and row.width == width), key=lambda row: row.parameter)
        x = tuple(float(_scale(kind, row.parameter)) for row in rows)
        y = tuple(float(np.log(getattr(row, metric))) for row in rows)
        sweeps[width] = _Sweep(x, y, PchipInterpolator(x, y))
    return sweeps


@lru_cache(maxsize=16)
def measured_parameters(kind: str, count: int = 100) -> np.ndarray:
    """Return `count` parameters of a kind, mild to severe, over all that was measured, evenly as people perceive them."""
    sweep = _sweeps(kind, METRICS[0])[HEADSET_WIDTH]
    steps = np.linspace(sweep.parameters[0], sweep.parameters[-1], count)
    values = np.exp(steps) if kind in _BY_RATIO else steps
    return values if sweep.logs[0] < sweep.logs[-1] else values[::-1]


def seen_width(width_px: float, ppd: float = HEADSET_PPD) -> float:
    """Return the width that shows as many pixels in people's headset as `width_px` shows in one of `ppd` pixels per degree.

    Nobody's opinions were collected at other resolutions: this takes a displayed pixel for as visible as there.
    """
    return width_px * HEADSET_PPD / ppd


def setting_loss(kind: str, parameter: float, width_px: float, ppd: float = HEADSET_PPD, metric: str = "fsim") -> float:
    """Return the mean loss of a setting at a width: interpolated over parameters, then over log width; clipped outside.

    On a panorama of less than the headset's width a setting loses at least what it loses there, and the size besides: FSIM sees
    the coarse grain of strong noise that was enlarged less than the fine.
    """
    sweeps = _sweeps(kind, metric)
    x = _scale(kind, parameter)
    logs = {width: float(sweep.between(np.clip(x, sweep.parameters[0], sweep.parameters[-1]))) for width, sweep in sweeps.items()}
    loss = float(np.exp(np.interp(np.log(seen_width(width_px, ppd)), np.log(list(logs)), list(logs.values()))))
    size = size_loss(width_px, ppd, metric)
    return max(loss, 1 - (1 - float(np.exp(logs[HEADSET_WIDTH]))) * (1 - size)) if size else loss


@lru_cache(maxsize=256)
def size_loss(width_px: float, ppd: float = HEADSET_PPD, metric: str = "fsim") -> float:
    """Return the mean loss of a flawless panorama of this width; 0 where the headset shows no more."""
    width = seen_width(width_px, ppd)
    if width >= HEADSET_WIDTH:
        return 0.0
    rows = sorted((row for row in _rows() if row.kind == _SIZE), key=lambda row: row.width)
    widths, losses = [row.width for row in rows], [getattr(row, metric) for row in rows]
    # Linear in the share that is lacking, so that the loss goes to 0 without a step at the headset's own width.
    return float(np.interp(width, [*widths, HEADSET_WIDTH], [*losses, 0.0]))


def mos_of_loss(kinds: tuple[str, ...], loss: float | np.ndarray, size: float | np.ndarray = 0.0,
                metric: str = "fsim") -> np.ndarray:
    """Return scores 0..100 of pictures with a loss against the scene at its best (1 - FSIM, or GMSD).

    kinds: what was done to them, () for nothing but reducing; size: the loss that a flawless picture of that size has. Blur
    and resampling lose what size loses, so their whole loss is read through the curve of blur. With the others, what they
    leave of the score above WORST_MOS is multiplied by what the size leaves of it. Several kinds count equally, and one that
    nobody judged as the mean of all. Pairs and those kinds are a convention.
    """
    loss = np.maximum(loss, size)
    softened = curve(_SIZE, metric)(loss)
    if not kinds:
        return softened
    own = 1 - (1 - loss) / (1 - size)
    left = (curve(_SIZE, metric)(size) - WORST_MOS) / (PRISTINE_MOS - WORST_MOS)

    def score(kind: str) -> np.ndarray:
        if kind in (_BLUR, _RESAMPLED):
            return softened
        if kind in judged_kinds():
            return WORST_MOS + left * (curve(kind, metric)(own) - WORST_MOS)
        return np.mean([score(kind) for kind in judged_kinds()], axis=0)

    return np.mean([score(kind) for kind in kinds], axis=0)


def mos_of_fsim(kinds: tuple[str, ...], fsim: float, size_fsim: float = 1.0) -> float:
    """Return the label of a picture by its mean headset FSIM, and that of its flawless version of the same size."""
    return float(mos_of_loss(kinds, 1 - fsim, 1 - size_fsim))


def mos_of_gmsd(kinds: tuple[str, ...], gmsd: float | np.ndarray, size_gmsd: float | np.ndarray = 0.0) -> np.ndarray:
    """Return scores of views by their headset GMSD: for encoders' targets, which stay apart from the label metric."""
    return mos_of_loss(kinds, np.asarray(gmsd, dtype=float), size_gmsd, "gmsd")


def setting_mos(kind: str, parameter: float, width_px: float, ppd: float = HEADSET_PPD) -> float:
    """Return what people would say on average of a kind at a parameter and a width, from measured settings."""
    size = size_loss(width_px, ppd)
    return float(mos_of_loss((kind,), setting_loss(kind, parameter, width_px, ppd), size))


def ceiling(width_px: float, ppd: float = HEADSET_PPD) -> float:
    """Return the score of a flawless panorama of this width, which no better picture of the size can exceed."""
    loss = size_loss(width_px, ppd)
    return float(mos_of_loss((), loss)) if loss else PRISTINE_MOS


def charge_size(loss: float | np.ndarray, width_px: float, ppd: float = HEADSET_PPD) -> float | np.ndarray:
    """Return the loss against the scene at its best, where only the loss against its own size could be measured.

    Similarities multiply, 1 - loss = (1 - own) (1 - size), with the mean size loss of other scenes (docs/databases.md).
    """
    return 1 - (1 - loss) * (1 - size_loss(width_px, ppd))
