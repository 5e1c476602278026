"""Clips over time: the scores of their moments as one plot, and the worst moments as pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmifn.core.files import atomic_path
from mmifn.data.images import write_png

if TYPE_CHECKING:
    from mmifn.scoring.files import ImageJob, ImageResult

PLOT, MOMENT = "over_time.png", "moment_{}.png"
_WORST = 3
_WIDTH_PX = 2048  # of a moment's picture, at most


@dataclass
class _Clip:
    moments: list[tuple[float, float, tuple[float, float] | None]] = field(default_factory=list)  # time, score, interval
    jobs: dict[float, ImageJob] = field(default_factory=dict)

    def worst(self) -> list[float]:
        """Return the times of the lowest scores, worst first."""
        return [time for time, _, _ in sorted(self.moments, key=lambda moment: (moment[1], moment[0]))[:_WORST]]


class Timelines:
    """The clips of a run, as far as their moments have scores."""

    def __init__(self) -> None:
        self._clips: dict[str, _Clip] = {}

    def add(self, result: ImageResult) -> None:
        """Take in a result; whatever is no moment of a clip is passed over."""
        moment = result.job.piece.moment_s
        if moment is None or result.prediction is None:
            return
        clip = self._clips.setdefault(clip_label(result.job), _Clip())
        clip.moments.append((moment, result.prediction.score, result.prediction.interval))
        clip.jobs[moment] = result.job

    def conclude(self, map_dir: Path | None) -> list[str]:
        """Write what is drawn of each clip, where that is wanted; return a line for each."""
        lines = []
        for label, clip in self._clips.items():
            clip.moments.sort()
            scores = [score for _, score, _ in clip.moments]
            worst = clip.worst()[0]
            spread = f"{min(scores):.0f} at {worst:g} s to {max(scores):.0f}"
            lines.append(f"{label}: {np.mean(scores):.0f} on average over {len(scores)} moments, {spread}")
            if map_dir is not None:
                draw_over_time(clip.moments, label, map_dir / label / PLOT)
                for rank, time in enumerate(clip.worst(), start=1):
                    _write_moment(clip.jobs[time], map_dir / label / MOMENT.format(rank))
        return lines


def clip_label(job: ImageJob) -> str:
    """Return what a clip is called of which a job is a moment."""
    return job.label.replace(f" @ {job.piece.moment_s:g}s", "", 1)


def _write_moment(job: ImageJob, path: Path) -> None:
    from mmifn.scoring.files import sphere_of
    from mmifn.scoring.quality_map import reduced

    write_png(reduced(sphere_of(job).shown, _WIDTH_PX), path)


def draw_over_time(moments: list[tuple[float, float, tuple[float, float] | None]], title: str, path: Path) -> None:
    """Draw the scores (time in s, score, interval) of a clip, the worst moments marked."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    times, scores = [time for time, _, _ in moments], [score for _, score, _ in moments]
    figure, axes = pyplot.subplots(figsize=(10, 4), dpi=120, layout="constrained")
    if all(interval for _, _, interval in moments):
        low, high = zip(*(interval for _, _, interval in moments if interval), strict=True)
        axes.fill_between(times, low, high, color="#c6dbef", label="90 % interval", linewidth=0)
    axes.plot(times, scores, color="#08519c", marker="o", markersize=4, label="score")
    for rank, (time, score, _) in enumerate(sorted(moments, key=lambda moment: (moment[1], moment[0]))[:_WORST], start=1):
        axes.annotate(f"({rank})", (time, score), textcoords="offset points", xytext=(0, -14), ha="center", color="#a50f15")
    axes.set(xlabel="time (s)", ylabel="quality, 0 to 100", ylim=(0, 100), title=f"{title[-60:]}; (1) is the worst moment")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    pyplot.close(figure)
