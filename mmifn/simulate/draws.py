"""Random distortions of any strength, alone and in pairs: the designs' own, and three that no design has.

Strengths are drawn so that human scores would be spread evenly at the size of the panorama: from its ceiling down to
the severest setting that was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mmifn.simulate.curves import ceiling, measured_parameters, setting_mos
from mmifn.simulate.designs import DESIGNS
from mmifn.simulate.distortions import expose, quantise, resample

# Capture and processing come before compression, as in life.
ORDER = ("EXP", "GB", "DS", "GN", "BAND", "JPEG", "JP2K", "AVC", "HEVC")
KINDS = tuple(sorted(ORDER))
_JUDGED = ("JPEG", "JP2K", "GN", "GB", "AVC", "HEVC")
_WHOLE = ("JPEG", "AVC", "HEVC")  # kinds whose encoders take whole numbers
# No design has these: parameter of the mildest and the severest (exposure: stops, over or under).
_FURTHER = {"EXP": (0.4, 2.5), "DS": (1.2, 6.0), "BAND": (40.0, 5.0)}
_PRISTINE_SHARE, _PAIR_SHARE, _FURTHER_SHARE = 0.05, 0.2, 0.15


@dataclass(frozen=True)
class Draw:
    """Distortions to apply in order, (kind, parameter) each; none is the pristine picture.

    mos: what people would give on average, on 0..100, at the width it was drawn for; None where nobody was asked (pairs,
    exposure, banding). Resampling leaves a panorama of fewer pixels, and is scored as one.
    """

    parts: tuple[tuple[str, float], ...]
    mos: float | None

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(kind for kind, _ in self.parts)

    @property
    def in_a_design(self) -> bool:
        """Tell whether a design has it: one kind that people judged, or nothing."""
        return len(self.parts) < 2 and set(self.kinds) <= set(_JUDGED)

    def apply(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the distorted (H, 2H, 3) uint8 panorama."""
        for kind, value in self.parts:
            pixels = distort(kind, value, pixels, rng)
        return pixels


def _of_designs() -> dict:
    functions = {}
    for kinds in DESIGNS.values():
        for kind in kinds:
            functions[kind.type] = lambda pixels, value, rng, kind=kind: kind.apply(pixels, value, rng).pixels
    return functions


_FUNCTIONS = _of_designs() | {
    "EXP": lambda pixels, stops, _rng: expose(pixels, stops),
    "DS": lambda pixels, factor, _rng: resample(pixels, factor),
    "BAND": lambda pixels, levels, _rng: quantise(pixels, round(levels))}


def distort(kind: str, parameter: float, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (H, 2H, 3) uint8 pixels with one kind of KINDS done to them."""
    return _FUNCTIONS[kind](pixels, parameter, rng)


@lru_cache(maxsize=64)
def _curve_at(kind: str, width_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Return parameters from mild to severe, and falling mean human scores, of a judged kind at a width."""
    parameters = measured_parameters(kind)
    scores = np.array([setting_mos(kind, value, width_px) for value in parameters])
    return parameters, np.minimum.accumulate(scores)


def parameter_at(kind: str, mos: float, width_px: int) -> float:
    """Return the parameter at which people would give `mos` on average at this width (clipped to what was measured)."""
    parameters, scores = _curve_at(kind, width_px)
    return float(np.interp(mos, scores[::-1], parameters[::-1]))


def draw(rng: np.random.Generator, width_px: int) -> Draw:
    """Draw a distortion, a pair, or none, for a panorama of this width."""
    fate = rng.random()
    if fate < _PRISTINE_SHARE:
        return Draw((), ceiling(width_px))
    if fate < _PRISTINE_SHARE + _PAIR_SHARE:
        pair = sorted(rng.choice(ORDER, 2, replace=False), key=ORDER.index)
        return Draw(tuple(draw_kind(str(kind), rng, width_px)[:2] for kind in pair), None)
    judged = fate >= _PRISTINE_SHARE + _PAIR_SHARE + _FURTHER_SHARE
    kind, value, mos = draw_kind(str(rng.choice(list(_JUDGED if judged else _FURTHER))), rng, width_px)
    return Draw(((kind, value),), mos)


def draw_kind(kind: str, rng: np.random.Generator, width_px: int) -> tuple[str, float, float | None]:
    """Return a kind with a parameter drawn for a panorama of this width, and what people would give on average, if known."""
    if kind in _FURTHER:
        value = float(np.exp(rng.uniform(*np.sort(np.log(_FURTHER[kind])))))
        if kind == "DS":
            return kind, value, ceiling(width_px / value)
        return kind, value * float(rng.choice((-1, 1))) if kind == "EXP" else value, None
    scores = _curve_at(kind, width_px)[1]
    value = parameter_at(kind, float(rng.uniform(scores.min(), scores.max())), width_px)
    value = float(round(value)) if kind in _WHOLE else value
    return kind, value, setting_mos(kind, value, width_px)
