"""Outputs that a user names, looked at before any work: nothing that is read, and nothing but a file, is written over.

Files are told apart by what they are (device and number on it), not by their names: links and other paths do not hide one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from mmifn.core.errors import UserError
from mmifn.core.files import special_kind

_Identity = tuple[int, int, str]


def check_outputs(files: Mapping[str, Path | None], inputs: Iterable[Path | None] = (),
                  folders: Mapping[str, Path | None] | None = None) -> None:
    """Raise UserError for outputs that cannot be written, or that would take the place of something else.

    files, folders: what a user calls each, such as "--csv" -> where it goes (None: not wanted); inputs: all that is read.
    """
    wanted = {f"{flag} {path}".strip(): Path(path) for flag, path in files.items() if path is not None}
    places = {f"{flag} {path}".strip(): Path(path) for flag, path in (folders or {}).items() if path is not None}
    for name, path in wanted.items():
        _check_place(name, path, folder=False)
    for name, path in places.items():
        _check_place(name, path, folder=True)
    _refuse_doubles({**wanted, **places})
    there = {_identity(path): name for name, path in wanted.items() if path.exists()}
    for given in inputs if there else ():
        if given is not None and (identity := _identity_of_file(given)) and (taken := there.get(identity)):
            raise UserError(f"{taken} is what is read as {given}, which would be overwritten; name another file")


def refuse_foreign(name: str, path: Path | None, start: bytes, kind: str) -> None:
    """Raise UserError where there is a file at a path that does not begin as ours do, such as a page; an empty one may go."""
    if path is None or not path.is_file():
        return
    with open(path, "rb") as file:
        found = file.read(len(start))
    if found and found.lower() != start.lower():
        raise UserError(f"{name} {path} is there and is no {kind}; name another file, or remove it")


def _check_place(name: str, path: Path, folder: bool) -> None:
    """Refuse a place at which no file (or no folder) can be written."""
    if path.exists():
        kind = special_kind(path) or "a file"
        if kind != ("a folder" if folder else "a file"):
            raise UserError(f"{name} is {kind}, not {'a folder' if folder else 'a file'}; name another one")
        if not os.access(path, os.W_OK):
            raise UserError(f"{name} may not be written; name another one, or give yourself the permission")
    nearest = Path(os.path.realpath(path)).parent
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise UserError(f"{name} cannot be written: {nearest} is {special_kind(nearest) or 'a file'}, not a folder")
    if not os.access(nearest, os.W_OK | os.X_OK) and not (folder and path.exists()):
        raise UserError(f"{name} cannot be written: the folder {nearest} does not allow it; name another one, or give yourself "
                        "the permission")


def _refuse_doubles(outputs: dict[str, Path]) -> None:
    known: dict[_Identity, str] = {}
    for name, path in outputs.items():
        first = known.setdefault(_identity(path), name)
        if first != name:
            raise UserError(f"{first} and {name} are one and the same; give each a place of its own")


def _identity_of_file(path: Path) -> _Identity | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, ""


def _identity(path: Path) -> _Identity:
    """Identify what is at a path, or where there is nothing yet: the folder that it will be in, and its name."""
    path = Path(os.path.realpath(path))
    missing: list[str] = []
    while True:
        try:
            found = path.stat()
        except OSError:
            if path == path.parent:
                return -1, -1, "/".join(missing)
            missing.insert(0, path.name)
            path = path.parent
        else:
            return found.st_dev, found.st_ino, "/".join(missing)
