"""Make a database of the design of OIQA or CVIQ from pristine panoramas, with simulated labels.

Layout below datasets/<DS>/: references/<scene>.png, images/<scene>_<type>_<level>.*, label_scores/<scene>.json (the
width of the scene and the label metric of each image), simulation.json (every setting), des.csv (last, so its presence
means complete).
"""

from __future__ import annotations

import json
import math
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from mmifn import __version__
from mmifn.core.errors import UserError, listed
from mmifn.core.files import atomic_path, holds_nothing, write_text
from mmifn.core.json_text import parse_json
from mmifn.core.progress import Progress
from mmifn.core.workers import run_tasks, usable_cores
from mmifn.data.images import MIN_HEIGHT_PX, read_image, write_png
from mmifn.data.manifest import SIMULATED, write_manifest
from mmifn.data.workspace import Workspace
from mmifn.simulate.comparison import LABEL_METRIC, SceneComparison
from mmifn.simulate.curves import RULE, ceiling
from mmifn.simulate.designs import DESIGNS, Distortion, image_name
from mmifn.simulate.labels import design_mos
from mmifn.simulate.panoramas import Scene, check_scenes, choose_scenes, find_scenes
from mmifn.simulate.settings import Simulation

MIN_PPD, MAX_PPD = 0.2, 60.0  # 60 is about what a good eye resolves
_WORTH_A_POOL = 3e7  # pixels of work below which starting processes costs more than it saves


@dataclass(frozen=True)
class _SceneImages:
    """All images of one scene."""

    scene: Scene
    levels: tuple[int, ...]
    plan: Simulation
    folder: Path


def simulate(plan: Simulation, space: Workspace) -> pd.DataFrame:
    """Make or complete the database and return the table that is written to des.csv.

    Finished images are not made again; the result does not depend on the number of workers nor on interruptions.
    Raises UserError where the folder holds a real database or one of other settings, or the panoramas do not do.
    """
    check_numbers(plan)
    levels = _check_levels(plan)
    chosen = choose_scenes(find_scenes(plan.panoramas), plan.scenes, plan.seed, plan.exclude, plan.only)
    check_scenes(chosen, plan.height, plan.max_megapixels)
    folder = space.dataset_dir(plan.dataset)
    claim_folder(folder, plan, _record(plan, chosen, levels))
    jobs = [_SceneImages(scene, levels, plan, folder) for scene in chosen]
    table = _label(plan, chosen, levels, dict(_run(jobs)))
    write_manifest(table, space.manifest(plan.dataset))
    return table


def check_numbers(plan: Simulation) -> None:
    """Refuse, all in one message, numbers that no simulation can have."""
    wrong = []
    if plan.seed < 0:
        wrong.append(f"--seed {plan.seed}: wanted 0 or more")
    if plan.height is not None and (plan.height < MIN_HEIGHT_PX or plan.height % 2):
        wrong.append(f"--height {plan.height}: wanted an even number of rows, {MIN_HEIGHT_PX} or more")
    if plan.ppd is not None and not MIN_PPD <= plan.ppd <= MAX_PPD:
        wrong.append(f"--pixels-per-degree {plan.ppd:g}: wanted {MIN_PPD:g} to {MAX_PPD:g}")
    if plan.workers < 0:
        wrong.append(f"--workers {plan.workers}: wanted 1 or more, or 0 for one per core")
    if wrong:
        raise UserError("\n".join(wrong))


def _check_levels(plan: Simulation) -> tuple[int, ...]:
    count = len(DESIGNS[plan.like][0].values)
    levels = tuple(sorted(set(plan.levels))) or tuple(range(1, count + 1))
    if levels[0] < 1 or levels[-1] > count:
        raise UserError(f"--levels {','.join(map(str, plan.levels))}: {plan.like} has levels 1 (mildest) to {count}")
    return levels


def _record(plan: Simulation, chosen: list[Scene], levels: tuple[int, ...]) -> dict:
    """Collect every setting that changes pixels or labels, and what made them."""
    return {"like": plan.like, "seed": plan.seed, "height": plan.height, "levels": list(levels),
            "ppd": plan.ppd, "label_metric": LABEL_METRIC, "label_rule": RULE,
            "scenes": {scene.name: [scene.location, scene.digest()] for scene in chosen},
            "parameters": {kind.type: {kind.parameter: list(kind.values)} for kind in DESIGNS[plan.like]},
            "made_with": {"mmifn": __version__} | {name: version(name) for name in ("av", "pillow", "numpy", "piq")}}


