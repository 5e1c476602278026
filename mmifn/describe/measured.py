"""Descriptions from measurements: no weights, no network, deterministic; labels and names are never read."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmifn.describe.calibration import REVISION, judge
from mmifn.describe.generation import Answer, Identity, Item, identity_of
from mmifn.describe.statistics import NAMES, Statistics, measure
from mmifn.describe.wording import put_into_words
from mmifn.errors import UserError
from mmifn.images import MAX_MEGAPIXELS, read_image

MODEL = "mmifn.describe.measured"


@dataclass(frozen=True)
class Description:
    """A panorama in words.

    text: the description; dominant: "none", "blur", "noise" or "compression"; statistics: name -> value over the whole
    sphere; per_viewport: what was measured in each of the 20 views, with their lon_deg and lat_deg.
    """

    text: str
    dominant: str
    statistics: dict[str, float]
    per_viewport: list[dict[str, float]]


def describe(erp: np.ndarray) -> Description:
    """Describe a panorama (H, W, 3) uint8 from its pixels alone."""
    return describe_statistics(measure(erp))


def describe_statistics(measured: Statistics) -> Description:
    """Describe a panorama that has been measured."""
    verdict = judge(measured.values)
    views = [{"lon_deg": float(lon), "lat_deg": float(lat), **view}
             for (lon, lat), view in zip(measured.centres_deg, measured.per_viewport, strict=True)]
    return Description(put_into_words(measured, verdict), verdict.dominant, dict(measured.values), views)


def statistics_vector(description: Description) -> np.ndarray:
    """Return the statistics in their fixed order (statistics.NAMES), (len(NAMES),) float64."""
    return np.array([description.statistics[name] for name in NAMES])


def _one_thread() -> None:
    """Keep a worker process to one core."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _describe_file(path: Path, max_megapixels: float) -> tuple[str, str]:
    """Return (text, "") for an image file, or ("", why not)."""
    try:
        return describe(read_image(path, max_megapixels=max_megapixels)).text, ""
    except UserError as error:
        return "", str(error)


@dataclass(frozen=True)
class MeasuredDescriber:
    """The source "measured"; `workers` processes share the images."""

    workers: int = 1
    max_megapixels: float = MAX_MEGAPIXELS

    @property
    def identity(self) -> Identity:
        return identity_of("measured", MODEL, REVISION, "")

    def describe(self, items: list[Item]) -> Iterator[Answer]:
        """Yield one Answer per item, as each is ready."""
        if self.workers <= 1 or len(items) == 1:
            for item in items:
                yield Answer(item, *_describe_file(item.path, self.max_megapixels))
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(self.workers, len(items)), context, _one_thread) as pool:
            waiting = {pool.submit(_describe_file, item.path, self.max_megapixels): item for item in items}
            for done in as_completed(waiting):
                yield Answer(waiting[done], *done.result())
