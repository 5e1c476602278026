"""Atomic writes, and hashes of files and values."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mmifn.core.errors import UserError

# Hosts may share a workspace but not the numbers of their processes.
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]


# The second form is that of folders which earlier versions made for links.
_LEFTOVER = re.compile(r"\..*\.([0-9a-f]{8})-(\d+)-\w+\.tmp(\.\w+)?|\.link\.\w+", re.DOTALL)
_open: set[str] = set()  # temporary files of this very process: in a container every run may have the same number


@contextlib.contextmanager
def atomic_path(path: Path, through_link: bool = True, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on any failure it is removed.

    through_link: where `path` is a symbolic link, what it points to is replaced, not the link. The temporary may itself be
    made a link. durable: name and content are on the disk itself when this ends, so that a loss of power cannot take them;
    for what is not made again cheaply. Raises OSError that names `path`, not the temporary, where a disk is full or cannot be
    written, and UserError where `path` is a folder, a device or a pipe.
    """
    path = Path(path)
    if through_link and path.is_symlink():
        path = Path(os.path.realpath(path))
    temporary = None
    try:
        if kind := special_kind(path):  # a file would take the place of a device
            raise UserError(f"{path} is {kind}, not a file; remove it, or name another file")
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, path)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:40]}.{_HOST}-{os.getpid()}-", suffix=f".tmp{path.suffix}",
                                        dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        _open.add(temporary.name)
        yield temporary
        if not temporary.is_symlink():
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
        if durable:
            _bring_to_disk(temporary)
        os.replace(temporary, path)
        if durable:
            _bring_to_disk(path.parent)
    except OSError as error:
        raise _naming(path, error, temporary) from error
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)
            _open.discard(temporary.name)


def _bring_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk; where a file system cannot tell, go on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def _naming(path: Path, error: OSError, temporary: Path | None) -> OSError:
    """Return the error with the name of the file that was to be written, where it is that file which could not be."""
    ours = {str(temporary), temporary}
    about_space = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    named = error.filename is None or error.filename in ours or error.filename2 in ours
    if error.errno is None or not (temporary is None or about_space or named):
        return error
    return OSError(error.errno, error.strerror, str(path))


def special_kind(path: Path) -> str:
    """Return what is at a path where it is no ordinary file ("a folder", "a device", …), or "" where it is one or nothing."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ""
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFIFO: "a pipe",
             stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "")


def is_leftover(name: str) -> bool:
    """Tell whether a file of this name is a temporary one of atomic_path, of whatever process."""
    return _LEFTOVER.fullmatch(name) is not None


def holds_nothing(folder: Path) -> bool:
    """Tell whether a folder is not there, or holds only what dead runs left half-written, which is removed."""
    if not folder.exists():
        return True
    remove_leftovers(folder)
    return all(is_leftover(name) for name in os.listdir(folder))


def remove_leftovers(folder: Path, path: Path | None = None) -> None:
    """Remove temporary files of atomic_path in a folder, or those of `path` alone, that dead runs of this host left there."""
    start = f".{path.stem[:40]}." if path else "."
    for name in os.listdir(folder) if folder.is_dir() else []:
        match = _LEFTOVER.fullmatch(name) if name.startswith(start) else None
        if match and match[1] is None:
            shutil.rmtree(folder / name, ignore_errors=True)
        elif match and match[1] == _HOST and name not in _open and (int(match[2]) == os.getpid() or not _alive(int(match[2]))):
            (folder / name).unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 in one atomic step."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


class Stamp(NamedTuple):
    """What tells without reading it that a file is still the same: its length, and when it was last modified (UTC)."""

    bytes: int
    modified_us: int


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of a file, or None where there is no such file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return Stamp(found.st_size, found.st_mtime_ns // 1000) if stat.S_ISREG(found.st_mode) else None


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """Return the SHA-256 of the UTF-8 bytes of `text`."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def sha256_number(text: str) -> int:
    """Return the first eight bytes of the SHA-256 of `text` as a number: the same on every machine and in every run."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big")


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of a JSON-serialisable value, independent of the order of its keys."""
    return sha256_text(json.dumps(value, sort_keys=True, ensure_ascii=False))
