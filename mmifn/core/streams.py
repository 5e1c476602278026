"""Standard output and error as the system gives them: closed, of an encoding that lacks letters, or with nobody reading."""

from __future__ import annotations

import io
import json
import os
import select
import signal
import sys
from collections.abc import Mapping
from typing import Any, TextIO

_LETTERS = "utf"  # encodings that have them all


def make_usable() -> None:
    """Let a closed stream swallow what is written, and show letters that a stream's encoding lacks as escapes."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (for the rest of the process)
        elif isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def json_line(row: Mapping[str, Any]) -> str:
    """Return a row as JSON for standard output, with escapes of its own where the encoding there lacks letters."""
    return json.dumps(row, ensure_ascii=not sys.stdout.encoding.lower().startswith(_LETTERS), allow_nan=False)


def reader_gone() -> bool:
    """Tell whether nobody reads standard output or error any more, as after `| head`; the rest for it is dropped then."""
    return any([_gone(stream) for stream in (sys.stdout, sys.stderr)])  # both are looked at


def _gone(stream: TextIO) -> bool:
    """Tell whether a stream's reader is gone, and let the stream swallow the rest then."""
    if not hasattr(select, "poll"):  # Windows
        return False
    end = select.poll()
    try:
        end.register(stream.fileno(), 0)  # errors alone are told
    except OSError:  # of a program that took its place, which is no file
        return False
    if not any(event & select.POLLERR for _, event in end.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return True


READER_GONE = 128 + getattr(signal, "SIGPIPE", 13)  # the exit code that shells expect then
