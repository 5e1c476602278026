"""A database of what the designs leave out: pairs of distortions, kinds nobody was asked about, pristine panoramas, and
copies that nobody made to change quality: saved again as a fine JPEG, turned, grey, a little brighter or darker, resized.

For training models that meet any panorama; benchmarks keep to the designs. Layout as in simulate.py.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from mmifn.core.pixels import to_pixels
from mmifn.data.manifest import SIMULATED
from mmifn.data.workspace import Workspace
from mmifn.simulate import codecs
from mmifn.simulate.comparison import LABEL_METRIC, SceneComparison
from mmifn.simulate.curves import HEADSET_WIDTH, RULE, mos_of_fsim, seen_width
from mmifn.simulate.database import comparison, seen_columns
from mmifn.simulate.drawn import DrawnScene, drawn_scenes, make_drawn
from mmifn.simulate.draws import Draw, draw
from mmifn.simulate.light import grey, relit
from mmifn.simulate.settings import BROAD as LIKE
from mmifn.simulate.settings import Simulation
from mmifn.sphere import resize_erp

VERSIONS = 6  # of each scene, beside the pristine one
COPIED = ("GN", "", "")  # kinds of a scene's versions of a design that are copied, as the pristine one is; "": any but noise
_FINE_JPEG, _STOPS = 98, 0.3


def _turned(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.roll(pixels, int(rng.integers(1, pixels.shape[1])), axis=1)


def _widened(pixels: np.ndarray, share: float) -> np.ndarray:
    height = round(len(pixels) * share)
    return to_pixels(resize_erp(pixels, height, 2 * height))


Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
SAME_SIZE: dict[str, Change] = {  # these copies have the label of what was copied
    "again": lambda pixels, _rng: codecs.decode(codecs.encode_jpeg(pixels, _FINE_JPEG)),
    "turned": _turned,
    "grey": lambda pixels, _rng: grey(pixels),
    "relit": lambda pixels, rng: relit(pixels, 2 ** rng.uniform(-_STOPS, _STOPS))}
RESIZED = {"reduced": 0.75, "enlarged": 2.0}  # these have one of their own; only a panorama below the headset's size is enlarged
IMAGES = 1 + VERSIONS + len(COPIED) + (1 + len(COPIED)) * (len(SAME_SIZE) + len(RESIZED))  # of each scene, at most


def simulate_broad(plan: Simulation, space: Workspace) -> pd.DataFrame:
    """Make or complete the database and return the table that is written to des.csv.

    Raises UserError as simulate does, and for levels: strengths are drawn here.
    """
    chosen = drawn_scenes(plan, LIKE)
    facts = {"like": LIKE, "versions": VERSIONS, "label_metric": LABEL_METRIC, "label_rule": RULE,
             "noise": "of scene and version", "copied": list(COPIED), "copies": [*SAME_SIZE, *RESIZED]}
    return make_drawn(plan, space, chosen, facts, _make_scene)


def _make_scene(job: DrawnScene) -> list[dict]:
    """Write the pristine panorama and its versions, leaving alone what is there; return their rows of des.csv."""
    pixels = job.scene.load(job.plan.height)
    compare = comparison(job.scene, pixels, job.plan)
    flawless = compare.fsim(pixels)
    width = round(seen_width(pixels.shape[1], compare.ppd))
    rng = np.random.default_rng([job.plan.seed, zlib.crc32(job.scene.name.encode())])
    rows, copier = [], _Copier(job, pixels, compare)
    for number, what in enumerate([Draw((), None), *_of_no_design(rng, width), *_of_designs(rng, width)]):
        kinds = "+".join(what.kinds) or "pristine"
        noise = zlib.crc32(f"{job.scene.name} {number}".encode())  # its own in every scene and version
        path, distorted = job.image(f"{kinds}_{number}", lambda what=what, noise=noise: what.apply(
            pixels, np.random.default_rng([job.plan.seed, noise])))
        mos = mos_of_fsim(what.kinds, compare.fsim(distorted) if what.kinds else flawless, flawless)
        rows.append(_row(job, path, compare, pixels.shape[1], kinds, mos))
        if not what.kinds or number > VERSIONS:
            rows += copier.copies(f"{kinds}_{number}", what.kinds, distorted, mos)
    return rows


@dataclass(frozen=True)
class _Copier:
    """Makes the copies of images of one scene: of these pristine pixels (H, 2H, 3) uint8, compared so."""

    job: DrawnScene
    pixels: np.ndarray
    compare: SceneComparison

    @cached_property
    def flawless(self) -> dict[str, float]:
        """Return FSIM of the pristine panorama itself in each new size that a copy gets."""
        width = seen_width(self.pixels.shape[1], self.compare.ppd)
        return {way: self.compare.fsim(_widened(self.pixels, share)) for way, share in RESIZED.items()
                if share < 1 or round(width) < HEADSET_WIDTH}

    def copies(self, name: str, kinds: tuple[str, ...], pixels: np.ndarray, mos: float) -> list[dict]:
        """Write the copies of an image, leaving alone what is there; return their rows of des.csv."""
        rows, words = [], "+".join(kinds) or "pristine"
        for way, change in SAME_SIZE.items():
            rng = np.random.default_rng([self.job.plan.seed, zlib.crc32(f"{self.job.scene.name} {name} {way}".encode())])
            path, _ = self.job.image(f"{name}_{way}", lambda change=change, rng=rng: change(pixels, rng))
            rows.append(_row(self.job, path, self.compare, pixels.shape[1], words, mos))
        for way, best in self.flawless.items():
            path, resized = self.job.image(f"{name}_{way}", lambda way=way: _widened(pixels, RESIZED[way]))
            own = mos_of_fsim(kinds, self.compare.fsim(resized) if kinds else best, best)
            rows.append(_row(self.job, path, self.compare, resized.shape[1], words, own))
        return rows


def _row(job: DrawnScene, path: Path, compare: SceneComparison, width: int, kinds: str, mos: float) -> dict:
    return {"image_name": path.name, "MOS": f"{mos:.4f}", "distortion_type": kinds, "level": 0 if kinds == "pristine" else 1,
            "reference": job.scene.name, "location": job.scene.location, "mos_source": SIMULATED,
            **seen_columns(width, compare.ppd)}


def _of_no_design(rng: np.random.Generator, width_px: int) -> list[Draw]:
    """Draw VERSIONS distortions that no design has."""
    draws: list[Draw] = []
    while len(draws) < VERSIONS:
        what = draw(rng, width_px)
        if not what.in_a_design:
            draws.append(what)
    return draws


def _of_designs(rng: np.random.Generator, width_px: int) -> list[Draw]:
    """Draw one distortion of a design for each of COPIED."""
    draws: list[Draw] = []
    while len(draws) < len(COPIED):
        what, wanted = draw(rng, width_px), COPIED[len(draws)]
        if what.in_a_design and what.kinds and (what.kinds == (wanted,) if wanted else what.kinds[0] not in COPIED):
            draws.append(what)
    return draws
