"""Read opinion scores from the label files in circulation: .mat vectors, csv tables, and the lists of earlier work.

Understood: MATLAB files with score vectors; csv or tab-separated tables with a header; lists without a header of
`image score` or `reference image score` (Assessor360) or of six cube faces and a score per line (MC360IQA).
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from mmifn.core.errors import UserError, listed
from mmifn.data.importers.mat import mat_vectors

_IMAGE_COLUMNS = ("image_name", "image", "img", "img_name", "filename", "file", "name", "image_stem", "dis",
                  "distorted", "path")
_TYPE_COLUMNS = ("distortion_type", "type", "type_assumed", "dist_type", "distortion")
_REFERENCE_COLUMNS = ("reference", "ref", "ref_id", "scene", "ref_image")
_LEVEL_COLUMNS = ("level", "degree")


@dataclass(frozen=True)
class Score:
    """One line of a label file: the image as the file names it, its score, and what else the line says."""

    image: str
    mos: float
    type: str = ""
    level: str = ""
    reference: str = ""


@dataclass
class ScoreFile:
    """What a label file holds: named lines, or bare vectors (name -> scores in the database's own order)."""

    path: Path
    lines: list[Score] = field(default_factory=list)
    vectors: dict[str, np.ndarray] = field(default_factory=dict)


def read_scores(path: Path, scale: str | None = None, dmos: bool = False) -> ScoreFile:
    """Read a label file of any known form; scale: which of two score columns to take, where a table has two; dmos: take a
    column DMOS as it is, because its polarity is looked at afterwards.

    Raises UserError naming every line that is not a score, and what forms are understood.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    if path.suffix.lower() == ".mat":
        return ScoreFile(path, vectors=_mat_vectors(path))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text ({error}); wanted a .mat, .csv or .txt label file") from error
    try:
        rows = [(number, row) for number, line in enumerate(text.splitlines(), start=1) if (row := _split(line))]
    except csv.Error as error:
        raise UserError(f"{path} is no table ({error}); wanted a .mat, .csv or .txt label file") from error
    if not rows:
        raise UserError(f"{path} is empty; wanted one line per image")
    first = rows[0][1]
    if _number(first[-1]) is None and (len(rows) > 1 or _column(first, _IMAGE_COLUMNS) is not None):
        return ScoreFile(path, _table(path, rows, scale, dmos))
    return ScoreFile(path, _list(path, rows))


def _mat_vectors(path: Path) -> dict[str, np.ndarray]:
    """Return the vectors of more than two numbers in a MATLAB file, by name."""
    try:
        vectors, others = mat_vectors(path)
    except ValueError as error:
        raise UserError(f"{path} is damaged or not a MATLAB 5 file ({error}); save it with -v7, or give a csv with "
                        "--labels") from error
    if not vectors:
        raise UserError(f"{path} holds no vector of numbers:\n{listed(others)}\nGive the scores as csv with --labels.")
    return vectors


def _split(line: str) -> list[str]:
    parts = next(csv.reader([line]), []) if "," in line else re.split(r"\s+", line.strip())
    return [part.strip() for part in parts] if any(part.strip() for part in parts) else []


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _column(header: list[str], names: tuple[str, ...]) -> int | None:
    lower = [name.lower() for name in header]
    return next((lower.index(name) for name in names if name in lower), None)


def _mos_column(header: list[str], scale: str | None) -> int | None:
    """Take the z-scored column (0-100) where a table has both, unless 1-10 is asked for."""
    order = ("mos", "score", "mosz") if scale == "1-10" else ("mosz", "mos", "score")
    return _column(header, order)


def _table(path: Path, rows: list[tuple[int, list[str]]], scale: str | None, dmos: bool) -> list[Score]:
    """Read a table with a header; scale: which score column to take, where there are two."""
    (_, header), body = rows[0], rows[1:]
    image, mos = _column(header, _IMAGE_COLUMNS), _mos_column(header, scale)
    mos = _column(header, ("dmos",)) if mos is None and dmos else mos
    if mos is None and _column(header, ("dmos",)) is not None:
        raise UserError(f"{path} has a column DMOS and no MOS: higher may be worse there, and nothing tells.\n"
                        "Where higher is better, call the column MOS; otherwise turn the scores round first.")
    if image is None or mos is None:
        raise UserError(f"{path} has the columns {', '.join(header)}; wanted one of {', '.join(_IMAGE_COLUMNS)} and "
                        "one of MOS, MOSz, score")
    if not body:
        raise UserError(f"{path} has a header and no scores; wanted one line per image")
    others = [_column(header, names) for names in (_TYPE_COLUMNS, _LEVEL_COLUMNS, _REFERENCE_COLUMNS)]
    lines, problems = [], []
    for number, row in body:
        if len(row) != len(header):
            problems.append(f"line {number}: {len(row)} values for {len(header)} columns")
        elif _number(row[mos]) is None:
            problems.append(f"line {number}: {header[mos]} {row[mos]!r} is not a number")
        else:
            extra = [row[column] if column is not None else "" for column in others]
            lines.append(Score(row[image], float(row[mos]), *extra))
    _refuse(path, problems)
    return lines


def _list(path: Path, rows: list[tuple[int, list[str]]]) -> list[Score]:
    """Read lines without a header, told apart by how many values they have."""
    lines, problems = [], []
    for number, row in rows:
        value = _number(row[-1])
        if value is None or len(row) not in (2, 3, 7) or not row[0]:
            problems.append(f"line {number}: {' '.join(row)[:60]!r}; wanted `image score`, `reference image score`, "
                            "or six cube faces and a score")
        elif len(row) == 7:  # MC360IQA: img1/000/img1_000BA.jpg, …; one line per rotation, the image is the folder
            lines.append(Score(PurePosixPath(row[0].replace("\\", "/")).parts[0], value))
        else:
            lines.append(Score(row[-2], value, reference=row[0] if len(row) == 3 else ""))
    _refuse(path, problems)
    return lines


def _refuse(path: Path, problems: list[str]) -> None:
    if problems:
        raise UserError(f"{path} has {len(problems)} line(s) that are not scores:\n{listed(problems)}\n"
                        "Mend them and run the same command again.")
