"""The run behind predict.py: jobs, progress, results to screen and files, failures counted.

Its memory does not depend on how many images there are: images are listed, scored and written one after the other, and of
what earlier runs left only an index is kept.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmifn.core.device import resolve_device
from mmifn.core.progress import Progress
from mmifn.core.streams import json_line
from mmifn.core.workers import usable_cores
from mmifn.scoring.clips import Timelines
from mmifn.scoring.files import ImageJob, ImageResult, Task, identity_of, score_jobs
from mmifn.scoring.index import ImageFile
from mmifn.scoring.listing import Listing
from mmifn.scoring.parquet import ParquetResults
from mmifn.scoring.pieces import Piece, pieces_of
from mmifn.scoring.prediction import Prediction, columns
from mmifn.scoring.results import ResultFile
from mmifn.scoring.words import looking, score_line

if TYPE_CHECKING:
    from mmifn.scoring.viewer import Panel

SHOWN_AGAIN = 100  # results of an earlier run that are said again; with more of them the screen is for new ones


@dataclass(frozen=True)
class Outputs:
    """Where results go beside the screen; json "-" is the screen itself. verify: know images by their content alone."""

    json: str | None = None
    csv: Path | None = None
    html: Path | None = None
    parquet: Path | None = None
    verify: bool = False

    @property
    def to_program(self) -> bool:
        return self.json == "-"


def default_workers(device: str) -> int:
    """Return how many processes to take: each keeps two cores busy and holds its own networks; a GPU wants one."""
    on_gpu = device != "cpu" and resolve_device(device).type == "cuda"
    return 1 if on_gpu else max(1, usable_cores() // 2)


def _compared(task: Task) -> list[str]:
    """Return the names of the full-reference scores that rows have beside the others."""
    if not task.reference:
        return []
    from mmifn.fullref.metrics import METRICS  # brings networks for images along: seconds

    return list(METRICS)


def score_all(listing: Listing, task: Task, outputs: Outputs, workers: int) -> int:
    """Score every image and deliver the results as they come; return how many failed."""
    if listing.repeatable and len(list(islice(listing, 2))) < 2:
        workers = 1
    identity = identity_of(task, workers)
    with ExitStack() as stack:
        run = _Run(task, outputs)
        run.open_files(stack, identity, listing)
        run.survey(listing)
        run.bar = stack.enter_context(Progress(total=run.total, unit="image", desc="scoring", file=sys.stderr,
                                           smoothing=0.05, disable=run.total is not None and run.total < 2))
        for result in score_jobs(run.jobs(listing), workers):
            run.deliver(result)
        for file in run.files:
            file.finish()
    run.conclude()
    return run.failed


class _Run:
    """One run: its files, what it has found and what it has done so far."""

    def __init__(self, task: Task, outputs: Outputs) -> None:
        self.task, self.outputs = task, outputs
        self.files: list[ResultFile | ParquetResults] = []
        self.total: int | None = None
        self.count = self.kept = self.failed = 0
        self.bar: Progress
        self._lacking: dict[str, list[ResultFile | ParquetResults]] = {}  # of images that are being scored
        self._panels: dict[str, Panel | None] = {}
        self.timelines = Timelines()

    def open_files(self, stack: ExitStack, identity: str, listing: Listing) -> None:
        """Open the files of results for this run alone."""
        outputs, compared = self.outputs, _compared(self.task)

        def opened(file: Any) -> None:
            stack.callback(file.close)
            self.files.append(file)

        if outputs.json and not outputs.to_program:
            opened(ResultFile(Path(outputs.json), identity, verify=outputs.verify))
        if outputs.csv:
            opened(ResultFile(outputs.csv, identity, columns(compared), outputs.verify))
        if outputs.parquet:
            opened(ParquetResults(outputs.parquet, identity, compared, outputs.verify, listing.shard))

    def survey(self, listing: Listing) -> None:
        """Count the images, and drop rows that are no longer true, where that can be known beforehand."""
        if listing.repeatable:
            self.total = 0
            for label, image, _ in self._pieces(listing):
                self.total += 1
                for file in self.files:
                    file.find(label, image)
            for file in self.files:
                file.drop_stale()

    def jobs(self, listing: Listing) -> Iterator[ImageJob]:
        """Yield what is to be computed, and deliver what an earlier run has left."""
        for label, image, piece in self._pieces(listing):
            self.count += 1
            places = [(file, file.find(label, image)) for file in self.files]
            have = next(((file, place) for file, place in places if place is not None), None)
            lacking = [file for file, place in places if place is None]
            if have is None:
                job = ImageJob(image.path, label, self.task, piece=piece)
            else:
                self.kept += 1
                if not (lacking or self.task.draws or self.outputs.to_program or self.kept <= SHOWN_AGAIN
                        or piece.moment_s is not None):
                    self.bar.update()
                    continue
                job = ImageJob(image.path, label, self.task, have[0].row(have[1]), piece)
            self._lacking[label] = lacking
            if self.task.page_width:
                self._panels[label] = None  # so that the page has the order of the listing
            if job.row is None or self.task.draws:
                yield job
            else:
                self.deliver(ImageResult(job, job.row, Prediction.from_row(job.row)))

    def _pieces(self, listing: Listing) -> Iterator[tuple[str, ImageFile, Piece]]:
        """Yield (label, file, piece) of everything that has a score of its own."""
        for label, path in listing:
            image = ImageFile(path)
            for name, piece in pieces_of(label, path, self.task.projection, self.task.every_s):
                yield name, image, piece

    def deliver(self, result: ImageResult) -> None:
        """Write and show one result."""
        for file in self._lacking.pop(result.job.label):
            file.add(result.row)
        self.failed += bool(result.error)
        self.timelines.add(result)
        if result.panel:
            self._panels[result.job.label] = result.panel
        self._show(result)
        self.bar.update()

    def _show(self, result: ImageResult) -> None:
        """Print one result for a person, or as a line of JSON for a program; errors also go to stderr."""
        if result.error:
            self.bar.write(f"error: {result.error}", file=sys.stderr)
        if self.outputs.to_program:
            self.bar.write(json_line(result.row), file=sys.stdout)
        elif not result.error:
            self.bar.write(in_plain_words(result), file=sys.stdout)
        sys.stdout.flush()

    def conclude(self) -> None:
        """Write the page, and say on stderr what was written and what failed."""
        panels, outputs = [panel for panel in self._panels.values() if panel], self.outputs
        if outputs.html and panels:
            from mmifn.scoring.viewer import write_page

            write_page(panels, outputs.html)
        for line in self.timelines.conclude(self.task.map_dir):
            print(line, file=sys.stderr if outputs.to_program else sys.stdout)
        kept = f", {self.kept} of them from an earlier run" if self.kept else ""
        print(f"{self.count - self.failed} of {self.count} scored{kept}", file=sys.stderr)
        written = [None if outputs.to_program else outputs.json, outputs.csv, outputs.parquet, outputs.html, self.task.map_dir]
        if any(written):
            print("written: " + ", ".join(str(path) for path in written if path), file=sys.stderr)
        if self.failed:
            print(f"{self.failed} could not be scored (see above)", file=sys.stderr)


def in_plain_words(result: ImageResult) -> str:
    """Return what is said of one image, for a person."""
    prediction = result.prediction
    if prediction is None:
        return f"{result.job.label}: {result.error}"
    worst = prediction.viewports[prediction.worst(1)[0]]
    where = f"{looking(worst, prediction.heading_deg)} (longitude {worst.lon_deg:.0f}°, latitude {worst.lat_deg:.0f}°)"
    lines = [f"{result.job.label}: {score_line(prediction)}",
             *textwrap.wrap(prediction.description, 110, initial_indent="  ", subsequent_indent="  "),
             f"  worst view: {worst.score:.0f}, looking {where}" + "".join(f": {words}" for words in prediction.worst_words[:1]),
             *([f"  judged at {prediction.judged_px} px around ({prediction.judged_px / 360:.1f} per degree)"]
               if prediction.judged_px else []), *(f"  warning: {text}" for text in prediction.warnings)]
    if result.job.task.reference:
        lines.append("  against the reference: " + ", ".join(_compared_words(result.row)))
    return "\n".join(lines)


def _compared_words(row: dict[str, Any]) -> list[str]:
    from mmifn.fullref.metrics import METRICS

    return [f"{metric.title} {row[name]:.4g}" if row[name] is not None else f"{metric.title} identical"
            for name, metric in METRICS.items()]
