"""Random distortions of any strength, alone and in pairs: the designs' own, and three that no design has.

Strengths are drawn so that human scores would be spread evenly: the mean scores of the designs' levels, interpolated
over the level's parameter, give the score that people would give on average.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmifn.simulate.designs import DESIGNS
from mmifn.simulate.distortions import expose, quantise, resample
from mmifn.simulate.human_anchor import HUMAN_MOS, HUMAN_PRISTINE

# Capture and processing come before compression, as in life.
ORDER = ("EXP", "GB", "DS", "GN", "BAND", "JPEG", "JP2K", "AVC", "HEVC")
KINDS = tuple(sorted(ORDER))
# Which database's people judged a kind, the parameter at which nothing is seen any more, and whether levels go by ratio.
_ANCHORS = {"JPEG": ("CVIQ", 90.0, False), "JP2K": ("OIQA", 6.0, True), "GN": ("OIQA", 2.0, True), "GB": ("OIQA", 0.5, True),
            "AVC": ("CVIQ", 20.0, False), "HEVC": ("CVIQ", 20.0, False)}
# Nobody was asked about these: parameter of the mildest and the severest (exposure: stops, over or under).
_UNJUDGED = {"EXP": (0.4, 2.5), "DS": (1.2, 6.0), "BAND": (40.0, 5.0)}
_PRISTINE_SHARE, _PAIR_SHARE, _UNJUDGED_SHARE = 0.05, 0.2, 0.15


@dataclass(frozen=True)
class Draw:
    """Distortions to apply in order, (kind, parameter) each; none is the pristine picture.

    mos: what people would give on average, on 0..100; None where nobody was asked (pairs, and kinds of no design).
    """

    parts: tuple[tuple[str, float], ...]
    mos: float | None

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(kind for kind, _ in self.parts)

    def apply(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the distorted (H, 2H, 3) uint8 panorama."""
        for kind, value in self.parts:
            pixels = _FUNCTIONS[kind](pixels, value, rng)
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


def human_curve(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return parameters (log where levels go by ratio) and mean human scores, from unseen distortion to the severest."""
    like, unseen, by_ratio = _ANCHORS[kind]
    values = next(each.values for each in DESIGNS[like] if each.type == kind)
    parameters = np.array([unseen, *values])
    scores = np.array([HUMAN_PRISTINE[like][0], *(mean for mean, _ in HUMAN_MOS[like, kind])])
    return (np.log(parameters) if by_ratio else parameters), scores


def parameter_at(kind: str, mos: float) -> float:
    """Return the parameter at which people would give `mos` on average (clipped to the curve)."""
    parameters, scores = human_curve(kind)
    value = float(np.interp(mos, scores[::-1], parameters[::-1]))
    return float(np.exp(value)) if _ANCHORS[kind][2] else value


def draw(rng: np.random.Generator) -> Draw:
    """Draw a distortion, a pair, or none."""
    fate = rng.random()
    if fate < _PRISTINE_SHARE:
        return Draw((), float(np.mean([mean for mean, _ in HUMAN_PRISTINE.values()])))
    if fate < _PRISTINE_SHARE + _PAIR_SHARE:
        pair = sorted(rng.choice(ORDER, 2, replace=False), key=ORDER.index)
        return Draw(tuple(_one(str(kind), rng)[:2] for kind in pair), None)
    judged = fate >= _PRISTINE_SHARE + _PAIR_SHARE + _UNJUDGED_SHARE
    kind, value, mos = _one(str(rng.choice(list(_ANCHORS if judged else _UNJUDGED))), rng)
    return Draw(((kind, value),), mos)


def _one(kind: str, rng: np.random.Generator) -> tuple[str, float, float | None]:
    if kind in _UNJUDGED:
        value = float(np.exp(rng.uniform(*np.sort(np.log(_UNJUDGED[kind])))))
        return kind, value * float(rng.choice((-1, 1))) if kind == "EXP" else value, None
    scores = human_curve(kind)[1]
    mos = float(rng.uniform(scores.min(), scores.max()))
    value = parameter_at(kind, mos)
    return kind, (float(round(value)) if kind in ("JPEG", "AVC", "HEVC") else value), mos