def claim_folder(folder: Path, plan: Simulation, record: dict) -> None:
    """Make the folder ours: new, or of the very same settings, or cleared with --overwrite (or if no image is there)."""
    path = folder / "simulation.json"
    if path.is_file():
        before = _read_json(path)
        if before is None and not plan.overwrite:
            raise UserError(f"{path} is damaged, so nothing tells how the images beside it were made.\n"
                            "Use --overwrite to make them anew, or another --dataset name.")
        before = before or {}
        finished = (folder / "des.csv").is_file()  # then other library versions have nothing left to make
        changed = [f"{key}: there {_short(before.get(key))}, now {_short(record[key])}" for key in record
                   if before.get(key) != json.loads(json.dumps(record[key])) and not (finished and key == "made_with")]
        if not changed:
            return
        if not plan.overwrite and not holds_nothing(folder / "images"):
            raise UserError(f"{folder} was simulated with other settings:\n{listed(changed)}\n"
                            "Use another --dataset name, or --overwrite to make it anew.")
        for name in ("images", "references", "label_scores", "viewports"):
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / "des.csv").unlink(missing_ok=True)
    elif not holds_nothing(folder):
        raise UserError(f"{folder} holds files that no simulation made (no simulation.json); it may be a real database."
                        "\nUse another --dataset name or another --root.")
    write_text(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _read_json(path: Path) -> dict | None:
    """Return what a JSON file holds, or None where it is damaged."""
    try:
        content = parse_json(path.read_bytes())
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 90 else text[:87] + "…"


def _run(jobs: list[_SceneImages]) -> Iterator[tuple[str, dict]]:
    """Yield (scene, what _make_scene returns) as scenes are finished, in parallel processes."""
    plan, levels = jobs[0].plan, jobs[0].levels
    kinds = DESIGNS[plan.like]
    pixels = len(jobs) * len(kinds) * len(levels) * 2 * (plan.height or 1024) ** 2
    workers = min(plan.workers or (usable_cores() if pixels > _WORTH_A_POOL else 1), len(jobs))
    with Progress(total=len(jobs) * len(kinds) * len(levels), unit="image", desc="simulate") as bar:
        for i, made in run_tasks(_make_scene, jobs, workers, preload=__name__):
            yield jobs[i].scene.name, made
            bar.update(len(kinds) * len(levels))


def _make_scene(job: _SceneImages) -> dict:
    """Write the reference, the images and the label scores of one scene, leaving alone what is there.

    Returns what label_scores/<scene>.json holds: {"width": in pixels, "fsim": {image name: label metric}}.
    """
    wanted = [(kind, level) for kind in DESIGNS[job.plan.like] for level in job.levels]
    names = [image_name(job.scene.name, kind, level) for kind, level in wanted]
    score_path = job.folder / "label_scores" / f"{job.scene.name}.json"
    reference_path = job.folder / "references" / f"{job.scene.name}.png"
    if all(path.is_file() for path in [score_path, reference_path, *(job.folder / "images" / name for name in names)]):
        kept = _read_json(score_path)
        if kept is not None and _whole(kept, names):
            return kept
    pixels = job.scene.load(job.plan.height)
    if read_whole(reference_path) is None:
        write_png(pixels, reference_path)
    compare = comparison(job.scene, pixels, job.plan)
    fsim = {name: compare.fsim(_make_image(job, kind, level, pixels, job.folder / "images" / name))
            for (kind, level), name in zip(wanted, names, strict=True)}
    scores = {"width": pixels.shape[1], "fsim": fsim}
    write_text(score_path, json.dumps(scores, indent=1) + "\n")
    return scores


def _whole(scores: dict, names: list[str]) -> bool:
    """Tell whether what was kept of a scene's labels holds them for all of these images."""
    fsim = scores.get("fsim")
    return type(scores.get("width")) is int and isinstance(fsim, dict) and all(
        isinstance(fsim.get(name), int | float) and not isinstance(fsim[name], bool) for name in names)


def comparison(scene: Scene, pixels: np.ndarray, plan: Simulation) -> SceneComparison:
    """Return what compares versions of a scene, `pixels` at the database's size, with the scene at its best."""
    best = pixels if scene.path is None or plan.height is None else scene.load()
    return SceneComparison(best, plan.shown_at(pixels.shape[1]))


def _make_image(job: _SceneImages, kind: Distortion, level: int, pixels: np.ndarray, path: Path) -> np.ndarray:
    """Return the pixels of one distorted image, making its file unless it is there and whole."""
    kept = read_whole(path)
    if kept is not None:
        return kept
    # A generator of its own for every image: the order of work and the choice of levels change nothing.
    key = zlib.crc32(f"{job.scene.name} {kind.type} {level}".encode())
    distorted = kind.apply(pixels, kind.values[level - 1], np.random.default_rng([job.plan.seed, key]))
    if distorted.data is None:
        write_png(distorted.pixels, path)
    else:
        with atomic_path(path) as temporary:
            temporary.write_bytes(distorted.data)
    return distorted.pixels


def read_whole(path: Path) -> np.ndarray | None:
    """Return the pixels of an image that is there and whole, or None; one damaged after it was written is removed."""
    if not path.is_file():
        return None
    try:
        return read_image(path, max_megapixels=math.inf)  # as large as its panorama, which was checked
    except UserError:
        path.unlink()
        return None


def _label(plan: Simulation, chosen: list[Scene], levels: tuple[int, ...], made: dict[str, dict]) -> pd.DataFrame:
    """Return des.csv: one row per image, ordered by scene, type and level."""
    widths = [made[scene.name]["width"] for scene in chosen]
    shown = [plan.shown_at(width) for width in widths]
    rows = []
    for order, kind in enumerate(DESIGNS[plan.like]):
        fsim = np.array([[made[scene.name]["fsim"][image_name(scene.name, kind, level)] for level in levels]
                         for scene in chosen])
        mos = design_mos(plan.like, kind, fsim, levels, widths, shown)
        for i, scene in enumerate(chosen):
            for j, level in enumerate(levels):
                rows.append((i, order, {"image_name": image_name(scene.name, kind, level), "MOS": f"{mos[i, j]:.4f}",
                                        "distortion_type": kind.type, "level": level, "reference": scene.name,
                                        "location": scene.location, "mos_source": SIMULATED,
                                        **seen_columns(widths[i], shown[i])}))
    return pd.DataFrame([row for _, _, row in sorted(rows, key=lambda row: (row[0], row[1], row[2]["level"]))])


def seen_columns(width_px: int, ppd: float) -> dict[str, str | int]:
    """Return the columns of des.csv that say at what size a label holds, and the best that size can get."""
    return {"width": width_px, "ppd": f"{ppd:.4g}", "label_rule": RULE, "ceiling": f"{ceiling(width_px, ppd):.2f}"}
