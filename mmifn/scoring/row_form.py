"""What the rows of a kind of results hold, so that a file of them is known again and a damaged row is told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STAMP = ("image_bytes", "image_modified_us")  # of the file, by which a run that goes on knows it; not in earlier files


@dataclass(frozen=True)
class RowForm:
    """required: the fields of every row; texts: fields that are texts; kinds: the types of required ones that are none."""

    required: tuple[str, ...]
    texts: tuple[str, ...]
    kinds: Mapping[str, tuple[type, ...]]

    def fault(self, row: Mapping[str, Any]) -> str:
        """Return what of a row is not as rows are, "" where nothing is; lists are not looked into."""
        if "image" in row and not isinstance(row["image"], str):
            return f"image is {row['image']!r}"
        if "score" not in row:
            return "" if isinstance(row.get("error"), str) else "neither a score nor an error"
        for name in self.required:
            value, wanted = row[name], self.kinds.get(name, str)
            infinite = isinstance(value, float) and not math.isfinite(value)
            if infinite or isinstance(value, bool) or not isinstance(value, wanted):
                return f"{row['image']}: {name} is {str(value)[:60]!r}"
        return ""
