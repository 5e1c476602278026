"""A database of what the designs leave out: pairs of distortions, kinds nobody was asked about, and pristine panoramas.

For training models that meet any panorama; benchmarks keep to the designs. Layout as in simulate.py.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from mmifn.core.errors import UserError
from mmifn.core.workers import run_tasks, usable_cores
from mmifn.data.images import write_png
from mmifn.data.manifest import SIMULATED, write_manifest
from mmifn.data.workspace import Workspace
from mmifn.simulate.comparison import LABEL_METRIC
from mmifn.simulate.curves import RULE, mos_of_fsim, seen_width
from mmifn.simulate.database import Simulation, check_numbers, claim_folder, comparison, read_whole, seen_columns
from mmifn.simulate.draws import Draw, draw
from mmifn.simulate.panoramas import Scene, check_scenes, choose_scenes, find_scenes

LIKE = "BROAD"
VERSIONS = 6  # of each scene, beside the pristine one


@dataclass(frozen=True)
class _BroadScene:
    scene: Scene
    plan: Simulation
    folder: Path


def simulate_broad(plan: Simulation, space: Workspace) -> pd.DataFrame:
    """Make or complete the database and return the table that is written to des.csv.

    Raises UserError as simulate does, and for levels: strengths are drawn here.
    """
    check_numbers(plan)
    if plan.levels:
        raise UserError(f"--levels {','.join(map(str, plan.levels))} has no meaning with --like {LIKE}: its strengths are drawn")
    chosen = choose_scenes(find_scenes(plan.panoramas), plan.scenes, plan.seed, plan.exclude, plan.only)
    check_scenes(chosen, plan.height, plan.max_megapixels)
    folder = space.dataset_dir(plan.dataset)
    claim_folder(folder, plan, {"like": LIKE, "seed": plan.seed, "height": plan.height, "versions": VERSIONS,
                                "ppd": plan.ppd, "label_metric": LABEL_METRIC, "label_rule": RULE,
                                "noise": "of scene and version",
                                "scenes": {scene.name: [scene.location, scene.digest()] for scene in chosen}})
    jobs = [_BroadScene(scene, plan, folder) for scene in chosen]
    rows: dict[int, list[dict]] = {}
    with tqdm(total=len(jobs), unit="scene", desc="simulate") as bar:
        for i, made in run_tasks(_make_scene, jobs, plan.workers or usable_cores(), preload=__name__):
            rows[i] = made
            bar.update()
    table = pd.DataFrame([row for i in range(len(jobs)) for row in rows[i]])
    write_manifest(table, space.manifest(plan.dataset))
    return table


def _make_scene(job: _BroadScene) -> list[dict]:
    """Write the pristine panorama and its versions, leaving alone what is there; return their rows of des.csv."""
    pixels = job.scene.load(job.plan.height)
    compare = comparison(job.scene, pixels, job.plan)
    flawless = compare.fsim(pixels)
    rng = np.random.default_rng([job.plan.seed, zlib.crc32(job.scene.name.encode())])
    rows = []
    for number, what in enumerate([Draw((), None), *_of_no_design(rng, round(seen_width(pixels.shape[1], compare.ppd)))]):
        kinds = "+".join(what.kinds) or "pristine"
        path = job.folder / "images" / f"{job.scene.name}_{kinds}_{number}.png"
        distorted = read_whole(path)
        if distorted is None:
            noise = zlib.crc32(f"{job.scene.name} {number}".encode())  # its own in every scene and version
            distorted = what.apply(pixels, np.random.default_rng([job.plan.seed, noise]))
            write_png(distorted, path)
        mos = mos_of_fsim(what.kinds, compare.fsim(distorted) if what.kinds else flawless, flawless)
        rows.append({"image_name": path.name, "MOS": f"{mos:.4f}", "distortion_type": kinds,
                     "level": 0 if not what.kinds else 1, "reference": job.scene.name, "location": job.scene.location,
                     "mos_source": SIMULATED, **seen_columns(pixels.shape[1], compare.ppd)})
    return rows


def _of_no_design(rng: np.random.Generator, width_px: int) -> list[Draw]:
    """Draw VERSIONS distortions that no design has."""
    found: list[Draw] = []
    while len(found) < VERSIONS:
        what = draw(rng, width_px)
        if not what.in_a_design:
            found.append(what)
    return found
