"""Score a whole database by full-reference metrics, and measure how they agree with its opinion scores."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from mmifn.core.errors import UserError, listed
from mmifn.core.workers import run_tasks, usable_cores
from mmifn.data.images import EXTENSIONS, MAX_MEGAPIXELS, read_image, read_size
from mmifn.data.manifest import SIMULATED, Manifest
from mmifn.data.workspace import Workspace
from mmifn.fullref.metrics import LABEL_METRIC, METRICS, compare_views, measure
from mmifn.metrics import agreement

_LARGEST_DB = 100.0  # an undistorted copy has an infinite PSNR; tables and fits need a number


def reference_paths(space: Workspace, manifest: Manifest, max_megapixels: float = MAX_MEGAPIXELS) -> dict[str, Path]:
    """Return the pristine panorama of every scene of a database.

    Raises UserError where des.csv has no references, or files are missing, damaged, too large or differ in size from their
    images; all of a kind come in one message.
    """
    if manifest.references is None:
        raise UserError(f"{manifest.dataset}: des.csv has no `reference` column, so nothing tells which pristine image "
                        "belongs to which distorted one")
    folder = space.references_dir(manifest.dataset)
    found = {path.stem: path for path in sorted(folder.glob("*")) if path.suffix.lower() in EXTENSIONS}
    missing = sorted(set(manifest.references) - set(found))
    if missing:
        raise UserError(f"{folder} lacks {len(missing)} of {len(set(manifest.references))} pristine images:\n"
                        f"{listed(f'{scene}.png (or another ending)' for scene in missing)}")
    images = [space.images_dir(manifest.dataset) / name for name in manifest.names]
    sizes = _sizes([*images, *(found[scene] for scene in dict.fromkeys(manifest.references))], max_megapixels)
    unequal = []
    for path, scene in zip(images, manifest.references, strict=True):
        mine, its = sizes[path], sizes[found[scene]]
        if mine != its:
            unequal.append(f"{path.name} is {mine[0]}x{mine[1]}, {found[scene].name} is {its[0]}x{its[1]}")
    if unequal:
        raise UserError(f"{manifest.dataset}: {len(unequal)} images differ in size from their references:\n"
                        f"{listed(unequal)}")
    return {scene: found[scene] for scene in dict.fromkeys(manifest.references)}


def _sizes(paths: list[Path], max_megapixels: float) -> dict[Path, tuple[int, int]]:
    """Return (width, height) of every file, or refuse with all that cannot be read."""
    sizes, wrong = {}, []
    for path in paths:
        try:
            sizes[path] = read_size(path, max_megapixels=max_megapixels)
        except UserError as error:
            wrong.append(error)
    if wrong:
        raise UserError(f"{len(wrong)} of {len(paths)} images cannot be compared:\n{listed(wrong)}")
    return sizes


def score_database(space: Workspace, manifest: Manifest, names: tuple[str, ...] = tuple(METRICS), workers: int = 0,
                   max_megapixels: float = MAX_MEGAPIXELS) -> pd.DataFrame:
    """Return one row per image in the order of the manifest: image_name and one column per metric."""
    references = reference_paths(space, manifest, max_megapixels)
    folder = space.images_dir(manifest.dataset)
    images = list(zip(manifest.names, manifest.references, strict=True))
    jobs = [(path, folder, [name for name, of in images if of == scene], names) for scene, path in references.items()]
    workers = min(workers or usable_cores(), len(jobs))
    rows: dict[str, dict[str, float]] = {}
    with tqdm(total=len(manifest), unit="image", desc="full reference") as bar:
        for _, scores in run_tasks(score_scene, jobs, workers, preload=__name__):
            rows |= scores
            bar.update(len(scores))
    return pd.DataFrame([{"image_name": name, **rows[name]} for name in manifest.names])


def score_scene(job: tuple[Path, Path, list[str], tuple[str, ...]]) -> dict[str, dict[str, float]]:
    """Score the images of one scene: (reference file, images folder, image names, metrics)."""
    path, folder, images, names = job
    reference = read_image(path, max_megapixels=math.inf)  # sizes were checked by reference_paths
    views = compare_views(reference) if any(METRICS[name].on_views for name in names) else None
    scores = {image: measure(reference, read_image(folder / image, max_megapixels=math.inf), names, views) for image in images}
    return {name: {key: min(value, _LARGEST_DB) for key, value in row.items()} for name, row in scores.items()}


def agreement_table(manifest: Manifest, scores: pd.DataFrame) -> str:
    """Return PLCC, SRCC and RMSE of every metric, over all images and per distortion type, as lines of text."""
    types = np.array(manifest.types)
    groups = {"all": np.full(len(manifest), True)} | {kind: types == kind for kind in dict.fromkeys(manifest.types)}
    groups = {name: rows for name, rows in groups.items() if rows.sum() > 4}
    simulated = manifest.mos_source == SIMULATED
    lines = [f"{manifest.dataset}: {len(manifest)} images, {manifest.mos_source} MOS on {manifest.mos_scale}; PLCC and "
             "RMSE after a 4-parameter logistic fit",
             f"{'':<16}" + "".join(f"{name:>21}" for name in groups),
             f"{'metric':<16}" + "   PLCC   SRCC   RMSE" * len(groups)]
    for name in scores.columns.drop("image_name"):
        metric, sign = METRICS[name], 1 if METRICS[name].higher_is_better else -1
        values = sign * scores[name].to_numpy()
        found = [agreement(values[rows], manifest.mos[rows]) for rows in groups.values()]
        note = " *" if simulated and name == LABEL_METRIC else ""
        lines.append(f"{metric.title + note:<16}" + "".join(f"{f.plcc:>7.3f}{f.srcc:>7.3f}{f.rmse:>7.2f}" for f in found))
    if simulated:
        lines.append("simulated labels: no row says how a metric agrees with people")
    if simulated and LABEL_METRIC in scores:
        lines.append("* made the labels, so its row says nothing about it")
    return "\n".join(lines)
