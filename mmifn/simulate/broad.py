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
from mmifn.fullref.metrics import LABEL_METRIC, measure
from mmifn.simulate.database import Simulation, check_numbers, claim_folder, read_whole
from mmifn.simulate.draws import Draw, draw
from mmifn.simulate.human_anchor import HUMAN_MOS, HUMAN_PRISTINE
from mmifn.simulate.panoramas import Scene, check_scenes, choose_scenes, find_scenes

LIKE = "BROAD"
VERSIONS = 6  # of each scene, beside the pristine one

# Mean of the label metric over 16 photographed scenes at each level of the designs (docs/databases.md, "Broad").
LEVEL_METRIC: dict[tuple[str, str], tuple[float, ...]] = {
    ("OIQA", "JP2K"): (.9766, .9383, .8868, .8294, .7263),
    ("OIQA", "GN"): (.9839, .9718, .9322, .9051, .8520),
    ("OIQA", "GB"): (.9605, .9106, .8395, .7880, .7098),
    ("CVIQ", "JPEG"): (.9902, .9888, .9867, .9844, .9809, .9758, .9680, .9545, .9262, .8426, .7378),
    ("CVIQ", "AVC"): (.9804, .9721, .9622, .9484, .9304, .9109, .8878, .8600, .8349, .8060, .7800),
    ("CVIQ", "HEVC"): (.9831, .9766, .9680, .9575, .9431, .9264, .9052, .8798, .8525, .8220, .7892),
}
PRISTINE_MOS = float(np.mean([mean for mean, _ in HUMAN_PRISTINE.values()]))


def label(kinds: tuple[str, ...], metric: float) -> float:
    """Return a simulated score, 0..100, for distortions whose label metric is `metric`.

    For each kind that people judged: the human mean at levels of that metric, interpolated between the levels and up to
    the pristine panorama; for the others the mean of all those curves. Several kinds: the mean of theirs. Nobody
    judged pairs or the other kinds: these labels are a convention.
    """
    curves = {kind: _on_curve(like, kind, metric) for like, kind in LEVEL_METRIC}
    everybody = float(np.mean(list(curves.values())))
    return float(np.mean([curves.get(kind, everybody) for kind in kinds])) if kinds else PRISTINE_MOS


def _on_curve(like: str, kind: str, metric: float) -> float:
    metrics = [1.0, *LEVEL_METRIC[like, kind]]
    scores = [PRISTINE_MOS, *(mean for mean, _ in HUMAN_MOS[like, kind])]
    return float(np.interp(metric, metrics[::-1], scores[::-1]))


@dataclass(frozen=True)
class _Job:
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
                                "label_metric": LABEL_METRIC,
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
    rng = np.random.default_rng([job.plan.seed, zlib.crc32(job.scene.name.encode())])
    rows = []
    for number, what in enumerate([Draw((), None), *_unlabelled(rng)]):
        kinds = "+".join(what.kinds) or "pristine"
        path = job.folder / "images" / f"{job.scene.name}_{kinds}_{number}.png"
        distorted = read_whole(path)
        if distorted is None:
            distorted = what.apply(pixels, np.random.default_rng([job.plan.seed, number]))
            write_png(distorted, path)
        metric = measure(pixels, distorted, (LABEL_METRIC,))[LABEL_METRIC] if what.kinds else 1.0
        rows.append({"image_name": path.name, "MOS": f"{label(what.kinds, metric):.4f}", "distortion_type": kinds,
                     "level": 0 if not what.kinds else 1, "reference": job.scene.name, "location": job.scene.location,
                     "mos_source": SIMULATED})
    return rows


def _unlabelled(rng: np.random.Generator) -> list[Draw]:
    """Draw VERSIONS distortions that no design has."""
    found: list[Draw] = []
    while len(found) < VERSIONS:
        what = draw(rng)
        if what.mos is None:
            found.append(what)
    return found
