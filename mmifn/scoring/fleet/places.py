"""Files that are here or anywhere that pyarrow or fsspec reaches (s3://, gs://, abfs://, …); credentials are their affair."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from mmifn.core.errors import UserError, first_line
from mmifn.core.files import Stamp, atomic_path

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


def is_remote(place: str) -> bool:
    """Tell whether a place is an address, not a path of this machine."""
    return "://" in place and not place.startswith("file://")


def local_path(place: str) -> Path:
    """Return the path of a place on this machine, which may be written as file://…"""
    return Path(unquote(urlsplit(place).path) if place.startswith("file://") else place)


def filesystem_of(place: str) -> tuple[FileSystem, str]:
    """Return the file system of a place and the path in it; raises UserError where nothing knows such addresses."""
    from pyarrow import ArrowException
    from pyarrow.fs import FileSystem, FSSpecHandler, LocalFileSystem, PyFileSystem

    if not is_remote(place):
        return LocalFileSystem(), os.path.abspath(local_path(place))
    with contextlib.suppress(ArrowException):
        return FileSystem.from_uri(place)
    try:
        from fsspec.core import url_to_fs

        remote, path = url_to_fs(place)
    except Exception as error:  # whatever a plug-in of fsspec raises: a missing package, an address that is none
        raise UserError(f"{place} cannot be reached ({first_line(error)}); neither pyarrow nor fsspec opens such addresses "
                        "here (s3:// and gs:// need nothing more, others a package such as adlfs)") from error
    return PyFileSystem(FSSpecHandler(remote)), path


@contextlib.contextmanager
def local_copy(place: str) -> Iterator[tuple[Path, Stamp | None]]:
    """Yield a file of this machine with what is at a place, and the place's stamp; a copy of a remote one goes again.

    Raises UserError where it cannot be fetched. A local file is yielded as it is, its stamp as None.
    """
    if not is_remote(place):
        yield local_path(place), None
        return
    suffix = PurePosixPath(urlsplit(place).path).suffix
    with tempfile.TemporaryDirectory(prefix="mmifn-") as folder:
        copy = Path(folder) / f"picture{suffix}"
        try:
            files, path = filesystem_of(place)
            with files.open_input_stream(path) as source, open(copy, "wb") as target:
                shutil.copyfileobj(source, target, 2**20)
            found = files.get_file_info(path)
        except UserError:
            raise
        except Exception as error:  # of any file system and its libraries
            raise UserError(f"{place} could not be fetched ({first_line(error)})") from error
        yield copy, Stamp(found.size or copy.stat().st_size, (found.mtime_ns or 0) // 1000)


@contextlib.contextmanager
def written(place: str) -> Iterator[BinaryIO]:
    """Yield a stream for what is to be at a place: whole, or not at all where what writes it fails."""
    if is_remote(place):
        files, path = filesystem_of(place)
        with tempfile.TemporaryFile() as stream:
            yield stream
            stream.seek(0)
            files.create_dir(path.rpartition("/")[0], recursive=True)
            with files.open_output_stream(path) as target:
                shutil.copyfileobj(stream, target, 2**20)
        return
    with atomic_path(local_path(place)) as temporary, open(temporary, "wb") as stream:
        yield stream


def inside(place: str, *names: str) -> str:
    """Return a place below another."""
    return "/".join([place.rstrip("/"), *names])
