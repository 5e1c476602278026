"""Text in the cells of tables: what a spreadsheet would run as a formula gets an apostrophe in front, and loses it when read.

Numbers are written as they are, negative ones too. Of text that begins with apostrophes before such a start one more is
written, so that every text comes back exactly.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # the wide ones: in East Asian versions
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?( ± [\d.]+)?")


def neutral(text: str) -> str:
    """Return a text as it is written into a cell."""
    return f"'{text}" if _would_run(text) else text


def original(cell: str) -> str:
    """Return the text that a cell was written from."""
    return cell[1:] if cell.startswith("'") and _would_run(cell[1:]) else cell


def neutral_frame(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose texts, those of its index too, are as they are written into cells."""
    def cell(value: object) -> object:
        return neutral(value) if isinstance(value, str) else value

    texts = table.select_dtypes(exclude="number")
    return table.assign(**{name: texts[name].map(cell) for name in texts.columns}).rename(index=cell)


def _would_run(text: str) -> bool:
    start = text.lstrip("'")
    return start.startswith(_FORMULA) and not _NUMBER.fullmatch(start)
