"""A database of what the designs leave out: pairs of distortions, kinds nobody was asked about, pristine panoramas, and
distorted ones that were merely passed on: saved again as a fine JPEG, or reduced.

For training models that meet any panorama; benchmarks keep to the designs. Layout as in simulate.py.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from mmifn.core.pixels import to_pixels
from mmifn.data.manifest import SIMULATED
from mmifn.data.workspace import Workspace
from mmifn.simulate import codecs
from mmifn.simulate.comparison import LABEL_METRIC, SceneComparison
from mmifn.simulate.curves import RULE, mos_of_fsim, seen_width
from mmifn.simulate.database import comparison, seen_columns
from mmifn.simulate.drawn import DrawnScene, drawn_scenes, make_drawn
from mmifn.simulate.draws import Draw, draw
from mmifn.simulate.settings import BROAD as LIKE
from mmifn.simulate.settings import Simulation
from mmifn.sphere import resize_erp

VERSIONS = 6  # of each scene, beside the pristine one
PASSED_ON = ("GN", "")  # kinds of a scene's versions of a design that are passed on; "": any but those
COPIES = 2  # of each of these: saved again, reduced
IMAGES = 1 + VERSIONS + len(PASSED_ON) * (1 + COPIES)  # of each scene
_FINE_JPEG = 98


def simulate_broad(plan: Simulation, space: Workspace) -> pd.DataFrame:
    """Make or complete the database and return the table that is written to des.csv.

    Raises UserError as simulate does, and for levels: strengths are drawn here.
    """
    chosen = drawn_scenes(plan, LIKE)
    facts = {"like": LIKE, "versions": VERSIONS, "label_metric": LABEL_METRIC, "label_rule": RULE,
             "noise": "of scene and version", "passed_on": list(PASSED_ON)}
    return make_drawn(plan, space, chosen, facts, _make_scene)


def _make_scene(job: DrawnScene) -> list[dict]:
    """Write the pristine panorama and its versions, leaving alone what is there; return their rows of des.csv."""
    pixels = job.scene.load(job.plan.height)
    compare = comparison(job.scene, pixels, job.plan)
    flawless = compare.fsim(pixels)
    width = round(seen_width(pixels.shape[1], compare.ppd))
    rng = np.random.default_rng([job.plan.seed, zlib.crc32(job.scene.name.encode())])
    rows = []
    for number, what in enumerate([Draw((), None), *_of_no_design(rng, width), *_of_designs(rng, width)]):
        kinds = "+".join(what.kinds) or "pristine"
        noise = zlib.crc32(f"{job.scene.name} {number}".encode())  # its own in every scene and version
        path, distorted = job.image(f"{kinds}_{number}", lambda what=what, noise=noise: what.apply(
            pixels, np.random.default_rng([job.plan.seed, noise])))
        mos = mos_of_fsim(what.kinds, compare.fsim(distorted) if what.kinds else flawless, flawless)
        rows.append(_row(job, path, compare, pixels.shape[1], kinds, mos))
        if number > VERSIONS:
            rows += _passed_on(job, f"{kinds}_{number}", what, distorted, mos, pixels, compare)
    return rows


def _passed_on(job: DrawnScene, name: str, what: Draw, distorted: np.ndarray, mos: float, pixels: np.ndarray,
               compare: SceneComparison) -> list[dict]:
    """Write copies of a distorted image that nobody meant to change: saved again as a fine JPEG with halved colour, which
    has the label of what was saved, and reduced to three quarters, which has its own."""
    again, _ = job.image(f"{name}_again", lambda: codecs.decode(codecs.encode_jpeg(distorted, _FINE_JPEG)))
    reduced, small = job.image(f"{name}_reduced", lambda: _narrower(distorted))
    own = mos_of_fsim(what.kinds, compare.fsim(small), compare.fsim(_narrower(pixels)))
    kinds = "+".join(what.kinds)
    return [_row(job, again, compare, pixels.shape[1], kinds, mos), _row(job, reduced, compare, small.shape[1], kinds, own)]


def _narrower(pixels: np.ndarray) -> np.ndarray:
    height = len(pixels) * 3 // 4
    return to_pixels(resize_erp(pixels, height, 2 * height))


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
    """Draw one distortion of a design for each of PASSED_ON."""
    draws: list[Draw] = []
    while len(draws) < len(PASSED_ON):
        what, wanted = draw(rng, width_px), PASSED_ON[len(draws)]
        if what.in_a_design and what.kinds and (what.kinds == (wanted,) if wanted else what.kinds[0] not in PASSED_ON):
            draws.append(what)
    return draws
