"""JSON as its standard has it, from files that anybody may have written."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


def parse_json(text: str | bytes) -> Any:
    """Return what a JSON text holds.

    Raises ValueError where it is none, is not UTF-8, is nested too deep, or holds numbers that are not finite.
    """
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


_MOST_DIGITS = 300  # beyond, a whole number is no float either


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is no number of JSON")


def _whole(digits: str) -> int:
    return int(digits) if len(digits) <= _MOST_DIGITS else _refuse(digits[:20] + "…")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        _refuse(digits[:20])
    return value


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite, parse_int=_whole)  # made once: a table has many cells
