"""Rows on their way into a table: a hidden file beside it that only grows, so that a row costs the same however many there are.

One line of JSON per row. A line that a killed program left half-written is no row, and is cut off before the next one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmifn.core.errors import UserError
from mmifn.core.json_text import parse_json

_LEAST_BYTES = 1 << 18  # below, a table is not rewritten for its journal


def journal_of(table: Path) -> Path:
    """Return the journal's file of a table."""
    return table.with_name(f".{table.name}.journal")


def append(table: Path, rows: Iterable[dict[str, Any]]) -> bool:
    """Append rows and return whether the journal has become as large as its table, which is the time to merge them.

    Merging then copies every row about twice in all, whatever their number. The caller holds the table's lock.
    """
    path = journal_of(table)
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8")
    with open(path, "a+b") as file:
        size = file.seek(0, os.SEEK_END)
        if size and (file.seek(size - 1), file.read(1))[1] != b"\n":
            file.seek(0)
            size = file.read().rfind(b"\n") + 1
            file.truncate(size)
        file.write(data)
    return size + len(data) > max(_LEAST_BYTES, table.stat().st_size if table.exists() else 0)


def read(table: Path) -> tuple[list[dict[str, Any]], bool]:
    """Return the rows of a table's journal in the order of writing, and whether they are later than the table.

    A table that was changed by hand afterwards is later: its rows stand. Raises UserError where a line is damaged.
    """
    path = journal_of(table)
    try:
        content, written = path.read_bytes(), path.stat().st_mtime_ns
    except FileNotFoundError:
        return [], True
    lines = content[:content.rfind(b"\n") + 1].decode("utf-8", "replace").split("\n")
    try:
        rows = [parse_json(line) for line in lines if line]
        if not all(isinstance(row, dict) and _is_row(row) for row in rows):
            raise ValueError("a line that is no row")
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); it holds the last descriptions on their way into {table.name}. Remove it "
                        "to go on without those") from error
    return rows, not table.exists() or written >= table.stat().st_mtime_ns


def _is_row(row: dict[str, Any]) -> bool:
    """Tell whether an entry holds texts by column, those of a table's other columns in `extra`."""
    extra = row.get("extra", {})
    cells = [value for key, value in row.items() if key != "extra"]
    return isinstance(extra, dict) and all(isinstance(value, str) for value in [*cells, *extra.values()])


def remove(table: Path) -> None:
    """Remove the journal of a table that holds its rows."""
    journal_of(table).unlink(missing_ok=True)
