"""Descriptions from measurements: no weights, no network, deterministic; labels and names are never read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

import numpy as np

from mmifn.core.errors import UserError
from mmifn.core.workers import one_thread, run_tasks
from mmifn.data.images import MAX_MEGAPIXELS, read_image
from mmifn.describe.generation import Answer, Identity, Item, identity_of
from mmifn.describe.measured.calibration import MAX_SEVERITY, Verdict, judge, revision, severity_of_points
from mmifn.describe.measured.camera import light_scored_lower
from mmifn.describe.measured.local import findings, lost_texture, scored_lower, worst_score
from mmifn.describe.measured.statistics import Statistics, measure
from mmifn.describe.measured.wording import (
    NOTICEABLE,
    WORDING,
    put_into_words,
    put_view_into_words,
    reader_in_words,
    views_for_reader,
)

MODEL = "mmifn.describe.measured"


@dataclass(frozen=True)
class Reading:
    """What a reader is told beside a score: of the whole panorama, and of each of the views looking to centres_deg (V, 2)."""

    told: str
    views: list[str]
    centres_deg: np.ndarray

    def of_view(self, lon_deg: float, lat_deg: float) -> str:
        """Return the words for the measured view that looks nearest to a direction."""
        return self.views[nearest(self.centres_deg, lon_deg, lat_deg)]


def nearest(centres_deg: np.ndarray, lon_deg: float, lat_deg: float) -> int:
    """Return the index of the one of the directions (V, 2) in degrees that is nearest to a direction."""
    lon, lat = np.radians(centres_deg).T
    here_lon, here_lat = np.radians(lon_deg), np.radians(lat_deg)
    return int(np.argmax(np.sin(lat) * np.sin(here_lat) + np.cos(lat) * np.cos(here_lat) * np.cos(lon - here_lon)))


@dataclass(frozen=True)
class Description:
    """A panorama in words.

    text: as in text/des.csv, which models are trained on, with a verdict at its end; verdict, measured: what it rests on;
    per_viewport: what was measured in each of the 20 views, with their lon_deg and lat_deg.
    """

    text: str
    verdict: Verdict
    measured: Statistics
    per_viewport: list[dict[str, float]]

    @property
    def dominant(self) -> str:
        """Return the kind that covers the whole: "none", "blur", "noise" or "compression"."""
        return self.verdict.dominant

    @property
    def statistics(self) -> dict[str, float]:
        """Return name -> value over the whole sphere."""
        return dict(self.measured.values)

    def reading(self, centres_deg: np.ndarray | None = None, scores: np.ndarray | None = None, flawless: bool = False,
                low: bool = False, lost: float | None = None) -> Reading:
        """Return what a reader is told, who has the score as the verdict.

        centres_deg, scores: of a model's views, (V, 2) and (V,) of 100; then a blurred or slightly distorted part of the sphere,
        or burnt-out light, is told only where the model scores it lower than the rest; flawless scenes hardly show much noise or
        compression. flawless: the score is as good as a flawless panorama's, and causes that are measured as slight are not
        told. low: it is so low that nothing is called clean, and what has no texture may be lost to blur. lost:
        points below a flawless panorama at the lower end of the score's interval; no cause is called stronger than they allow,
        in a part or a view as much more as the model scores it lower.
        """
        least, measured, verdict = NOTICEABLE if flawless else 0.0, self.measured, self.verdict
        most = np.full(len(measured.centres_deg), MAX_SEVERITY)
        may_be_lost = low and scores is not None and verdict.dominant != "noise"  # blur would have taken the noise away, too
        gone = lost_texture(measured.patches, centres_deg, scores) if may_be_lost else None
        parts = [part for part in findings(measured.patches, gone) if part.severity >= least]
        if scores is not None:
            parts = [part for part in parts if (part.kind != "blur" and part.severity >= NOTICEABLE)
                     or scored_lower(part.region, centres_deg, scores)]
            if not light_scored_lower(measured.burnt, centres_deg, scores):
                measured = replace(measured, burnt=np.zeros_like(measured.burnt))
            if lost is not None:
                beyond = lost + scores.mean()
                verdict = verdict.within(lost)
                parts = [part.within(beyond - worst_score(part.region, centres_deg, scores)) for part in parts]
                most = np.array([severity_of_points(beyond - scores[nearest(centres_deg, *centre)])
                                 for centre in measured.centres_deg.tolist()])
        parts.sort(key=lambda part: -part.severity)
        return Reading(reader_in_words(measured, verdict, parts, least, low),
                       views_for_reader(measured, verdict, parts, most.tolist(), least), measured.centres_deg)


def describe(erp: np.ndarray, threads: int = 1) -> Description:
    """Describe a panorama (H, W, 3) uint8 from its pixels alone, measuring by some threads at a time."""
    with one_thread():
        return describe_statistics(measure(erp, threads))


def describe_statistics(measured: Statistics) -> Description:
    """Describe a panorama that has been measured."""
    verdict = judge(measured.values)
    views = [{"lon_deg": float(lon), "lat_deg": float(lat), **view}
             for (lon, lat), view in zip(measured.centres_deg, measured.per_viewport, strict=True)]
    return Description(put_into_words(measured, verdict), verdict, measured, views)


def _describe_file(items: list[Item], max_megapixels: float) -> list[Answer]:
    """Describe one image file: the items are the whole image and, where wanted, its viewports."""
    try:
        measured = measure(read_image(items[0].path, max_megapixels=max_megapixels))
    except UserError as error:
        return [Answer(item, failure=str(error)) for item in items]
    verdict = judge(measured.values)
    return [Answer(item, put_view_into_words(measured, verdict, int(item.viewport)) if item.viewport
                   else put_into_words(measured, verdict)) for item in items]


@dataclass(frozen=True)
class MeasuredDescriber:
    """The source "measured"; `workers` processes share the images."""

    workers: int = 1
    max_megapixels: float = MAX_MEGAPIXELS

    @property
    def identity(self) -> Identity:
        return identity_of("measured", MODEL, f"{revision()}+{WORDING}", "")

    def describe(self, items: list[Item]) -> Iterator[Answer]:
        """Yield one Answer per item, image by image, as each is ready."""
        images = [list(group) for _, group in groupby(items, key=lambda item: item.path)]
        for _, answers in run_tasks(partial(_describe_file, max_megapixels=self.max_megapixels), images, self.workers):
            yield from answers
