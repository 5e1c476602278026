"""Stops by Ctrl-C and SIGTERM: one line at once, no traceback, and the exit code that shells expect."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import TracebackType

STOPPING = "stopping …; run the same command again to continue"


class Stopped(KeyboardInterrupt):
    """Raised by a signal that asks to stop, after it was answered on stderr; `code` is the exit code that belongs to it."""

    def __init__(self, number: int) -> None:
        super().__init__(STOPPING)
        self.code = 128 + number


@contextlib.contextmanager
def answered_signals() -> Iterator[None]:
    """Answer Ctrl-C and SIGTERM with a line and raise Stopped; in threads other than the main one nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        _say()
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _say() -> None:
    """Write the line past Python's buffers, which the signal may have interrupted in the middle of a line."""
    with contextlib.suppress(OSError):
        os.write(2, f"\n{STOPPING}\n".encode())


def _end(number: int, frame: object) -> None:
    """End at once: nothing has begun that would have to be left in order."""
    _say()
    os._exit(128 + number)


def stop_quietly() -> None:
    """Let Ctrl-C and SIGTERM before a script's main has begun, while modules are imported, end in a line without a traceback."""
    before = sys.excepthook
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end)

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            _say()
        else:
            before(kind, error, trace)

    sys.excepthook = hook
