"""Files that grow line by line, each written by one run at a time.

The lock is an advisory one on the file itself, not on its name: links and other paths to it lead to the same lock, and it
ends with the process that holds it, however that ends. Where a file system knows no locks, none is taken.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from mmifn.core.errors import UserError
from mmifn.core.files import atomic_path, special_kind

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)  # of some network file systems


class LockedFile:
    """A file that this run alone writes, from `open_locked` until `close`."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path, self._handle = path, handle

    def read(self) -> bytes:
        """Return all that is in it."""
        with open(self._handle, "rb", closefd=False) as file:
            file.seek(0)
            return file.read()

    def append(self, text: str) -> None:
        """Add text at its end, on its way to the disk when this returns."""
        data = memoryview(text.encode("utf-8"))
        while data:
            try:
                data = data[os.write(self._handle, data):]
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(self.path)) from error

    def truncate(self, size: int) -> None:
        """Cut off all behind `size` bytes."""
        os.ftruncate(self._handle, size)

    def reader(self, start: int = 0) -> BinaryIO:
        """Open it for reading, from a byte on."""
        file = open(self.path, "rb")  # noqa: SIM115 (the caller closes it)
        file.seek(start)
        return file

    def replace(self, text: str) -> None:
        """Put text in the place of all that is in it, whole or not at all; the lock goes over to the new file."""
        self.rewrite([text.encode("utf-8")])

    def rewrite(self, parts: Iterable[bytes]) -> None:
        """Do as `replace` with a content that comes part by part, and may be read from the old one meanwhile."""
        with atomic_path(self.path) as temporary:
            with open(temporary, "wb") as file:
                file.writelines(parts)
            handle = _opened(temporary)
            _lock(handle)
        os.close(self._handle)
        self._handle = handle

    def close(self) -> None:
        """Bring it to the disk, so that a loss of power cannot take it, and let the next run have it."""
        if self._handle >= 0:
            with contextlib.suppress(OSError):  # of file systems that cannot tell
                os.fsync(self._handle)
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> LockedFile:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def open_locked(path: Path) -> LockedFile:
    """Open a file for this run alone, making it where it is not there.

    Raises UserError where another run has it, or where it is no file.
    """
    path = Path(os.path.realpath(path))
    if kind := special_kind(path):
        raise UserError(f"{path} is {kind}, not a file; name a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = _opened(path)
        if not _lock(handle):
            os.close(handle)
            raise UserError(f"{path} is being written by another run, whose rows would be lost; wait until that has ended, or "
                            "name another file")
        if _is_at(handle, path):
            return LockedFile(path, handle)
        os.close(handle)  # another run has put a new file in its place meanwhile


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
