"""Score many files: find them, keep each result as it comes, go on after a stop, survive bad images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mmifn.core.errors import UserError, out_of_memory
from mmifn.core.files import sha256_file, sha256_json
from mmifn.core.text import printable
from mmifn.core.workers import run_tasks
from mmifn.data.images import EXTENSIONS, MAX_MEGAPIXELS, png_made_from, read_image, write_png
from mmifn.scoring.panorama import Predictor, open_predictor
from mmifn.scoring.prediction import Prediction
from mmifn.scoring.quality_map import WORST_PX, draw_map, view_pictures
from mmifn.scoring.viewer import Panel, make_panel
from mmifn.sphere import HEADSET_PPD


@dataclass(frozen=True)
class Task:
    """What is wanted of every image.

    page_width: width of the panorama in the HTML page, 0 for no page; reference: a pristine panorama to compare with;
    headset_ppd: pixels per degree of the headset to score for.
    """

    preset: str = "offline"
    checkpoint: Path | None = None
    device: str = "auto"
    map_dir: Path | None = None
    page_width: int = 0
    reference: Path | None = None
    max_megapixels: float = MAX_MEGAPIXELS
    headset_ppd: float = HEADSET_PPD

    def predictor(self) -> Predictor:
        return open_predictor(self.preset, self.checkpoint, self.device, self.headset_ppd)

    @property
    def identity(self) -> str:
        """Identify all but the image that a row depends on."""
        model = self.predictor().identity
        return sha256_json([model, sha256_file(self.reference)])[:16] if self.reference else model


@dataclass(frozen=True)
class ImageJob:
    """One image: its file, its name in what is written, and the row that an earlier run left for it."""

    path: Path
    label: str
    task: Task
    row: dict[str, Any] | None = None


@dataclass(frozen=True)
class ImageResult:
    """What came of a job: a row and, where wanted, a panel of the page; or the error."""

    job: ImageJob
    row: dict[str, Any]
    prediction: Prediction | None = None
    panel: Panel | None = None

    @property
    def error(self) -> str:
        return self.row.get("error", "")


def find_images(places: list[Path]) -> dict[str, Path]:
    """Return label -> file of every image named, or found below the folders named; labels are unique.

    Hidden files are passed over, and folders named as images are: what --map draws of holiday/a.jpg is in a.jpg/.
    """
    images: list[Path] = []
    for place in places:
        if place.is_dir():
            inside = sorted(path for path in place.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file()
                            and not _passed_over(path.relative_to(place)))
            if not inside:
                raise UserError(f"{place} holds no images ({', '.join(EXTENSIONS)})")
            images += inside
        elif place.exists():
            images.append(place)
        else:
            raise UserError(f"{place} does not exist; give images, or folders that hold some")
    absolute = {Path(os.path.abspath(path)): path for path in images}
    parent = os.path.commonpath([path.parent for path in absolute])
    return {printable(path.relative_to(parent).as_posix()): shown for path, shown in absolute.items()}


def _passed_over(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts) or any(
        folder.suffix.lower() in EXTENSIONS for folder in path.parents)


def score_jobs(jobs: list[ImageJob], workers: int) -> Iterator[ImageResult]:
    """Yield the result of every job as each is ready."""
    for _, result in run_tasks(score_job, jobs, workers, preload="mmifn.scoring.files", killed=_killed):
        yield result


def score_job(job: ImageJob) -> ImageResult:
    """Score one image and draw what is wanted of it; a bad image, or one too large for memory, gives a result with an error."""
    try:
        return _score_job(job)
    except UserError as error:
        return _failed(job, str(error))
    except PermissionError as error:
        if error.filename is None or Path(error.filename) != job.path:
            raise  # not the image is to blame, but where results go
        return _failed(job, f"{job.path} may not be read; give yourself the permission")
    except Exception as error:
        if not out_of_memory(error):
            raise
        return _failed(job, f"{job.path} does not fit into memory; use fewer --workers, or refuse such images with a lower "
                       "--max-megapixels")


def _failed(job: ImageJob, error: str) -> ImageResult:
    return ImageResult(job, {"image": job.label, "error": printable(error, keep="\n")})


def _killed(job: ImageJob) -> ImageResult:
    return _failed(job, f"{job.path}: the process that scored it was killed, twice (out of memory?); use fewer --workers")


def _score_job(job: ImageJob) -> ImageResult:
    """Score one image, or take its row; draw its map where that is not of the same picture, model and drawing."""
    task, digest = job.task, sha256_file(job.path) if job.path.is_file() else ""
    identity = task.identity
    erp = None
    if job.row is None:
        erp = read_image(job.path, max_megapixels=task.max_megapixels)
        compared = _compare(erp, job.path, task) if task.reference else {}
        scored = task.predictor().score_pixels(erp, str(job.path))
        prediction = replace(scored.rounded(), model=identity)  # which a reference is part of
        row = prediction.to_row(job.label, digest, compared)
    else:
        row, prediction = job.row, Prediction.from_row(job.row)
    made_from = sha256_json([digest, identity, "map/1"])
    stale = task.map_dir is not None and png_made_from(task.map_dir / job.label / "map.png") != made_from
    if stale or task.page_width:
        erp = read_image(job.path, max_megapixels=task.max_megapixels) if erp is None else erp
        if stale:
            _draw(erp, prediction, task.map_dir / job.label, made_from, job.label)
    return ImageResult(job, row, prediction, make_panel(erp, prediction, job.label, task.page_width) if task.page_width else None)


def _draw(erp: np.ndarray, prediction: Prediction, folder: Path, made_from: str, label: str) -> None:
    """Write worst_1.png … and map.png (last: it tells that all are there)."""
    for rank, picture in enumerate(view_pictures(erp, prediction, prediction.worst(), WORST_PX), start=1):
        write_png(picture, folder / f"worst_{rank}.png")
    write_png(draw_map(erp, prediction, label), folder / "map.png", made_from)


@lru_cache(maxsize=1)
def _reference(path: Path, max_megapixels: float) -> np.ndarray:
    return read_image(path, max_megapixels=max_megapixels)


def _compare(erp: np.ndarray, path: Path, task: Task) -> dict[str, float]:
    """Return the full-reference scores of a panorama beside its pristine original; infinite PSNRs as None."""
    from mmifn.fullref.metrics import measure

    pristine = _reference(task.reference, task.max_megapixels)
    if pristine.shape != erp.shape:
        raise UserError(f"{path} is {erp.shape[1]}x{erp.shape[0]}, its reference {task.reference} is "
                        f"{pristine.shape[1]}x{pristine.shape[0]}; full-reference scores need one size")
    return {name: value if np.isfinite(value) else None for name, value in measure(pristine, erp).items()}
