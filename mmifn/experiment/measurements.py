"""What baselines need from the pixels: full-reference metrics and handcrafted statistics of every image, kept on disk.

features/<DS>/full_reference.pt and statistics.pt hold one row per image, found again by the hashes of the files that it
was measured on; a killed run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from tqdm import tqdm

from mmifn.core.artefact import Artefact, Provenance, load, save
from mmifn.core.errors import ArtefactError
from mmifn.core.files import sha256_file, sha256_text
from mmifn.core.resumable import RowStore, hash_inputs
from mmifn.core.workers import run_tasks
from mmifn.data.images import read_image
from mmifn.data.manifest import SIMULATED, Manifest, image_paths
from mmifn.data.workspace import Workspace
from mmifn.describe.measured import statistics
from mmifn.fullref.database import reference_paths, score_scene
from mmifn.fullref.metrics import LABEL_METRIC

METRICS = ("ws_psnr", "ws_ssim", "vp_ms_ssim", "vp_gmsd", "vp_fsim")
_IMAGES_A_JOB = 8  # a job reads its reference once, and what it measured is kept when it ends


@dataclass(frozen=True)
class Measurements(Artefact):
    """Measured values (N, K) float64, column k named columns[k]; row i belongs to names[i]."""

    SCHEMA: ClassVar[str] = "measurements/1"  # bump when a metric or a statistic of the same image becomes another number
    STAGE: ClassVar[str] = "evaluate.py"
    values: Tensor
    columns: list[str]


def measure_full_reference(space: Workspace, manifest: Manifest, workers: int) -> Measurements:
    """Return full-reference metrics of every image; without the one that simulated labels rest on.

    Raises UserError where references or images are missing, unreadable or of unequal size.
    """
    names = [name for name in METRICS if manifest.mos_source != SIMULATED or name != LABEL_METRIC]
    references, folder = reference_paths(space, manifest), space.images_dir(manifest.dataset)
    own = hash_inputs(manifest.names, image_paths(manifest, folder))
    pristine = {scene: sha256_file(path) for scene, path in references.items()}
    scenes = dict(zip(manifest.names, manifest.references, strict=True))
    made_by = Provenance("full reference", "", {"metrics": names, "schema": Measurements.SCHEMA},
                         {name: sha256_text(own[name] + pristine[scenes[name]]) for name in manifest.names})

    def jobs(todo: list[str]) -> list[Any]:
        by_scene = [(path, [name for name in todo if scenes[name] == scene]) for scene, path in references.items()]
        return [(path, folder, part, tuple(names)) for path, mine in by_scene for part in _parts(mine)]

    return _collect(space, manifest, "full_reference", made_by, names, jobs, score_scene, workers)


def measure_statistics(space: Workspace, manifest: Manifest, workers: int) -> Measurements:
    """Return the handcrafted statistics (`describe.statistics.NAMES`) of every image.

    Raises UserError where images are missing, unreadable or too small.
    """
    folder = space.images_dir(manifest.dataset)
    made_by = Provenance("describe.statistics", "", {"schema": Measurements.SCHEMA},
                         hash_inputs(manifest.names, image_paths(manifest, folder)))

    def jobs(todo: list[str]) -> list[Any]:
        return [(folder, part) for part in _parts(todo)]

    return _collect(space, manifest, "statistics", made_by, list(statistics.NAMES), jobs, _measure_files, workers)


def _measure_files(job: tuple[Path, list[str]]) -> dict[str, dict[str, float]]:
    folder, names = job
    return {name: statistics.measure(read_image(folder / name)).values for name in names}


def _parts(names: list[str]) -> list[list[str]]:
    return [names[i:i + _IMAGES_A_JOB] for i in range(0, len(names), _IMAGES_A_JOB)]


def _collect(space: Workspace, manifest: Manifest, kind: str, made_by: Provenance, columns: list[str],
             jobs: Callable[[list[str]], list[Any]], function: Callable[[Any], dict[str, dict[str, float]]],
             workers: int) -> Measurements:
    """Measure what is not known yet, with progress, keeping every finished job, and write the whole."""
    cache = space.features(manifest.dataset, kind)
    store, known = RowStore(cache, made_by), _earlier(cache, made_by)
    rows: dict[str, Tensor] = {}
    for name, key in made_by.inputs.items():
        kept = known.get(key)
        if kept is None and (row := store.get(key)) is not None:
            kept = row["values"]
        if kept is not None:
            rows[name] = kept
    todo = [name for name in manifest.names if name not in rows]
    with tqdm(total=len(manifest), initial=len(rows), desc=f"{kind.replace('_', ' ')} {manifest.dataset}",
              unit="image") as progress:
        for _, found in run_tasks(function, jobs(todo), workers, preload=__name__):
            for name, values in found.items():
                rows[name] = torch.tensor([values[column] for column in columns], dtype=torch.float64)
                store.put(made_by.inputs[name], {"values": rows[name]})
            progress.update(len(found))
    values = torch.stack([rows[name] for name in manifest.names])
    result = Measurements(manifest.dataset, manifest.names, made_by, values, columns)
    save(result, cache)
    store.clear()
    return result


def _earlier(cache: Path, made_by: Provenance) -> dict[str, Tensor]:
    """Return the rows of an earlier cache of the same method, by the hash of what they were measured on."""
    try:
        old = load(cache, Measurements)
    except ArtefactError:
        return {}
    if old.made_by.method_digest() != made_by.method_digest():
        return {}
    return {old.made_by.inputs[name]: row for name, row in zip(old.names, old.values, strict=True)}
