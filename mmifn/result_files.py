"""Results as lines of JSON or rows of CSV, one image each, written as they come and found again after a stop."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, TextIO

from mmifn.errors import UserError
from mmifn.files import sha256_file, write_text

KEYS = ("image", "score", "image_sha256", "model")  # what every row of ours has


class ResultFile:
    """A growing file of results.

    Rows of images that are not part of this run stay; rows of this run's images stay where image and model are the
    same, and are then in `done` (label -> row). A line that a killed run left half-written is dropped.
    """

    def __init__(self, path: Path, images: dict[str, Path], identity: str, columns: list[str] | None = None) -> None:
        self.path, self.columns = path, columns
        rows = self._read()
        self.done = {label: rows[label] for label, image in images.items() if label in rows and image.is_file()
                     and rows[label]["model"] == identity and rows[label]["image_sha256"] == sha256_file(image)}
        kept = [row for label, row in rows.items() if label not in images or label in self.done]
        header = [] if columns is None else [self._line(dict(zip(columns, columns, strict=True)))]
        write_text(path, "".join([*header, *map(self._line, kept)]))
        self.file: TextIO = open(path, "a", encoding="utf-8", newline="")  # noqa: SIM115 (open as long as results come)

    def add(self, row: dict[str, Any]) -> None:
        """Append a row at once. CSV has no place for errors: an image without a score gets no row there."""
        if self.columns is None or "error" not in row:
            self.file.write(self._line(row))
            self.file.flush()

    def close(self) -> None:
        self.file.close()

    def _line(self, row: dict[str, Any]) -> str:
        if self.columns is None:
            return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
        sink = _Line()
        csv.writer(sink, lineterminator="\n").writerow([_cell(row.get(column)) for column in self.columns])
        return sink.text

    def _read(self) -> dict[str, dict[str, Any]]:
        """Return the rows that are there by image, refusing a file of another kind."""
        if not self.path.exists() or not self.path.stat().st_size:
            return {}
        try:
            text = self.path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, IsADirectoryError) as error:
            raise UserError(self._foreign()) from error
        lines = text.split("\n") if self.columns is None else list(csv.DictReader(io.StringIO(text)))
        rows = [row for row in (_json(line) if self.columns is None else _csv(line) for line in lines) if row]
        if self.columns is not None and (not lines or set(KEYS) - set(lines[0])) and text.partition(",")[0] != "image":
            raise UserError(self._foreign())
        if self.columns is None and not rows:
            raise UserError(self._foreign())
        return {row["image"]: row for row in rows if not set(KEYS) - set(row)}

    def _foreign(self) -> str:
        return f"{self.path} is there and holds no results of predict.py; name another file, or remove it"


class _Line:
    """What csv.writer needs of a file."""

    text = ""

    def write(self, text: str) -> None:
        self.text += text


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value


def _json(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row if isinstance(row, dict) and "image" in row else None


def _csv(cells: dict[str, str]) -> dict[str, Any] | None:
    """Turn cells into values: what reads as JSON is a number or a list; empty is None."""
    row: dict[str, Any] = {}
    for name, cell in cells.items():
        if name in ("image", "quality", "description", "image_sha256", "model"):
            row[name] = cell
            continue
        try:
            row[name] = json.loads(cell) if cell else None
        except (json.JSONDecodeError, TypeError):
            return None
    return row if row.get("model") else None
