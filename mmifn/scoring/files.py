"""Score many files, each as it comes: survive bad images, killed workers and short memory.

What computes is imported by the process that scores: the one that hands out the work to others stays small.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmifn.core.defaults import AUTO, EVERY_S, HEADSET_PPD, MAX_MEGAPIXELS
from mmifn.core.errors import UserError, out_of_memory
from mmifn.core.files import Stamp, sha256_file, sha256_json, stamp_of
from mmifn.core.text import printable
from mmifn.core.workers import run_apart, run_tasks
from mmifn.data.images import png_made_from, read_image, write_png
from mmifn.scoring.pieces import Piece
from mmifn.scoring.prediction import Prediction

if TYPE_CHECKING:
    from mmifn.data.placement import Sphere
    from mmifn.scoring.panorama import Predictor
    from mmifn.scoring.viewer import Panel

_COMPUTES = "mmifn.scoring.panorama"


@dataclass(frozen=True)
class Task:
    """What is wanted of every image.

    page_width: width of the panorama in the HTML page, 0 for no page; reference: a pristine panorama to compare with;
    headset_ppd: pixels per degree of the headset to score for; projection: what the pictures are (data.projections);
    every_s: seconds between the moments of a clip.
    """

    preset: str = "offline"
    checkpoint: Path | None = None
    device: str = "auto"
    map_dir: Path | None = None
    page_width: int = 0
    reference: Path | None = None
    max_megapixels: float = MAX_MEGAPIXELS
    headset_ppd: float = HEADSET_PPD
    projection: str = AUTO
    every_s: float = EVERY_S

    def predictor(self) -> Predictor:
        from mmifn.scoring.panorama import open_predictor

        return open_predictor(self.preset, self.checkpoint, self.device, self.headset_ppd)

    @property
    def draws(self) -> bool:
        """Tell whether pictures are made, which takes the panorama itself."""
        return self.map_dir is not None or self.page_width > 0

    @property
    def identity(self) -> str:
        """Identify all but the image that a row depends on."""
        more = [sha256_file(self.reference)] if self.reference else []
        more += [self.projection] if self.projection != AUTO else []
        model = self.predictor().identity
        return sha256_json([model, *more])[:16] if more else model


@dataclass(frozen=True)
class ImageJob:
    """One image, or one piece of a file: where it lies, its name in what is written, and the row of an earlier run."""

    path: Path
    label: str
    task: Task
    row: dict[str, Any] | None = None
    piece: Piece = Piece()


@dataclass(frozen=True)
class ImageResult:
    """What came of a job: a row and, where wanted, a panel of the page; or the error."""

    job: ImageJob
    row: dict[str, Any]
    prediction: Prediction | None = None
    panel: Panel | None = None

    @property
    def error(self) -> str:
        return str(self.row.get("error", ""))


def score_jobs(jobs: Iterable[ImageJob], workers: int) -> Iterator[ImageResult]:
    """Yield the result of every job as each is ready; a few jobs are taken ahead."""
    for _, result in run_tasks(score_job, jobs, workers, preload=_COMPUTES, killed=killed):
        yield result


def identity_of(task: Task, workers: int) -> str:
    """Return a task's identity; with several workers it is found out by one of its own, so that this process stays small."""
    return task.identity if workers == 1 else run_apart(_identity, task, preload=_COMPUTES)


def _identity(task: Task) -> str:
    return task.identity


def score_job(job: ImageJob) -> ImageResult:
    """Score one image and draw what is wanted of it; a bad image, or one too large for memory, gives a result with an error."""
    try:
        return _score_job(job)
    except UserError as error:
        return failed(job, str(error))
    except PermissionError as error:
        if error.filename is None or Path(error.filename) != job.path:
            raise  # not the image is to blame, but where results go
        return failed(job, f"{job.path} may not be read; give yourself the permission")
    except Exception as error:
        if not out_of_memory(error):
            raise
        return failed(job, f"{job.path} does not fit into memory; use fewer --workers, or refuse such images with a lower "
                       "--max-megapixels")


