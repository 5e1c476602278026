"""Score many files: find them, keep each result as it comes, go on after a stop, survive bad images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mmifn.core.errors import UserError
from mmifn.core.files import sha256_file, sha256_json
from mmifn.core.workers import run_tasks
from mmifn.data.images import EXTENSIONS, MAX_MEGAPIXELS, png_made_from, read_image, write_png
from mmifn.scoring.panorama import Prediction, Predictor, View, open_predictor
from mmifn.scoring.quality_map import WORST_PX, draw_map, view_pictures
from mmifn.scoring.viewer import Panel, make_panel


@dataclass(frozen=True)
class Task:
    """What is wanted of every image.

    page_width: width of the panorama in the HTML page, 0 for no page; reference: a pristine panorama to compare with.
    """

    preset: str = "offline"
    checkpoint: Path | None = None
    device: str = "auto"
    map_dir: Path | None = None
    page_width: int = 0
    reference: Path | None = None
    max_megapixels: float = MAX_MEGAPIXELS

    def predictor(self) -> Predictor:
        return open_predictor(self.preset, self.checkpoint, self.device)

    @property
    def identity(self) -> str:
        """Identify all but the image that a row depends on."""
        model = self.predictor().identity
        return sha256_json([model, sha256_file(self.reference)])[:16] if self.reference else model


@dataclass(frozen=True)
class Job:
    """One image: its file, its name in what is written, and the row that an earlier run left for it."""

    path: Path
    label: str
    task: Task
    row: dict[str, Any] | None = None


@dataclass(frozen=True)
class Result:
    """What came of a job: a row and, where wanted, a panel of the page; or the error."""

    job: Job
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
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            inside = sorted(path for path in place.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file()
                            and not _passed_over(path.relative_to(place)))
            if not inside:
                raise UserError(f"{place} holds no images ({', '.join(EXTENSIONS)})")
            found += inside
        elif place.exists():
            found.append(place)
        else:
            raise UserError(f"{place} does not exist; give images, or folders that hold some")
    absolute = {Path(os.path.abspath(path)): path for path in found}
    parent = os.path.commonpath([path.parent for path in absolute])
    return {path.relative_to(parent).as_posix(): shown for path, shown in absolute.items()}


def _passed_over(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts) or any(
        folder.suffix.lower() in EXTENSIONS for folder in path.parents)


def as_row(label: str, digest: str, identity: str, prediction: Prediction, compared: dict[str, float]) -> dict[str, Any]:
    """Return a prediction as one flat row of plain values, rounded to 1e-4."""
    low, high = prediction.interval or (None, None)
    worst = prediction.viewports[prediction.worst(1)[0]]
    row = {"image": label, "score": prediction.score, "quality": prediction.quality, "low": low, "high": high,
           "level": prediction.level, "worst_lon_deg": worst.lon_deg, "worst_lat_deg": worst.lat_deg,
           "worst_score": worst.score, **compared, "description": prediction.description,
           "warnings": list(prediction.warnings), "fov_deg": prediction.fov_deg,
           "viewports": [[round(value, 4) for value in vars(view).values()] for view in prediction.viewports],
           "image_sha256": digest, "model": identity}
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}


def as_prediction(row: dict[str, Any], model: str) -> Prediction:
    """Return the prediction that a row was made from."""
    interval = None if row["low"] is None else (row["low"], row["high"])
    return Prediction(row["score"], row["quality"], interval, row["level"], tuple(View(*each) for each in row["viewports"]),
                      row["fov_deg"], row["description"], tuple(row["warnings"]), model)


def score_jobs(jobs: list[Job], workers: int) -> Iterator[Result]:
    """Yield the result of every job as each is ready."""
    for _, result in run_tasks(process, jobs, workers, preload="mmifn.scoring.files"):
        yield result


def process(job: Job) -> Result:
    """Score one image and draw what is wanted of it; a bad image gives a result with an error."""
    try:
        return _process(job)
    except UserError as error:
        return Result(job, {"image": job.label, "error": str(error)})
    except PermissionError as error:
        if error.filename is None or Path(error.filename) != job.path:
            raise  # not the image is to blame, but where results go
        return Result(job, {"image": job.label, "error": f"{job.path} may not be read; give yourself the permission"})


def _process(job: Job) -> Result:
    task, digest = job.task, sha256_file(job.path) if job.path.is_file() else ""
    identity = task.identity
    erp = None
    if job.row is None:
        erp = read_image(job.path, max_megapixels=task.max_megapixels)
        compared = _compare(erp, job.path, task) if task.reference else {}
        row = as_row(job.label, digest, identity, task.predictor().score_pixels(erp, str(job.path)), compared)
    else:
        row = job.row
    prediction = as_prediction(row, identity)
    made_from = sha256_json([digest, identity, "map/1"])
    stale = task.map_dir is not None and png_made_from(task.map_dir / job.label / "map.png") != made_from
    if stale or task.page_width:
        erp = read_image(job.path, max_megapixels=task.max_megapixels) if erp is None else erp
        if stale:
            _draw(erp, prediction, task.map_dir / job.label, made_from, job.label)
    return Result(job, row, prediction, make_panel(erp, prediction, job.label, task.page_width) if task.page_width else None)


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
