"""Faults of real cameras and stitchers, made on flawless panoramas: which, how strong, and where.

Exposure, colour, focus, motion and noise happen to light, before tone mapping; sharpening, smear and codecs to display
values. Angles are degrees on the sphere, so a fault covers the same part of the world at every size. Every fault has
strengths in ascending order, and may befall the whole sphere or one lens of a rig, blended at feathered seams.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mmifn.simulate import captured, processed
from mmifn.simulate.light import lens_weights, mix, to_light, to_pixels

WHOLE, ONE_OF_TWO, ONE_OF_SIX = "whole", "one of two lenses", "one of six lenses"
_LENSES = {ONE_OF_TWO: 2, ONE_OF_SIX: 6}
FEATHER_DEG = (4.0, 12.0)  # over how much longitude stitchers blend two lenses

Change = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Fault:
    """A fault: strengths ascending in harm; where it may befall; in_light: whether it changes light or display values.

    change: (H, 2H, 3) float32 light in 0..1, or uint8 display values; a strength; a random generator -> the same kind.
    """

    name: str
    unit: str
    strengths: tuple[float, ...]
    places: tuple[str, ...]
    in_light: bool
    change: Change


_ANYWHERE = (WHOLE, ONE_OF_TWO, ONE_OF_SIX)
FAULTS = {fault.name: fault for fault in (
    Fault("over", "stops", (0.7, 1.3, 2.0, 2.8), _ANYWHERE, True, captured.expose),
    Fault("under", "stops", (-0.75, -1.5, -2.5, -3.5), _ANYWHERE, True, captured.expose),
    Fault("white", "stops between red and blue", (0.4, 0.8, 1.4, 2.0), _ANYWHERE, True, captured.white_balance),
    Fault("focus", "sigma, degrees", (0.18, 0.35, 0.6, 1.0), _ANYWHERE, True, captured.defocus),
    Fault("motion", "degrees of turn", (0.5, 1.0, 2.0, 3.5), _ANYWHERE, True, captured.shake),
    Fault("sensor", "1 / electrons of white", (1 / 1600, 1 / 500, 1 / 150, 1 / 50), _ANYWHERE, True, captured.sensor_noise),
    Fault("haze", "share of the light", (0.15, 0.3, 0.5, 0.7), _ANYWHERE, True, captured.haze),
    Fault("flare", "share of the light", (0.1, 0.25, 0.5, 0.8), (ONE_OF_TWO,), True, captured.flare),
    Fault("fringe", "degrees between red and blue", (0.12, 0.25, 0.5, 0.9), (WHOLE,), False, processed.fringe),
    Fault("smear", "grey values", (12, 25, 45, 80), _ANYWHERE, False, processed.smear),
    Fault("halo", "amount", (1.0, 2.0, 3.5, 6.0), (WHOLE,), False, processed.halo),
    Fault("lowrate", "QP", (34, 39, 44, 49), (WHOLE,), False, processed.low_rate),
    Fault("webp", "51 - quality / 2", (31, 41, 48, 51), (WHOLE,), False, processed.webp),
    Fault("avif", "51 - quality / 2", (26, 35, 42, 49), (WHOLE,), False, processed.avif),
    Fault("heic", "QP", (34, 39, 44, 49), (WHOLE,), False, processed.heic),
    Fault("upscaled", "times", (1.5, 2.2, 3.2, 5.0), (WHOLE,), False, processed.upscaled),
    Fault("ghost", "degrees", (0.4, 0.8, 1.6, 3.0), (WHOLE,), True, captured.ghosts),
    Fault("step", "degrees", (0.4, 0.8, 1.6, 3.0), (ONE_OF_TWO, ONE_OF_SIX), False, processed.shift_down),
    Fault("lenses", "stops from lens to lens", (0.25, 0.5, 0.9, 1.4), (WHOLE,), True, captured.uneven_lenses),
    Fault("burnt", "stops", (1.5, 2.5, 4.0, 6.0), (WHOLE,), True, captured.region),
    Fault("crushed", "stops", (-1.5, -2.5, -4.0, -6.0), (WHOLE,), True, captured.region),
)}


ONE_LENS = ("over", "under", "focus", "lenses")  # what no view alone can show (the last is by lens wherever it befalls)


@dataclass(frozen=True)
class Happening:
    """One fault at one of its strengths (a number from 1), in one place; made the same way by the same seed."""

    fault: str
    strength: int
    place: str
    seed: int

    @property
    def name(self) -> str:
        """Return fault-place-strength, such as focus-2lens-3, for file names and tables."""
        where = {WHOLE: "all", ONE_OF_TWO: "2lens", ONE_OF_SIX: "6lens"}[self.place]
        return f"{self.fault}-{where}-{self.strength}"

    @property
    def value(self) -> float:
        """Return the strength in the fault's own unit."""
        return FAULTS[self.fault].strengths[self.strength - 1]

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Return the faulty panorama, (H, 2H, 3) uint8. Other strengths of one seed befall the same lens or region."""
        fault, rng = FAULTS[self.fault], np.random.default_rng([self.seed, zlib.crc32(self.fault.encode())])
        first, feather = rng.uniform(-180, 180), rng.uniform(*FEATHER_DEG)
        source = to_light(pixels) if fault.in_light else pixels
        changed = fault.change(source, self.value, rng)
        if self.place != WHOLE:
            lens = lens_weights(pixels.shape[1], _LENSES[self.place], feather, first)[0]
            changed = mix(lens, changed, source)
        return to_pixels(changed) if fault.in_light else np.rint(changed).astype(np.uint8)


# Steps of light between lenses that are mild enough to be taken for the scene's own.
_MILD = (*((fault, strength, place) for fault in ("over", "under") for strength in (1, 2) for place in (ONE_OF_TWO, ONE_OF_SIX)),
         *(("lenses", strength, WHOLE) for strength in (1, 2, 3)))


def mild_lenses(scene: str, seed: int) -> list[Happening]:
    """Return each of the mild steps of light between lenses once, at seams of their own."""
    rng = np.random.default_rng([seed, zlib.crc32(scene.encode())])
    return [Happening(*what, int(rng.integers(2 ** 31))) for what in _MILD]


def happenings(scene: str, count: int, seed: int) -> list[Happening]:
    """Choose `count` faults for a scene: each of ONE_LENS in one lens, then others, every kind about as often as every other,
    strengths and places at random."""
    rng = np.random.default_rng([seed, zlib.crc32(scene.encode())])
    names = list(ONE_LENS)
    while len(names) < count:
        names += [str(name) for name in rng.permutation([name for name in FAULTS if name not in ONE_LENS])]
    chosen = []
    for number, name in enumerate(names[:count]):
        fault = FAULTS[name]
        strength = 1 + int(rng.integers(len(fault.strengths)))
        places = [place for place in fault.places if place != WHOLE] if number < len(ONE_LENS) else fault.places
        place = places[int(rng.integers(len(places)))] if places else WHOLE
        chosen.append(Happening(name, strength, place, int(rng.integers(2 ** 31)) + number))
    return chosen
