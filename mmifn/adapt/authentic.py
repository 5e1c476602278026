"""Databases of authentic faults on panoramas, of all kinds or of lenses alone, whose labels rest on people's opinions
(opinion_labels).

Layout as in simulate: datasets/<DS>/images/, simulation.json, des.csv last. Further columns: fault, strength, place, basis
(which opinions the label rests on), label_rule.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mmifn.adapt.opinion_labels import (
    POINTS,
    RANGE,
    RULE,
    STITCHING,
    harm_of,
    label,
    light_of,
    people_scores,
    unevenness,
    views_of,
)
from mmifn.data.manifest import SIMULATED
from mmifn.data.workspace import Workspace
from mmifn.encoders.people import open_people
from mmifn.simulate.authentic import WHOLE, Happening, happenings, mild_lenses
from mmifn.simulate.comparison import pool
from mmifn.simulate.curves import PRISTINE_MOS, ceiling
from mmifn.simulate.database import seen_columns
from mmifn.simulate.drawn import DrawnScene, drawn_scenes, make_drawn
from mmifn.simulate.settings import LENSES, Simulation

VERSIONS = 12  # of each scene, beside the pristine one: ONE_LENS, and eight of the other faults
STITCHED = ("step", "ghost")
BY_LENS = ("lenses",)  # faults that are by lens wherever they befall


def simulate_authentic(plan: Simulation, space: Workspace) -> pd.DataFrame:
    """Make or complete the database and return the table that is written to des.csv.

    Raises UserError as simulate does, and for levels: strengths are drawn here.
    """
    chosen = drawn_scenes(plan, plan.like)
    facts = {"like": plan.like, "versions": len(_faults(plan, "")), "label_rule": RULE, "encoder": open_people("cpu").digest}
    return make_drawn(plan, space, chosen, facts, _make_scene)


def _faults(plan: Simulation, scene: str) -> list[Happening]:
    """Return what befalls a scene in one of the two designs: faults of every kind, or mild ones of lenses alone."""
    return mild_lenses(scene, plan.seed) if plan.like == LENSES else happenings(scene, VERSIONS, plan.seed)


def _make_scene(job: DrawnScene) -> list[dict]:
    """Write the pristine panorama and its versions, leaving alone what is there; return their rows of des.csv."""
    pixels = job.scene.load(job.plan.height)
    flawless = views_of(pixels)
    scores, light = people_scores(flawless), light_of(flawless)
    rows = [_row(job, job.image("pristine_0", lambda: pixels)[0], pixels.shape[1], None, 0.0, "pristine")]
    for number, what in enumerate(_faults(job.plan, job.scene.name), start=1):
        path, faulty = job.image(f"{what.name}_{number}", lambda what=what: what.apply(pixels))
        rows.append(_row(job, path, pixels.shape[1], what, *_harm(what, views_of(faulty), scores, light)))
    return rows


def _harm(what: Happening, views: torch.Tensor, scores: np.ndarray, light: np.ndarray) -> tuple[float, str]:
    """Return by how many points a panorama is worse than its flawless self, and what that rests on."""
    parts = {"views": POINTS * pool(scores - people_scores(views))}
    if what.place != WHOLE or what.fault in BY_LENS:
        parts["light"] = unevenness(light_of(views) - light)
    if what.fault in STITCHED:
        parts["stitching"] = STITCHING[what.strength]
    basis = "+".join(name for name, value in parts.items() if value > 0)
    return harm_of(*parts.values()), basis


def _row(job: DrawnScene, path: Path, width: int, what: Happening | None, harm: float, basis: str) -> dict:
    ppd = job.plan.shown_at(width)
    best = ceiling(width, ppd)
    return {"image_name": path.name, "MOS": f"{label(harm, best, PRISTINE_MOS - RANGE):.4f}",
            "distortion_type": what.fault if what else "pristine", "level": what.strength if what else 0,
            "reference": job.scene.name, "location": job.scene.location, "mos_source": SIMULATED,
            "place": what.place if what else "", "basis": basis, **seen_columns(width, ppd), "label_rule": RULE}
