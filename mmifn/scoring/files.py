"""Score many files, each as it comes: survive bad images, killed workers and short memory.

What computes is imported by the process that scores: the one that hands out the work to others stays small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from mmifn.core.defaults import AUTO, EVERY_S, HEADSET_PPD, MAX_MEGAPIXELS
from mmifn.core.errors import UserError, fault_of_image, out_of_memory
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

T = TypeVar("T")
_COMPUTES = "mmifn.scoring.panorama"
_TOGETHER_BYTES = 8 * 4096 * 2048 * 3  # of decoded panoramas in one pass, after which no more are read for it


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
    return _guarded(job, _score_job)


def score_batch(jobs: list[ImageJob]) -> list[ImageResult]:
    """Score images in one pass of each network, or in more where they are large; each has a result as of `score_job`.

    Jobs have one task and no rows of earlier runs. Where a pass fails for want of memory, or by one of its images, those of
    the pass are scored one by one. Values differ from those of one image alone as far as the networks' sums depend on the
    batch.
    """
    results: dict[int, ImageResult] = {}
    waiting: dict[int, _Read] = {}
    for i, job in enumerate(jobs):
        found = _guarded(job, _read)
        if isinstance(found, ImageResult):
            results[i] = found
        else:
            waiting[i] = found
        if i + 1 == len(jobs) or sum(read.sphere.erp.size for read in waiting.values()) >= _TOGETHER_BYTES:
            results.update(zip(waiting, _score_together([*waiting.values()]), strict=True))
            waiting = {}
    return [results[i] for i in range(len(jobs))]


def _score_together(read: list[_Read]) -> list[ImageResult]:
    predictions = _in_one_pass(read) if len(read) > 1 else [None] * len(read)
    return [_guarded(one.job, partial(_result, one, said)) for one, said in zip(read, predictions, strict=True)]


def _in_one_pass(read: list[_Read]) -> list[Prediction] | list[None]:
    """Return what is said of images, or nothing of any where they cannot be scored in one pass."""
    try:
        predictor = read[0].job.task.predictor()
        return predictor.score_spheres([one.sphere for one in read], [str(one.job.path) for one in read])
    except Exception as error:
        if not isinstance(error, UserError) and not out_of_memory(error):
            raise
    return [None] * len(read)


def _guarded(job: ImageJob, step: Callable[[ImageJob], T]) -> T | ImageResult:
    """Return step(job), or a result with the error where the image is to blame, or memory is short."""
    try:
        return step(job)
    except Exception as error:
        if fault := fault_of_image(job.path, error):
            return failed(job, fault)
        raise


def failed(job: ImageJob, error: str) -> ImageResult:
    """Return the result of an image that cannot be scored."""
    return ImageResult(job, {"image": job.label, "error": printable(error, keep="\n")})


def killed(job: ImageJob) -> ImageResult:
    """Return what stands for an image whose process was killed twice."""
    return failed(job, f"{job.path}: the process that scored it was killed, twice (out of memory?); use fewer --workers")


@dataclass(frozen=True)
class _Read:
    """An image that is read: its sphere, hash and stamp of its file, and its full-reference scores where wanted."""

    job: ImageJob
    sphere: Sphere
    digest: str
    stamp: Stamp | None
    compared: dict[str, float | None]


def _score_job(job: ImageJob) -> ImageResult:
    """Score one image, or take its row; draw what is wanted."""
    if job.row is not None:
        return _drawn(job, job.row, Prediction.from_row(job.row), None)
    return _result(_read(job), None, job)


def _read(job: ImageJob) -> _Read:
    stamp, task = stamp_of(job.path), job.task
    digest = _digest(job.path, stamp) if job.path.is_file() else ""
    sphere = sphere_of(job)
    compared: dict[str, float | None] = _compare(sphere.erp, job.path, task.reference, task) if task.reference else {}
    return _Read(job, sphere, digest, stamp, compared)


def _result(read: _Read, prediction: Prediction | None, job: ImageJob) -> ImageResult:
    """Return the result of an image of which that is said, or nothing yet."""
    said = prediction or job.task.predictor().score_sphere(read.sphere, str(job.path))
    said = replace(said.rounded(), model=job.task.identity)  # which a reference is part of
    return _drawn(job, said.to_row(job.label, read.digest, read.compared, read.stamp), said, read.sphere)


def _drawn(job: ImageJob, row: dict[str, Any], prediction: Prediction, sphere: Sphere | None) -> ImageResult:
    """Return a result; draw the map where that is not of the same picture, model and drawing, and the panel where wanted."""
    task = job.task
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
