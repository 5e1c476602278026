"""Text of unknown origin made safe to show and to write: names of files may hold any bytes."""

from __future__ import annotations

import re
import unicodedata

_UNSAFE = ("Cc", "Cs")  # control characters (which drive terminals and end rows of tables), bytes that are not UTF-8


def printable(text: str, keep: str = "") -> str:
    r"""Return text with control characters and undecodable bytes as escapes (\r, \x1b, \xff), but for those to keep."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(char) if char not in keep and unicodedata.category(char) in _UNSAFE else char for char in text)


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte of a file's name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")


def matched(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    """Return the match of the whole text, which is known to match."""
    match = pattern.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} does not match {pattern.pattern!r}")
    return match
