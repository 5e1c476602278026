"""A database of pristine panoramas alone, or of copies of them that nobody made worse, whose labels are the ceilings of their
sizes: what a model must not take for faults."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from mmifn.data.manifest import SIMULATED
from mmifn.data.workspace import Workspace
from mmifn.simulate.curves import RULE, ceiling
from mmifn.simulate.database import seen_columns
from mmifn.simulate.drawn import DrawnScene, drawn_scenes, make_drawn
from mmifn.simulate.light import grey, relit
from mmifn.simulate.settings import HARMLESS, Simulation

_STOPS = 0.5  # by which a panorama is brighter or darker and still a matter of taste
Copy = Callable[[np.ndarray], np.ndarray]
COPIES: dict[str, Copy] = {"grey": grey, "brighter": lambda pixels: relit(pixels, 2 ** _STOPS),
                           "darker": lambda pixels: relit(pixels, 2 ** -_STOPS)}


def simulate_flawless(plan: Simulation, space: Workspace) -> pd.DataFrame:
    """Make or complete the database and return the table that is written to des.csv.

    Raises UserError as simulate does, and for levels: nothing is distorted.
    """
    return make_drawn(plan, space, drawn_scenes(plan, plan.like), {"like": plan.like, "label_rule": RULE}, _make_scene)


def _make_scene(job: DrawnScene) -> list[dict]:
    """Write the pristine panorama of a scene, or its copies, unless they are there; return their rows of des.csv."""
    def row(name: str, make: Copy) -> dict:
        path, pixels = job.image(name, lambda: make(job.scene.load(job.plan.height)))
        width = pixels.shape[1]
        ppd = job.plan.shown_at(width)
        return {"image_name": path.name, "MOS": f"{ceiling(width, ppd):.4f}", "distortion_type": "pristine", "level": 0,
                "reference": job.scene.name, "location": job.scene.location, "mos_source": SIMULATED, **seen_columns(width, ppd)}

    if job.plan.like == HARMLESS:
        return [row(f"pristine_0_{name}", make) for name, make in COPIES.items()]
    return [row("pristine_0", np.asarray)]