def failed(job: ImageJob, error: str) -> ImageResult:
    """Return the result of an image that cannot be scored."""
    return ImageResult(job, {"image": job.label, "error": printable(error, keep="\n")})


def killed(job: ImageJob) -> ImageResult:
    """Return what stands for an image whose process was killed twice."""
    return failed(job, f"{job.path}: the process that scored it was killed, twice (out of memory?); use fewer --workers")


def _score_job(job: ImageJob) -> ImageResult:
    """Score one image, or take its row; draw its map where that is not of the same picture, model and drawing."""
    task, sphere = job.task, None
    if job.row is None:
        stamp = stamp_of(job.path)
        digest = _digest(job.path, stamp) if job.path.is_file() else ""
        sphere = sphere_of(job)
        compared: dict[str, float | None] = _compare(sphere.erp, job.path, task.reference, task) if task.reference else {}
        scored = task.predictor().score_sphere(sphere, str(job.path))
        prediction = replace(scored.rounded(), model=task.identity)  # which a reference is part of
        row = prediction.to_row(job.label, digest, compared, stamp)
    else:
        row, prediction = job.row, Prediction.from_row(job.row)
    made_from = sha256_json([row["image_sha256"], row["model"], "map/2"])
    folder = task.map_dir / job.label if task.map_dir else None
    stale = folder is not None and png_made_from(folder / "map.png") != made_from
    panel = None
    if stale or task.page_width:
        from mmifn.scoring.viewer import make_panel

        sphere = sphere_of(job) if sphere is None else sphere
        if folder and stale:
            _draw(sphere, prediction, folder, made_from, job.label)
        panel = make_panel(sphere, prediction, job.label, task.page_width) if task.page_width else None
    return ImageResult(job, row, prediction, panel)


@lru_cache(maxsize=4)
def _digest(path: Path, stamp: Stamp | None) -> str:
    """Return a file's SHA-256; the moments of a clip ask again and again, and a file of another stamp is another one."""
    return sha256_file(path)


def sphere_of(job: ImageJob) -> Sphere:
    """Return the sphere that a job is about."""
    from mmifn.data.placement import read_moment, read_spheres

    piece, name, limit = job.piece, str(job.path), job.task.max_megapixels
    if piece.moment_s is None:
        return read_spheres(job.path, name, projection=piece.projection, max_megapixels=limit)[piece.part]
    spheres = read_moment(job.path, f"{name} at {piece.moment_s:g} s", piece.moment_s, projection=piece.projection,
                          max_megapixels=limit)
    return spheres[piece.part]


def _draw(sphere: Sphere, prediction: Prediction, folder: Path, made_from: str, label: str) -> None:
    """Write worst_1.png … and map.png (last: it tells that all are there)."""
    from mmifn.scoring.quality_map import WORST_PX, draw_map, view_pictures

    for rank, picture in enumerate(view_pictures(sphere.shown, prediction, prediction.worst(), WORST_PX), start=1):
        write_png(picture, folder / f"worst_{rank}.png")
    write_png(draw_map(sphere.shown, prediction, label, sphere.covered), folder / "map.png", made_from)


@lru_cache(maxsize=1)
def _reference(path: Path, max_megapixels: float) -> np.ndarray:
    return read_image(path, max_megapixels=max_megapixels)


def _compare(erp: np.ndarray, path: Path, reference: Path, task: Task) -> dict[str, float | None]:
    """Return the full-reference scores of a panorama beside its pristine original; infinite PSNRs as None."""
    from mmifn.fullref.metrics import measure

    pristine = _reference(reference, task.max_megapixels)
    if pristine.shape != erp.shape:
        raise UserError(f"{path} is {erp.shape[1]}x{erp.shape[0]}, its reference {reference} is "
                        f"{pristine.shape[1]}x{pristine.shape[0]}; full-reference scores need one size")
    return {name: value if np.isfinite(value) else None for name, value in measure(pristine, erp).items()}
