"""What C libraries print past Python (libtiff, OpenCV), kept off the screen: it would break progress bars, and names no file."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator

_THEIRS = re.compile(rb"[^\r\n]*\.|\[ ?(WARN|ERROR)[^\r\n]*")  # libtiff ends every line in a full stop
_PILLOWS = "tempfile.tif: "  # what Pillow calls every file that libtiff decodes
_LONGEST = 200
_one_at_a_time = threading.Lock()  # file descriptor 2 is one for all threads


@contextlib.contextmanager
def held_back(lines: list[str]) -> Iterator[None]:
    """Add to `lines` what C libraries write to file descriptor 2 meanwhile; what others write there is shown when it ends."""
    with _one_at_a_time, tempfile.TemporaryFile() as file:
        try:
            kept = os.dup(2)
        except OSError:  # there is no standard error
            yield
            return
        _flush()
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            _sort(file.read(), lines)


def _flush() -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()


def _sort(written: bytes, lines: list[str]) -> None:
    """Add the lines of C libraries to `lines`, each once, and write the rest."""
    for line in written.splitlines(keepends=True):
        if not _THEIRS.fullmatch(line.rstrip(b"\n")):
            with contextlib.suppress(OSError):
                os.write(2, line)
        elif (text := line.decode("utf-8", "replace").strip().removeprefix(_PILLOWS)[:_LONGEST]) not in lines:
            lines.append(text)
