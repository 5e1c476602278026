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
        value, end = _DECODER.raw_decode(text, len(text) - len(text.lstrip(_SPACE)))
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if end < len(text) and text[end:].strip(_SPACE):
        raise json.JSONDecodeError("Extra data", text, end)
    return value


_SPACE = " \t\n\r"  # of JSON, which knows no other; `decode` looks for it with expressions, which takes longer than a number
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
