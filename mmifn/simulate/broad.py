"""A database of what the designs leave out: pairs of distortions, kinds nobody was asked about, and pristine panoramas.

For training models that meet any panorama; benchmarks keep to the designs. Layout as in simulate.py.
"""

from __future__ import annotations

import zlib

import numpy as np
import pandas as pd

from mmifn.data.manifest import SIMULATED
from mmifn.data.workspace import Workspace
from mmifn.simulate.comparison import LABEL_METRIC
from mmifn.simulate.curves import RULE, mos_of_fsim, seen_width
from mmifn.simulate.database import comparison, seen_columns
from mmifn.simulate.drawn import DrawnScene, drawn_scenes, make_drawn
from mmifn.simulate.draws import Draw, draw
from mmifn.simulate.settings import BROAD as LIKE
from mmifn.simulate.settings import Simulation

VERSIONS = 6  # of each scene, beside the pristine one


def simulate_broad(plan: Simulation, space: Workspace) -> pd.DataFrame:
    """Make or complete the database and return the table that is written to des.csv.

    Raises UserError as simulate does, and for levels: strengths are drawn here.
    """
    chosen = drawn_scenes(plan, LIKE)
    facts = {"like": LIKE, "versions": VERSIONS, "label_metric": LABEL_METRIC, "label_rule": RULE,
             "noise": "of scene and version"}
    return make_drawn(plan, space, chosen, facts, _make_scene)


def _make_scene(job: DrawnScene) -> list[dict]:
    """Write the pristine panorama and its versions, leaving alone what is there; return their rows of des.csv."""
    pixels = job.scene.load(job.plan.height)
    compare = comparison(job.scene, pixels, job.plan)
    flawless = compare.fsim(pixels)
    rng = np.random.default_rng([job.plan.seed, zlib.crc32(job.scene.name.encode())])
    rows = []
    for number, what in enumerate([Draw((), None), *_of_no_design(rng, round(seen_width(pixels.shape[1], compare.ppd)))]):
        kinds = "+".join(what.kinds) or "pristine"
        noise = zlib.crc32(f"{job.scene.name} {number}".encode())  # its own in every scene and version
        path, distorted = job.image(f"{kinds}_{number}", lambda what=what, noise=noise: what.apply(
            pixels, np.random.default_rng([job.plan.seed, noise])))
        mos = mos_of_fsim(what.kinds, compare.fsim(distorted) if what.kinds else flawless, flawless)
        rows.append({"image_name": path.name, "MOS": f"{mos:.4f}", "distortion_type": kinds,
                     "level": 0 if not what.kinds else 1, "reference": job.scene.name, "location": job.scene.location,
                     "mos_source": SIMULATED, **seen_columns(pixels.shape[1], compare.ppd)})
    return rows


def _of_no_design(rng: np.random.Generator, width_px: int) -> list[Draw]:
    """Draw VERSIONS distortions that no design has."""
    draws: list[Draw] = []
    while len(draws) < VERSIONS:
        what = draw(rng, width_px)
        if not what.in_a_design:
            draws.append(what)
    return draws
