"""The run behind predict.py: jobs, progress, results to screen and files, failures counted."""

from __future__ import annotations

import json
import sys
import textwrap
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mmifn.core.device import resolve_device
from mmifn.core.workers import usable_cores
from mmifn.scoring.files import ImageJob, ImageResult, Task, score_jobs
from mmifn.scoring.prediction import columns
from mmifn.scoring.quality_map import looking, score_line
from mmifn.scoring.results import ResultFile
from mmifn.scoring.viewer import Panel, write_page


@dataclass(frozen=True)
class Outputs:
    """Where results go beside the screen; json "-" is the screen itself."""

    json: str | None = None
    csv: Path | None = None
    html: Path | None = None

    @property
    def to_program(self) -> bool:
        return self.json == "-"


def default_workers(device: str) -> int:
    """Return how many processes to take: each keeps two cores busy and holds its own networks; a GPU wants one."""
    return 1 if resolve_device(device).type == "cuda" else max(1, usable_cores() // 2)


def _columns(task: Task) -> list[str]:
    """Return the columns of the CSV, which are the keys of a row."""
    if not task.reference:
        return columns()
    from mmifn.fullref.metrics import METRICS  # brings networks for images along: seconds

    return columns(METRICS)


def score_all(images: dict[str, Path], task: Task, outputs: Outputs, workers: int) -> int:
    """Score every image (label -> file) and deliver the results as they come; return how many failed."""
    identity = task.identity
    files = []
    if outputs.json and not outputs.to_program:
        files.append(ResultFile(Path(outputs.json), images, identity))
    if outputs.csv:
        files.append(ResultFile(outputs.csv, images, identity, _columns(task)))
    done: dict[str, Any] = {}
    for file in files:
        done |= file.done
    jobs = [ImageJob(path, label, task, done.get(label)) for label, path in images.items()]
    panels: dict[str, Panel] = {}
    failed = 0
    with ExitStack() as stack:
        for file in files:
            stack.callback(file.close)
        bar = stack.enter_context(tqdm(total=len(jobs), unit="image", desc="scoring", file=sys.stderr, disable=len(jobs) < 2))
        for result in score_jobs(jobs, workers):
            for file in files:
                if result.job.label not in file.done:
                    file.add(result.row)
            if result.error:
                failed += 1
            if result.panel:
                panels[result.job.label] = result.panel
            _show(result, outputs, bar)
            bar.update()
    if outputs.html and panels:
        write_page([panels[label] for label in images if label in panels], outputs.html)
    _finish(images, done, task, outputs, failed)
    return failed


def _show(result: ImageResult, outputs: Outputs, bar: tqdm) -> None:
    """Print one result for a person, or as a line of JSON for a program; errors also go to stderr."""
    if result.error:
        bar.write(f"error: {result.error}", file=sys.stderr)
    if outputs.to_program:
        bar.write(json.dumps(result.row, ensure_ascii=False, allow_nan=False), file=sys.stdout)
    elif not result.error:
        bar.write(in_plain_words(result), file=sys.stdout)
    sys.stdout.flush()


def in_plain_words(result: ImageResult) -> str:
    """Return what is said of one image, for a person."""
    prediction = result.prediction
    worst = prediction.viewports[prediction.worst(1)[0]]
    lines = [f"{result.job.label}: {score_line(prediction)}",
             *textwrap.wrap(prediction.description, 110, initial_indent="  ", subsequent_indent="  "),
             f"  worst view: {worst.score:.0f}, looking {looking(worst)} (longitude {worst.lon_deg:.0f}°, latitude "
             f"{worst.lat_deg:.0f}°)" + "".join(f": {words}" for words in prediction.worst_words[:1]),
             *(f"  warning: {text}" for text in prediction.warnings)]
    if result.job.task.reference:
        lines.append("  against the reference: " + ", ".join(_compared(result.row)))
    return "\n".join(lines)


def _compared(row: dict[str, Any]) -> list[str]:
    from mmifn.fullref.metrics import METRICS

    return [f"{metric.title} {row[name]:.4g}" if row[name] is not None else f"{metric.title} identical"
            for name, metric in METRICS.items()]


def _finish(images: dict[str, Path], done: dict[str, Any], task: Task, outputs: Outputs, failed: int) -> None:
    """Say on stderr what was written and what failed."""
    kept = f", {len(done)} of them from an earlier run" if done else ""
    print(f"{len(images) - failed} of {len(images)} scored{kept}", file=sys.stderr)
    written = [outputs.json if not outputs.to_program else None, outputs.csv, outputs.html, task.map_dir]
    if any(written):
        print("written: " + ", ".join(str(path) for path in written if path), file=sys.stderr)
    if failed:
        print(f"{failed} could not be scored (see above)", file=sys.stderr)
