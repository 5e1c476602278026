"""Find the label file of a download, and bring its scores onto the keys of the database, all on one scale."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from mmifn.core.errors import UserError, listed
from mmifn.data.importers.database import Database
from mmifn.data.importers.polarity import as_quality
from mmifn.data.importers.scores import Score, ScoreFile, read_scores
from mmifn.data.mos_scale import scale_of

LABEL_SUFFIXES = (".mat", ".csv", ".txt", ".tsv")


@dataclass(frozen=True)
class Labels:
    """Scores by key, the scale they are on, the files they come from, and remarks for the summary."""

    scores: dict[str, Score]
    scale: str
    files: list[Path]
    notes: list[str]


def find_label_files(database: Database, source: Path) -> list[Path]:
    """Return the one label file of a download: a .mat if there is one, else the only table.

    Raises UserError where there is none, or several and no telling which.
    """
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() in LABEL_SUFFIXES and path.is_file())
    candidates = [path for path in files if path.suffix.lower() == ".mat"] if database.vectors else []
    candidates = candidates or [path for path in files if path.suffix.lower() != ".mat"]
    if len(candidates) == 1:
        return candidates
    if not candidates:
        raise UserError(f"{source} holds no label file ({', '.join(LABEL_SUFFIXES)}); name one with --labels FILE")
    raise UserError(f"{source} holds {len(candidates)} files that may be the labels:\n"
                    f"{listed(path.relative_to(source) for path in candidates)}\nName the right ones with --labels.")


def read_labels(database: Database, files: list[Path], wanted_scale: str | None) -> Labels:
    """Read label files and join their lines on the keys of the database.

    Raises UserError for vectors of the wrong length, unknown names, one image with different scores, scores off the
    scale, and scores on two scales.
    """
    scores: dict[str, Score] = {}
    notes: list[str] = []
    problems, scales = [], {}
    for path in files:
        lines = _lines(database, read_scores(path, wanted_scale, database.severity is not None), wanted_scale, notes)
        scales[path] = scale_of(np.array([line.mos for line in lines]))
        for line in lines:
            key = database.key(Path(PurePosixPath(line.image.replace("\\", "/"))))
            if key is None:
                problems.append(f"{path.name}: {line.image!r} is no image of {database.name}")
            elif key in scores and abs(scores[key].mos - line.mos) > 1e-6:
                problems.append(f"{path.name}: {line.image!r} has the score {line.mos:g}, elsewhere {scores[key].mos:g}")
            else:
                scores[key] = line
    if len(set(scales.values())) > 1:
        shown = [f"{path.name}: {scale}" for path, scale in scales.items()]
        raise UserError(f"{database.name}: the label files are on different scales and are never mixed:\n{listed(shown)}")
    if problems:
        raise UserError(f"{database.name}: {len(problems)} label(s) do not fit:\n{listed(problems)}")
    scale = next(iter(scales.values()))
    _check_scale(database, scores, scale, wanted_scale)
    if database.slot_of:
        scores, remarks = as_quality(database, scores)
        return Labels(scores, "0-100", files, notes + remarks)
    return Labels(scores, scale, files, notes)


def _lines(database: Database, file: ScoreFile, scale: str | None, notes: list[str]) -> list[Score]:
    """Return named lines; a bare vector takes its names from the database's order."""
    if not file.vectors:
        return file.lines
    fitting = {name: values for name, values in file.vectors.items() if len(values) in database.vectors}
    if not fitting:
        lengths = [f"{name}: {len(values)} scores" for name, values in file.vectors.items()]
        wanted = " or ".join(map(str, database.vectors)) or "a table with image names instead of bare scores"
        raise UserError(f"{file.path} does not fit {database.name}:\n{listed(lengths)}\nwanted {wanted}")
    by_scale = {scale_of(values): name for name, values in sorted(fitting.items(), reverse=True)}
    chosen = by_scale.get(scale or "0-100") or next(iter(by_scale.values()))
    if len(fitting) > 1:
        notes.append(f"{file.path.name} holds {', '.join(f'{name} ({scale_of(v)})' for name, v in fitting.items())}; "
                     f"taken: {chosen}")
    values = fitting[chosen]
    return [Score(key, float(value)) for key, value in zip(database.vectors[len(values)], values, strict=True)]


def _check_scale(database: Database, scores: dict[str, Score], scale: str, wanted: str | None) -> None:
    """Refuse scores on another scale than was asked for, than the database has, or partly on each of two."""
    if wanted and wanted != scale:
        raise UserError(f"{database.name}: --mos-scale {wanted} was asked for and the scores are on {scale}")
    if scale not in database.scales:
        raise UserError(f"{database.name}: the scores are on {scale} (largest {max(s.mos for s in scores.values()):g}), "
                        f"wanted {' or '.join(database.scales)}")
    low = [f"{key}: {score.mos:g}" for key, score in scores.items()
           if not 0 <= score.mos <= 100 or not np.isfinite(score.mos)]
    if low:
        raise UserError(f"{database.name}: {len(low)} score(s) are off the scale 0-100:\n{listed(low)}")
    if database.slots is not None and max(score.mos for score in scores.values()) <= 1.0:
        raise UserError(f"{database.name}: the scores lie between 0 and 1 (normalised?), wanted "
                        f"{' or '.join(database.scales)}")
    # On 0-100, no real score of the known databases lies below 10: such values are left over from the 1-10 scale.
    small = [f"{key}: {score.mos:g}" for key, score in scores.items() if score.mos <= 10] if scale == "0-100" else []
    if database.slots is not None and small:
        raise UserError(f"{database.name}: {len(small)} of {len(scores)} scores look like the 1-10 scale among scores on "
                        f"0-100; scales are never mixed:\n{listed(small)}")
