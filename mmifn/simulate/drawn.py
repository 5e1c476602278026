"""What databases with drawn distortions share: their scenes, the claim of their folder, and one job a scene.

Benchmarks follow a design level by level (`database`); these databases draw what befalls every scene.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmifn.core.errors import UserError
from mmifn.core.progress import Progress
from mmifn.core.workers import run_tasks, usable_cores
from mmifn.data.images import write_png
from mmifn.data.manifest import write_manifest
from mmifn.data.workspace import Workspace
from mmifn.simulate.database import check_numbers, claim_folder, read_whole
from mmifn.simulate.panoramas import Scene, check_scenes, choose_scenes, find_scenes
from mmifn.simulate.settings import Simulation


@dataclass(frozen=True)
class DrawnScene:
    """One scene to be distorted, by which plan, and the folder of its database."""

    scene: Scene
    plan: Simulation
    folder: Path

    def image(self, name: str, make: Callable[[], np.ndarray]) -> tuple[Path, np.ndarray]:
        """Return path and pixels (H, W, 3) uint8 of an image of this scene; made and written where it is not there whole."""
        path = self.folder / "images" / f"{self.scene.name}_{name}.png"
        pixels = read_whole(path)
        if pixels is None:
            pixels = make()
            write_png(pixels, path)
        return path, pixels


def drawn_scenes(plan: Simulation, like: str) -> list[Scene]:
    """Check the plan and return its scenes. Raises UserError as simulate does, and for levels: strengths are drawn."""
    check_numbers(plan)
    if plan.levels:
        raise UserError(f"--levels {','.join(map(str, plan.levels))} has no meaning with --like {like}: its strengths are drawn")
    chosen = choose_scenes(find_scenes(plan.panoramas), plan.scenes, plan.seed, plan.exclude, plan.only)
    check_scenes(chosen, plan.height, plan.max_megapixels)
    return chosen


def make_drawn(plan: Simulation, space: Workspace, chosen: list[Scene], facts: dict[str, Any],
               make_scene: Callable[[DrawnScene], list[dict]]) -> pd.DataFrame:
    """Make or complete a database scene by scene, in worker processes; return the table that is written to des.csv.

    facts: what else its images and labels depend on, kept in simulation.json; make_scene: a function of its module, which
    workers can import, from a scene to its rows of des.csv.
    """
    folder = space.dataset_dir(plan.dataset)
    claim_folder(folder, plan, {"seed": plan.seed, "height": plan.height, "ppd": plan.ppd, **facts,
                                "scenes": {scene.name: [scene.location, scene.digest()] for scene in chosen}})
    jobs = [DrawnScene(scene, plan, folder) for scene in chosen]
    rows: dict[int, list[dict]] = {}
    with Progress(total=len(jobs), unit="scene", desc="simulate") as bar:
        for i, made in run_tasks(make_scene, jobs, plan.workers or usable_cores(), preload=make_scene.__module__):
            rows[i] = made
            bar.update()
    table = pd.DataFrame([row for i in range(len(jobs)) for row in rows[i]])
    write_manifest(table, space.manifest(plan.dataset))
    return table
