"""Score a whole database by full-reference metrics, and measure how they agree with its opinion scores."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mmifn.core.artefact import Provenance
from mmifn.core.defaults import MAX_MEGAPIXELS
from mmifn.core.errors import UserError, listed
from mmifn.core.files import sha256_file, sha256_text
from mmifn.core.resumable import hash_inputs
from mmifn.core.workers import affordable_workers
from mmifn.data.images import EXTENSIONS, read_image, read_size
from mmifn.data.manifest import SIMULATED, Manifest, image_paths
from mmifn.data.measurements import Measurements, collect, parts
from mmifn.data.workspace import Workspace
from mmifn.fullref.metrics import LABEL_METRIC, METRICS, VIEWS, compare_views, measure
from mmifn.metrics import agreement

# Peak memory of a process, from benchmarks/fullref.py for a pair of 13320x6660.
_BASE_BYTES, _BYTES_A_PIXEL = 600e6, 13
# From the same, one thread: of the 34 s that all eight metrics of that pair took, 2 were reading and 5.3 those of the whole ERP.
_SECONDS_A_MEGAPIXEL, _SECONDS_OF_VIEWS = 0.08, 27.0
_LARGE_MEGAPIXELS = 20
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
    pristine = {path.stem: path for path in sorted(folder.glob("*")) if path.suffix.lower() in EXTENSIONS}
    missing = sorted(set(manifest.references) - set(pristine))
    if missing:
        raise UserError(f"{folder} lacks {len(missing)} of {len(set(manifest.references))} pristine images:\n"
                        f"{listed(f'{scene}.png (or another ending)' for scene in missing)}")
    images = [space.images_dir(manifest.dataset) / name for name in manifest.names]
    sizes = _sizes([*images, *(pristine[scene] for scene in dict.fromkeys(manifest.references))], max_megapixels)
    unequal = []
    for path, scene in zip(images, manifest.references, strict=True):
        mine, its = sizes[path], sizes[pristine[scene]]
        if mine != its:
            unequal.append(f"{path.name} is {mine[0]}x{mine[1]}, {pristine[scene].name} is {its[0]}x{its[1]}")
    if unequal:
        raise UserError(f"{manifest.dataset}: {len(unequal)} images differ in size from their references:\n"
                        f"{listed(unequal)}")
    return {scene: pristine[scene] for scene in dict.fromkeys(manifest.references)}


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


def measure_database(space: Workspace, manifest: Manifest, names: tuple[str, ...] = tuple(METRICS), workers: int = 1,
                     max_megapixels: float = MAX_MEGAPIXELS) -> Measurements:
    """Return the named metrics of every image, measuring only what features/<DS>/full_reference.pt does not hold.

    Raises UserError where references or images are missing, unreadable or of unequal size.
    """
    references, folder = reference_paths(space, manifest, max_megapixels), space.images_dir(manifest.dataset)
    own = hash_inputs(manifest.names, image_paths(manifest, folder))
    pristine = {scene: sha256_file(path) for scene, path in references.items()}
    scenes = dict(zip(manifest.names, manifest.references or [], strict=True))
    workers = _bounded_workers(manifest, max(read_size(path, max_megapixels=math.inf) for path in references.values()), workers)
    made_by = Provenance("full reference", "", {"schema": Measurements.SCHEMA, "views": VIEWS},
                         {name: sha256_text(own[name] + pristine[scenes[name]]) for name in manifest.names})

    def jobs(todo: dict[str, tuple[str, ...]]) -> list[Any]:
        alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for name, metrics in todo.items():
            alike.setdefault((scenes[name], metrics), []).append(name)
        return [(references[scene], folder, part, metrics) for (scene, metrics), mine in alike.items() for part in parts(mine)]

    return collect(space.features(manifest.dataset, "full_reference"), manifest.dataset, made_by, list(names), jobs,
                   score_scene, workers)


def _bounded_workers(manifest: Manifest, size: tuple[int, int], wanted: int) -> int:
    """Limit the processes to what memory holds, and say what large panoramas will take before anything is begun."""
    megapixels = size[0] * size[1] / 1e6
    bytes_each = int(_BASE_BYTES + _BYTES_A_PIXEL * megapixels * 1e6)
    workers = affordable_workers(wanted, bytes_each)
    if megapixels > _LARGE_MEGAPIXELS or workers < wanted:
        print(f"full reference: {len(manifest)} images of up to {size[0]}x{size[1]}, up to {bytes_each / 1e9:.1f} GB in each of "
              f"{workers} processes" + (f" ({wanted} wanted; memory is free for {workers})" if workers < wanted else "")
              + f", about {len(manifest) * _seconds(megapixels) / workers / 60:.0f} minutes if nothing is known yet",
              file=sys.stderr)
    return workers


def _seconds(megapixels: float) -> float:
    """Estimate what all metrics of one image take on one core: whole-ERP metrics by its pixels, those of views up to 4096 px."""
    return _SECONDS_A_MEGAPIXEL * megapixels + _SECONDS_OF_VIEWS * min(1.0, megapixels / 8.4)


def score_scene(job: tuple[Path, Path, list[str], tuple[str, ...]]) -> dict[str, dict[str, float]]:
    """Score the images of one scene: (reference file, images folder, image names, metrics)."""
    path, folder, images, names = job
    reference = read_image(path, max_megapixels=math.inf)  # sizes were checked by reference_paths
    views = compare_views(reference) if any(METRICS[name].on_views for name in names) else None
    scores = {image: measure(reference, read_image(folder / image, max_megapixels=math.inf), names, views) for image in images}
    return {name: {key: min(value, _LARGEST_DB) for key, value in row.items()} for name, row in scores.items()}


def agreement_table(manifest: Manifest, scores: Measurements) -> str:
    """Return PLCC, SRCC and RMSE of every metric, over all images and per distortion type, as lines of text."""
    types = np.array(manifest.types)
    groups = {"all": np.full(len(manifest), True)} | {kind: types == kind for kind in dict.fromkeys(manifest.types)}
    groups = {name: rows for name, rows in groups.items() if rows.sum() > 4}
    simulated = manifest.mos_source == SIMULATED
    lines = [f"{manifest.dataset}: {len(manifest)} images, {manifest.mos_source} MOS on {manifest.mos_scale}; PLCC and "
             "RMSE after a 4-parameter logistic fit",
             f"{'':<16}" + "".join(f"{name:>21}" for name in groups),
             f"{'metric':<16}" + "   PLCC   SRCC   RMSE" * len(groups)]
    for name, column in zip(scores.columns, scores.values.numpy().T, strict=True):
        metric, values = METRICS[name], column if METRICS[name].higher_is_better else -column
        figures = [agreement(values[rows], manifest.mos[rows]) for rows in groups.values()]
        note = " *" if simulated and name == LABEL_METRIC else ""
        lines.append(f"{metric.title + note:<16}" + "".join(f"{f.plcc:>7.3f}{f.srcc:>7.3f}{f.rmse:>7.2f}" for f in figures))
    if simulated:
        lines.append("simulated labels: no row says how a metric agrees with people")
    if simulated and LABEL_METRIC in scores.columns:
        lines.append("* made the labels, so its row says nothing about it")
    return "\n".join(lines)
