"""A database of pristine panoramas alone, whose labels are the ceilings of their sizes: what a model must not take for faults."""

from __future__ import annotations

import pandas as pd

from mmifn.data.manifest import SIMULATED
from mmifn.data.workspace import Workspace
from mmifn.simulate.curves import RULE, ceiling
from mmifn.simulate.database import seen_columns
from mmifn.simulate.drawn import DrawnScene, drawn_scenes, make_drawn
from mmifn.simulate.settings import FLAWLESS as LIKE
from mmifn.simulate.settings import Simulation


def simulate_flawless(plan: Simulation, space: Workspace) -> pd.DataFrame:
    """Make or complete the database and return the table that is written to des.csv.

    Raises UserError as simulate does, and for levels: nothing is distorted.
    """
    return make_drawn(plan, space, drawn_scenes(plan, LIKE), {"like": LIKE, "label_rule": RULE}, _make_scene)


def _make_scene(job: DrawnScene) -> list[dict]:
    """Write the pristine panorama of a scene, unless it is there; return its row of des.csv."""
    path, pixels = job.image("pristine_0", lambda: job.scene.load(job.plan.height))
    width = pixels.shape[1]
    ppd = job.plan.shown_at(width)
    return [{"image_name": path.name, "MOS": f"{ceiling(width, ppd):.4f}", "distortion_type": "pristine", "level": 0,
             "reference": job.scene.name, "location": job.scene.location, "mos_source": SIMULATED, **seen_columns(width, ppd)}]
