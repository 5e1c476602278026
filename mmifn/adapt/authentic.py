"""A database of authentic faults on panoramas, with labels that rest on people's opinions (opinion_labels).

Layout as in simulate: datasets/<DS>/images/, simulation.json, des.csv last. Further columns: fault, strength, place, basis
(which opinions the label rests on), label_rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from mmifn.adapt.opinion_labels import (
    POINTS,
    RANGE,
    RULE,
    STITCHING,
    harm_of,
    label,
    light_of,
    people_scores,
    pool,
    unevenness,
    views_of,
)
from mmifn.core.errors import UserError
from mmifn.core.workers import run_tasks, usable_cores
from mmifn.data.images import write_png
from mmifn.data.manifest import SIMULATED, write_manifest
from mmifn.data.workspace import Workspace
from mmifn.encoders.people import open_people
from mmifn.simulate.authentic import FAULTS, WHOLE, Happening, happenings
from mmifn.simulate.curves import PRISTINE_MOS, ceiling
from mmifn.simulate.database import Simulation, check_numbers, claim_folder, read_whole, seen_columns
from mmifn.simulate.panoramas import Scene, check_scenes, choose_scenes, find_scenes

LIKE = "AUTHENTIC"
VERSIONS = len(FAULTS)  # of each scene, beside the pristine one: every fault once
STITCHED = ("step", "ghost")
BY_LENS = ("lenses",)  # faults that are by lens wherever they befall


@dataclass(frozen=True)
class _Job:
    scene: Scene
    plan: Simulation
    folder: Path


def simulate_authentic(plan: Simulation, space: Workspace) -> pd.DataFrame:
    """Make or complete the database and return the table that is written to des.csv.

    Raises UserError as simulate does, and for levels: strengths are drawn here.
    """
    check_numbers(plan)
    if plan.levels:
        raise UserError(f"--levels {','.join(map(str, plan.levels))} has no meaning with --like {LIKE}: its strengths are drawn")
    chosen = choose_scenes(find_scenes(plan.panoramas), plan.scenes, plan.seed, plan.exclude, plan.only)
    check_scenes(chosen, plan.height, plan.max_megapixels)
    folder = space.dataset_dir(plan.dataset)
    claim_folder(folder, plan, {"like": LIKE, "seed": plan.seed, "height": plan.height, "ppd": plan.ppd, "versions": VERSIONS,
                                "label_rule": RULE, "encoder": open_people("cpu").digest,
                                "scenes": {scene.name: [scene.location, scene.digest()] for scene in chosen}})
    jobs = [_Job(scene, plan, folder) for scene in chosen]
    rows: dict[int, list[dict]] = {}
    with tqdm(total=len(jobs), unit="scene", desc="simulate") as bar:
        for i, made in run_tasks(_make_scene, jobs, plan.workers or usable_cores(), preload=__name__):
            rows[i] = made
            bar.update()
    table = pd.DataFrame([row for i in range(len(jobs)) for row in rows[i]])
    write_manifest(table, space.manifest(plan.dataset))
    return table


def _make_scene(job: _Job) -> list[dict]:
    """Write the pristine panorama and its versions, leaving alone what is there; return their rows of des.csv."""
    pixels = job.scene.load(job.plan.height)
    flawless = views_of(pixels)
    scores, light = people_scores(flawless), light_of(flawless)
    rows = [_row(job, _written(job, "pristine_0", lambda: pixels)[0], pixels.shape[1], None, 0.0, "pristine")]
    for number, what in enumerate(happenings(job.scene.name, VERSIONS, job.plan.seed), start=1):
        path, faulty = _written(job, f"{what.name}_{number}", lambda what=what: what.apply(pixels))
        rows.append(_row(job, path, pixels.shape[1], what, *_harm(what, views_of(faulty), scores, light)))
    return rows


def _written(job: _Job, name: str, make: Callable[[], np.ndarray]) -> tuple[Path, np.ndarray]:
    path = job.folder / "images" / f"{job.scene.name}_{name}.png"
    pixels = read_whole(path)
    if pixels is None:
        pixels = make()
        write_png(pixels, path)
    return path, pixels


def _harm(what: Happening, views: torch.Tensor, scores: np.ndarray, light: np.ndarray) -> tuple[float, str]:
    """Return by how many points a panorama is worse than its flawless self, and what that rests on."""
    parts = {"views": POINTS * pool(scores - people_scores(views))}
    if what.place != WHOLE or what.fault in BY_LENS:
        parts["light"] = unevenness(light_of(views) - light)
    if what.fault in STITCHED:
        parts["stitching"] = STITCHING[what.strength]
    basis = "+".join(name for name, value in parts.items() if value > 0)
    return harm_of(*parts.values()), basis


def _row(job: _Job, path: Path, width: int, what: Happening | None, harm: float, basis: str) -> dict:
    ppd = job.plan.shown_at(width)
    best = ceiling(width, ppd)
    return {"image_name": path.name, "MOS": f"{label(harm, best, PRISTINE_MOS - RANGE):.4f}",
            "distortion_type": what.fault if what else "pristine", "level": what.strength if what else 0,
            "reference": job.scene.name, "location": job.scene.location, "mos_source": SIMULATED,
            "place": what.place if what else "", "basis": basis, **seen_columns(width, ppd), "label_rule": RULE}
