"""Clips: single frames of a video, and what its container says of the sphere (spherical video boxes, versions 1 and 2).

FFmpeg (PyAV) decodes; it is imported when a clip is read.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mmifn.core.defaults import AUTO
from mmifn.core.errors import UserError
from mmifn.data.formats import VIDEO_EXTENSIONS
from mmifn.data.gpano import Crop

_STEREO = {0: AUTO, 1: "stereo-tb", 2: "stereo-lr"}  # the box st3d
_STEREO_NAMES = {"mono": AUTO, "top-bottom": "stereo-tb", "left-right": "stereo-lr"}  # GSpherical:StereoMode
_PROJECTIONS = {b"cbmp": "cubemap", b"mshp": "a mesh"}  # boxes below sv3d, beside that of equirectangular ones
_MOST_HEADER_BYTES = 256_000_000
_HD_ROWS = 720  # from which a clip that does not tell is of ITU-R BT.709, below of BT.601
_HDR_TRANSFERS = (16, 18)  # PQ and HLG (ITU-T H.273)


@dataclass(frozen=True)
class Clip:
    """What a clip is: its length in seconds, and what its container says of the sphere.

    projection: of core.defaults.PROJECTIONS; other: a projection that is not read, in words; crop: the part of the sphere.
    """

    duration_s: float
    projection: str = AUTO
    other: str = ""
    crop: Crop | None = None

    def moments(self, every_s: float) -> list[float]:
        """Return the times to look at, in seconds: the first frame, and one every so often."""
        return [round(step * every_s, 3) for step in range(max(1, int(np.ceil(self.duration_s / every_s - 1e-9))))]


def is_clip(path: Path) -> bool:
    """Tell by its name whether a file is a video."""
    return path.suffix.lower() in VIDEO_EXTENSIONS


def read_clip(path: Path) -> Clip:
    """Return what a clip is. Raises UserError where it cannot be read."""
    def length(container: Any, stream: Any) -> float:
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        return float(container.duration or 0) / 1e6

    seconds = _opened(path, length)
    with open(path, "rb") as file:
        header = _movie_box(file)
    projection, other, crop = spherical(header)
    return Clip(float(seconds), projection, other, crop)


def frame_at(path: Path, moment_s: float) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the frame that is shown at a time in seconds, (H, W, 3) uint8, and what must be known of it.

    Raises UserError where the clip cannot be read, or is shorter.
    """
    def find(container: Any, stream: Any) -> Any:
        first = stream.start_time or 0
        container.seek(first + int(moment_s / stream.time_base), stream=stream, backward=True)
        shown = None
        for frame in container.decode(stream):
            if shown is not None and frame.pts is not None and float((frame.pts - first) * stream.time_base) > moment_s + 1e-6:
                break
            shown = frame
        return shown

    frame = _opened(path, find)
    if frame is None:
        raise UserError(f"{path} has no frame at {moment_s:g} s; it may be cut off")
    untold = int(frame.colorspace) == 2  # unspecified (ITU-T H.273)
    source = {"src_colorspace": "ITU709"} if untold and frame.height >= _HD_ROWS else {}
    notes = ("it is a video of high dynamic range (PQ or HLG), which is read without a tone curve",) if int(
        frame.color_trc) in _HDR_TRANSFERS else ()
    return np.asarray(frame.reformat(format="rgb24", **source).to_ndarray()), notes


def _opened(path: Path, use: Any) -> Any:
    """Return what `use` makes of a clip's container and its first stream of pictures."""
    try:
        import av
    except ImportError as error:
        raise UserError(f"{path} is a video, which takes the package av to read: pip install av") from error
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    try:
        with av.open(str(path), metadata_errors="replace") as container:  # titles are in any encoding
            if not container.streams.video:
                raise UserError(f"{path} holds no pictures, only other streams")
            return use(container, container.streams.video[0])
    except av.error.FFmpegError as error:
        raise UserError(f"{path} is not a video that can be read, or is damaged ({error.strerror}); replace the file") from error


def _movie_box(file: BinaryIO) -> bytes:
    """Return the box moov of an MP4, which describes its tracks; nothing where there is none."""
    end = file.seek(0, 2)
    file.seek(0)
    while len(head := file.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        if size == 1:
            size = struct.unpack(">Q", file.read(8).rjust(8, b"\0"))[0] - 8
        if kind == b"moov":
            return file.read(min(size - 8, _MOST_HEADER_BYTES)) if size >= 8 else b""
        if not 8 <= size <= end:
            break
        file.seek(size - 8, 1)
    return b""


def spherical(header: bytes) -> tuple[str, str, Crop | None]:
    """Return what the boxes of a track say: the projection, another one in words, and the part of the sphere."""
    projection, other, crop = AUTO, "", None
    text = re.search(rb"<rdf:SphericalVideo.*?</rdf:SphericalVideo>", header, re.DOTALL)
    if text:  # version 1: XML
        tags = dict(re.findall(r"<GSpherical:(\w+)>\s*([^<]*?)\s*</", text[0].decode("utf-8", "replace")))
        projection = _STEREO_NAMES.get(tags.get("StereoMode", "mono").lower(), AUTO)
        told = tags.get("ProjectionType", "equirectangular").lower()
        other = "" if told == "equirectangular" else told
    at = header.find(b"st3d")  # version 2: boxes
    if at >= 0 and len(header) > at + 8:
        projection = _STEREO.get(header[at + 8], AUTO)
    at = header.find(b"sv3d")
    if at >= 0:
        inside = header[at:at + 4096]
        other = next((name for box, name in _PROJECTIONS.items() if box in inside), "")
        equi = inside.find(b"equi")
        if equi >= 0 and len(inside) >= equi + 24:
            top, bottom, left, right = (value / 2**32 for value in struct.unpack(">4I", inside[equi + 8:equi + 24]))
            if max(top, bottom, left, right) > 0 and top + bottom < 1 and left + right < 1:
                crop = Crop(left, top, 1 - left - right, 1 - top - bottom)
    return projection, other, crop
