"""Download a weights file: complete or not at all."""

from __future__ import annotations

import http.client
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

from mmifn.core.errors import UserError
from mmifn.core.files import atomic_path
from mmifn.core.progress import Progress
from mmifn.encoders.published import DownloadFailed

PIECE_BYTES = 1 << 20


def download(url: str, path: Path, *, min_bytes: int = 1, timeout_s: float = 30.0) -> Path:
    """Fetch `url` to `path` unless it is there; return `path`. Progress is shown on stderr.

    The file appears in one step, once all of the announced bytes have come; a failure leaves nothing behind.
    min_bytes: the least size that can be right. timeout_s: of silence on the connection.
    Raises DownloadFailed, naming the file to fetch by hand, where the download fails or is of another size.
    """
    if path.is_file():
        return path
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as response, atomic_path(path) as temporary:
            _check_space(response, path)
            with temporary.open("wb") as file:
                _copy(response, file, path.name)
            _check_size(response, temporary.stat().st_size, min_bytes)
    except FAILURES as error:
        raise DownloadFailed(f"could not download {url}\n  to {path}: {error}\n"
                        "Run the same command again, or fetch the file another way and give its path as the "
                        "weights file.") from error
    return path


class _Incomplete(Exception):
    """The download has another size than announced, or one that cannot be right."""


FAILURES = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, _Incomplete)


def _announced(response: http.client.HTTPResponse) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _check_space(response: http.client.HTTPResponse, path: Path) -> None:
    free, needed = shutil.disk_usage(path.parent).free, _announced(response) or 0
    if needed > free:
        raise UserError(f"{path.parent} has {free / 1e6:.0f} MB free, {path.name} needs {needed / 1e6:.0f}; "
                        "choose another cache folder")


def _copy(response: http.client.HTTPResponse, file: BinaryIO, label: str) -> None:
    with Progress(total=_announced(response), unit="B", unit_scale=True, desc=label) as bar:
        while piece := response.read(PIECE_BYTES):
            file.write(piece)
            bar.update(len(piece))


def _check_size(response: http.client.HTTPResponse, size: int, min_bytes: int) -> None:
    announced = _announced(response)
    if announced is not None and size != announced:
        raise _Incomplete(f"{size} of {announced} bytes came")
    if size < min_bytes:
        raise _Incomplete(f"{size} bytes cannot be these weights, which take at least {min_bytes}")
