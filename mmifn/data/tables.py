"""Tables that people write: csv read as strings, with the number of every line, so that all faults come in one message."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmifn.core.csv_cells import original
from mmifn.core.errors import UserError, listed

if TYPE_CHECKING:
    import pandas as pd

Problem = tuple[int, str]  # line of the file, and what is wrong there
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


def _read_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Return every row of a csv file that is not empty, with the number of its line."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, skipinitialspace=True, strict=True)
            return [(reader.line_num, row) for row in reader if any(row)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a readable csv table in UTF-8 ({error}); save it as 'CSV UTF-8' and try again") from error


def read_table(path: Path, columns: Iterable[str], remedy: str = "") -> tuple[pd.DataFrame, list[Problem]]:
    """Return a csv file as strings, indexed by line number (the header is line 1), and the rows of a wrong length.

    columns: those that it must have; remedy: what to do about an empty one. Raises UserError where it cannot be read.
    """
    import pandas as pd  # takes a second, and predict.py needs none

    lines = _read_lines(path)
    if not lines:
        raise UserError(f"{path} is empty{remedy}")
    header = [column.strip() for column in lines[0][1]]
    rows = {number: [original(cell) for cell in row] for number, row in lines[1:] if len(row) == len(header)}
    wrong = [(number, f"{len(row)} fields where the header has {len(header)}") for number, row in lines[1:]
             if len(row) != len(header)]
    doubled = sorted({column for column in header if header.count(column) > 1})
    if doubled:
        raise UserError(f"{path} has the column(s) {', '.join(doubled)} more than once")
    missing = [column for column in columns if column not in header]
    if missing:
        hint = " (values separated by ';'? save it with commas)" if any(";" in name for name in header) else ""
        raise UserError(f"{path} lacks the column(s) {', '.join(missing)}; found {', '.join(header)}{hint}")
    return pd.DataFrame.from_dict(rows, orient="index", columns=header, dtype=str), wrong


def numbers(table: pd.DataFrame, column: str, low: float = -np.inf, high: float = np.inf) -> tuple[np.ndarray, list[Problem]]:
    """Return a column as numbers (N,) float64, NaN where it holds none, and what is wrong with it; low, high: what is refused."""
    import pandas as pd

    values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
    problems: list[Problem] = []
    for number, text, value in zip(table.index, table[column], values, strict=True):
        if not np.isfinite(value):
            problems.append((number, f"{column} {text!r} is not a finite number{_why(text, column)}"))
        elif not low <= value <= high:
            problems.append((number, f"{column} {text!r} is off every scale of opinions"))
    return values, problems


def _why(text: str, column: str) -> str:
    if text == column:
        return " (two tables in one file?)"
    return " (a decimal comma? wanted a point)" if _DECIMAL_COMMA.fullmatch(text) else ""


def refuse_rows(path: Path, problems: list[Problem]) -> None:
    """Raise UserError with all that is wrong with the rows of a table, where anything is."""
    if problems:
        shown = listed([f"line {number}: {wrong}" for number, wrong in sorted(problems, key=lambda problem: problem[0])])
        raise UserError(f"{path} has {len(problems)} bad row(s):\n{shown}\nMend them and run the same command again.")
