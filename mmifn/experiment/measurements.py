"""What baselines need from the pixels: full-reference metrics and handcrafted statistics of every image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmifn.core.artefact import Provenance
from mmifn.core.resumable import hash_inputs
from mmifn.data.images import read_image
from mmifn.data.manifest import SIMULATED, Manifest, image_paths
from mmifn.data.measurements import Measurements, collect, parts
from mmifn.data.workspace import Workspace
from mmifn.describe.measured import statistics
from mmifn.fullref.database import measure_database
from mmifn.fullref.metrics import LABEL_METRIC

METRICS = ("ws_psnr", "ws_ssim", "vp_ms_ssim", "vp_gmsd", "vp_fsim")


def measure_full_reference(space: Workspace, manifest: Manifest, workers: int) -> Measurements:
    """Return full-reference metrics of every image; without the one that simulated labels rest on.

    Raises UserError where references or images are missing, unreadable or of unequal size.
    """
    names = tuple(name for name in METRICS if manifest.mos_source != SIMULATED or name != LABEL_METRIC)
    return measure_database(space, manifest, names, workers)


def measure_statistics(space: Workspace, manifest: Manifest, workers: int) -> Measurements:
    """Return the handcrafted statistics (`describe.statistics.NAMES`) of every image.

    Raises UserError where images are missing, unreadable or too small.
    """
    folder = space.images_dir(manifest.dataset)
    made_by = Provenance("describe.statistics", "", {"schema": Measurements.SCHEMA},
                         hash_inputs(manifest.names, image_paths(manifest, folder)))

    def jobs(todo: dict[str, tuple[str, ...]]) -> list[Any]:
        return [(folder, part) for part in parts(list(todo))]

    return collect(space.features(manifest.dataset, "statistics"), manifest.dataset, made_by, list(statistics.NAMES), jobs,
                   _measure_files, workers)


def _measure_files(job: tuple[Path, list[str]]) -> dict[str, dict[str, float]]:
    folder, names = job
    return {name: statistics.measure(read_image(folder / name)).values for name in names}
