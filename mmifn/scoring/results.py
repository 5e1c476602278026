"""Results as lines of JSON or rows of CSV, one image each, appended as they come and found again after a stop."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from mmifn.core.csv_cells import neutral, original
from mmifn.core.errors import UserError
from mmifn.core.files import Stamp
from mmifn.core.json_text import parse_json
from mmifn.core.locked import open_locked
from mmifn.scoring.index import Entry, ImageFile, RowIndex, still_holds
from mmifn.scoring.prediction import PANORAMAS
from mmifn.scoring.row_form import RowForm

_START = b'{"image": "'  # of every line of JSON


class _Record(NamedTuple):
    """One row in a file, from byte `start` up to byte `end`; None where what is there is no whole row."""

    start: int
    end: int
    row: dict[str, Any] | None


class ResultFile:
    """A growing file of results, which this run alone writes until it is closed; what it holds stays on the disk.

    Rows of images that no one asks for stay. A row that is found to be of another model or of an image that has changed,
    and one with an error, goes when `drop_stale` is called, at the latest at the end. A row that a killed run left
    half-written is cut off.
    """

    def __init__(self, path: Path, identity: str, columns: list[str] | None = None, verify: bool = False,
                 form: RowForm = PANORAMAS) -> None:
        """Open a file of JSON, or with the columns of a table, one of CSV; verify: compare images by their content."""
        self.path, self.identity, self._verify, self.columns, self.form = path, identity, verify, columns, form
        self._stale: set[int] = set()
        self.file = open_locked(path)
        try:
            self._look_through()
        except BaseException:
            self.file.close()
            raise

    def find(self, label: str, image: ImageFile) -> int | None:
        """Return the place of an image's row, if it is of this model and of the file as it is now."""
        entry = self._index.find(label)
        if entry is None or entry.place in self._stale:
            return None
        if still_holds(entry, image, self.identity, self.row, self._verify):
            return entry.place
        self._stale.add(entry.place)
        return None

    def row(self, place: int) -> dict[str, Any]:
        """Return the row at a place that `find` told."""
        with self.file.reader(place) as lines:
            if self.columns is None:
                return _json_row(lines.readline(), self.form)
            row = _csv_row(self.columns, next(csv.reader(line.decode("utf-8") for line in lines)), self.form)
        if row is None:
            raise ValueError(f"no row at {place}")
        return row

    @property
    def count(self) -> int:
        """How many images had a row when the file was opened."""
        return len(self._index)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows that are in the file now."""
        return (record.row for record in self._records() if record.row is not None and record.start not in self._stale)

    def clear(self) -> None:
        """Remove all rows."""
        self.file.truncate(0)
        self._look_through()

    def add(self, row: dict[str, Any]) -> None:
        """Append a row at once. CSV has no place for errors: an image without a score gets no row there."""
        if self.columns is None or "error" not in row:
            self.file.append(self._line(row))

    def drop_stale(self) -> None:
        """Write the file anew without the rows that are no longer true, where there are any."""
        if self._stale:
            dropped, self._stale = self._stale, set()
            self.file.rewrite(self._kept(dropped))
            self._look_through()

    def finish(self) -> None:
        """Bring the file into its last form: without a row that is no longer true."""
        self.drop_stale()

    def close(self) -> None:
        self.file.close()

    def _line(self, row: dict[str, Any]) -> str:
        if self.columns is None:
            return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
        return self._cells(self.columns, row)

    def _cells(self, columns: list[str], row: dict[str, Any]) -> str:
        return _csv_line([_cell(row.get(column), column in self.form.texts) for column in columns])

    def _look_through(self) -> None:
        """Index the rows that are there, refusing a file of another kind; cut off half a row at the end."""
        self._index = RowIndex()
        try:
            header = self._read_header()
            end = len(header)
            for record in self._records():
                if record.row is None:
                    self._stale.add(record.start)
                else:
                    self._index.add(record.row["image"], _entry(record))
                end = record.end
            with self.file.reader(end) as rest:
                tail = rest.read()
            if not end and not _START.startswith(tail[:len(_START)]):
                raise ValueError("not half a line either")
        except (ValueError, csv.Error) as error:
            raise UserError(f"{self.path} is there and holds no results of predict.py; name another file, or remove "
                            f"it ({error})") from error
        self._stale.update(self._index.finish())
        if tail:
            self.file.truncate(end)
        self._widen(header)

    def _read_header(self) -> bytes:
        """Return the line of a table with its columns; raises ValueError where some of ours are missing."""
        if self.columns is None:
            return b""
        with self.file.reader() as lines:
            header = lines.readline()
        if not header.endswith(b"\n"):
            return b""
        self._there = next(csv.reader([header.decode("utf-8")]), [])
        if set(self.form.required) - set(self._there):
            raise ValueError("not the columns of predict.py")
        return header

    def _widen(self, header: bytes) -> None:
        """Give a table all columns: those of this run, then those that are there beside them."""
        if self.columns is None:
            return
        there = self._there if header else []
        columns = [*self.columns, *(name for name in there if name not in self.columns)]
        if columns == there:
            self.columns = columns
            return
        self.file.rewrite(self._rewritten(columns, header))
        self.columns = columns
        self._look_through()

    def _rewritten(self, columns: list[str], header: bytes) -> Iterator[bytes]:
        yield _csv_line(columns).encode("utf-8")
        for record in self._records() if header else ():
            if record.row is not None and record.start not in self._stale:
                yield self._cells(columns, record.row).encode("utf-8")
        self._stale = set()

    def _kept(self, dropped: set[int]) -> Iterator[bytes]:
        """Yield the bytes of the file but for the rows at some places."""
        with self.file.reader() as content:
            yield self._read_header()
            for record in self._records():
                if record.start not in dropped:
                    content.seek(record.start)
                    yield content.read(record.end - record.start)

    def _records(self) -> Iterator[_Record]:
        with self.file.reader() as lines:
            yield from (_json_records if self.columns is None else _csv_records)(lines, self.form)


def _entry(record: _Record) -> Entry:
    row = record.row or {}
    known = row.get("image_bytes") is not None and row.get("image_modified_us") is not None
    stamp = Stamp(row["image_bytes"], row["image_modified_us"]) if known else None
    return Entry(record.start, stamp, row["model"] if "score" in row else "")


def _cell(value: Any, is_text: bool) -> Any:
    if is_text and isinstance(value, str):
        return neutral(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value


def _csv_line(cells: list[Any]) -> str:
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _json_records(lines: BinaryIO, form: RowForm) -> Iterator[_Record]:
    """Yield the rows of lines of JSON; raises ValueError where one is neither a result nor an image with its error."""
    end = 0
    for line in lines:
        start, end = end, end + len(line)
        if line.endswith(b"\n") and line.strip():
            yield _Record(start, end, _json_row(line, form))


def _json_row(line: bytes, form: RowForm) -> dict[str, Any]:
    row = parse_json(line.decode("utf-8"))
    if not isinstance(row, dict) or (set(form.required) - set(row) and set(row) != {"image", "error"}):
        raise ValueError("a line that is not of predict.py")
    _refuse(form.fault(row))
    return row


def _refuse(fault: str) -> None:
    if fault:
        raise ValueError(fault)


class _WholeLines:
    """The lines of a file as text, but for half a one at its end; `end` is where the last one ended."""

    def __init__(self, lines: BinaryIO) -> None:
        self.lines, self.end = lines, 0

    def __iter__(self) -> Iterator[str]:
        for line in self.lines:
            if not line.endswith(b"\n"):
                return
            self.end += len(line)
            yield line.decode("utf-8")


def _csv_records(lines: BinaryIO, form: RowForm) -> Iterator[_Record]:
    """Yield the rows behind the header of a table; a row with a line break in a cell has several lines."""
    whole = _WholeLines(lines)
    reader = csv.reader(whole)
    header = next(reader, [])
    start, torn = whole.end, None
    for cells in reader:
        if torn:
            yield torn
        row = _csv_row(header, cells, form)
        torn = _Record(start, whole.end, None) if row is None else None
        if row is not None:
            yield _Record(start, whole.end, row)
        start = whole.end  # what is torn at the very end is not yielded: it is cut off


def _csv_row(header: list[str], cells: list[str], form: RowForm) -> dict[str, Any] | None:
    """Return a row of its cells, or None where it is not whole; what reads as JSON is a number or a list, empty is None."""
    if len(cells) != len(header):
        return None
    if cells == header:  # two tables in one file
        return None
    row = {name: _value(cell, name in form.texts) for name, cell in zip(header, cells, strict=True)}
    _refuse(form.fault(row))
    return row


def _value(cell: str, is_text: bool) -> Any:
    try:
        return original(cell) if is_text else parse_json(cell) if cell else None
    except ValueError:
        return cell  # of a column that somebody added
