"""The pieces of a file that have scores of their own: one sphere, two eyes, or a clip's moments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmifn.core.defaults import AUTO, PARTS
from mmifn.core.errors import UserError

_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "min": 60.0}
_LEAST_S = 0.01


@dataclass(frozen=True)
class Piece:
    """Which sphere of a file: the projection that it is in, the eye, and the time in a clip (None: not a clip)."""

    projection: str = AUTO
    part: int = 0
    moment_s: float | None = None


def parse_every(text: str) -> float:
    """Return the seconds that "2s", "500ms", "0.5" or "1min" mean; raises UserError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|min|)", text.strip())
    if not match or float(match[1]) * _UNITS[match[2]] < _LEAST_S:
        raise UserError(f"--every {text}: wanted a time of at least {_LEAST_S:g} s, such as 2s, 500ms or 1min")
    return float(match[1]) * _UNITS[match[2]]


def parts_of(label: str, projection: str) -> list[str]:
    """Return what results call the spheres of a picture, in order: its label, and of two eyes one each."""
    return [f"{label} ({name})" for name in PARTS[projection]] if projection in PARTS else [label]


def pieces_of(label: str, path: Path, projection: str, every_s: float) -> Iterator[tuple[str, Piece]]:
    """Yield (label, piece) of everything in a file that has a score of its own."""
    from mmifn.data.video import is_clip, read_clip

    moments: list[float | None] = [None]
    if is_clip(path):
        try:
            clip = read_clip(path)
        except UserError:
            moments = [0.0]  # whoever reads the frame says what is wrong
        else:
            moments = [*clip.moments(every_s)]
            projection = clip.projection if projection == AUTO else projection
    for moment in moments:
        at = label if moment is None else f"{label} @ {moment:g}s"
        for part, name in enumerate(parts_of(at, projection)):
            yield name, Piece(projection, part, moment)
