"""Results as lines of JSON or rows of CSV, one image each, written as they come and found again after a stop."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from mmifn.core.csv_cells import neutral, original
from mmifn.core.errors import UserError
from mmifn.core.files import sha256_file
from mmifn.core.json_text import parse_json
from mmifn.core.locked import open_locked
from mmifn.scoring.prediction import REQUIRED, TEXTS

_START = b'{"image": "'  # of every line of JSON


class ResultFile:
    """A growing file of results, which this run alone writes until it is closed.

    Rows of images that are not part of this run stay; rows of this run's images stay where image and model are the
    same, and are then in `done` (label -> row). A line that a killed run left half-written is dropped.
    """

    def __init__(self, path: Path, images: dict[str, Path], identity: str, columns: list[str] | None = None) -> None:
        self.path = path
        self.file = open_locked(path)
        try:
            self._take_over(images, identity, columns)
        except BaseException:
            self.close()
            raise

    def _take_over(self, images: dict[str, Path], identity: str, columns: list[str] | None) -> None:
        """Find the rows that are there, and write those that stay."""
        content = self.file.read()
        rows = self._rows_of(content, columns is not None)
        first = next(iter(rows.values()), {})
        self.columns = columns and [*columns, *(name for name in first if name not in columns)]
        self.done = {label: rows[label] for label, image in images.items() if label in rows and image.is_file()
                     and rows[label]["model"] == identity and rows[label]["image_sha256"] == sha256_file(image)}
        kept = [row for label, row in rows.items() if label not in images or label in self.done]
        header = [self._line(dict(zip(self.columns, self.columns, strict=True)))] if self.columns else []
        text = "".join([*header, *map(self._line, kept)])
        if text.encode("utf-8") != content:
            self.file.replace(text)

    def add(self, row: dict[str, Any]) -> None:
        """Append a row at once. CSV has no place for errors: an image without a score gets no row there."""
        if self.columns is None or "error" not in row:
            self.file.append(self._line(row))

    def close(self) -> None:
        self.file.close()

    def _line(self, row: dict[str, Any]) -> str:
        if self.columns is None:
            return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
        line = io.StringIO(newline="")
        csv.writer(line, lineterminator="\n").writerow([_cell(column, row.get(column)) for column in self.columns])
        return line.getvalue()

    def _rows_of(self, content: bytes, table: bool) -> dict[str, dict[str, Any]]:
        """Return the rows that are there by image, refusing a file of another kind."""
        try:
            end = content.rfind(b"\n") + 1  # what follows is a line that a killed run left half-written
            rows = (_csv_rows if table else _json_rows)(content[:end].decode("utf-8"))
            if not end and not content.startswith(_START[:len(content)]):
                raise ValueError("not half a line either")
        except (ValueError, csv.Error) as error:
            raise UserError(f"{self.path} is there and holds no results of predict.py; name another file, or remove "
                            "it") from error
        return {row["image"]: row for row in rows if "score" in row}


def _cell(column: str, value: Any) -> Any:
    if column in TEXTS and isinstance(value, str):
        return neutral(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value


def _json_rows(text: str) -> list[dict[str, Any]]:
    """Return the rows of lines of JSON; raises ValueError where one is neither a result nor an image with its error."""
    rows = [parse_json(line) for line in text.split("\n") if line.strip()]
    for row in rows:
        if not isinstance(row, dict) or (set(REQUIRED) - set(row) and set(row) != {"image", "error"}):
            raise ValueError("a line that is not of predict.py")
    return rows


def _csv_rows(text: str) -> list[dict[str, Any]]:
    """Return the rows of a CSV, without one that is not whole; raises ValueError where columns of ours are missing.

    What reads as JSON is a number or a list, empty is None.
    """
    header, *lines = csv.reader(io.StringIO(text, newline="")) if text else [list(REQUIRED)]
    if set(REQUIRED) - set(header):
        raise ValueError("not the columns of predict.py")
    rows = [dict(zip(header, map(_value, header, cells), strict=True)) for cells in lines if len(cells) == len(header)]
    return [row for row in rows if isinstance(row["viewports"], list) and isinstance(row["warnings"], list)]


def _value(name: str, cell: str) -> Any:
    try:
        return original(cell) if name in TEXTS else parse_json(cell) if cell else None
    except ValueError:
        return cell  # of a column that somebody added
