"""From any picture to spheres: decoded, told apart, placed, and what is empty left out of what counts.

A file goes through here once, for its score, its map and its page alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from mmifn.core.defaults import AUTO, EQUIRECTANGULAR, MAX_MEGAPIXELS
from mmifn.core.errors import UserError
from mmifn.data.gpano import Crop, GPano, is_gain_map, read_gpano
from mmifn.data.images import MIN_HEIGHT_PX, check_header, decode, opaque_part, open_picture, upright_size
from mmifn.data.is_panorama import colour_note, examine
from mmifn.data.padding import fill, find_padding, reduced_mask, share_of_sphere
from mmifn.data.projections import Part, to_spheres
from mmifn.data.video import frame_at, read_clip

LEAST_HEIGHT_PX = 128  # of a sphere: what is measured for its words needs that much
_EMPTY = np.uint8(48)  # grey level at which an empty part is shown
_AT_ONCE_PX = 100e6  # larger pictures are reduced; a headset shows a twelfth of that
_LEAST_SHARE = 0.02  # of a sphere that a picture must cover


@dataclass(frozen=True)
class Sphere:
    """One sphere, ready to be looked at.

    erp: (H, 2H, 3) uint8, where it is empty filled from beside; covered: (h, 2h) bool where it has content, None for
    everywhere; notes: what a reader of the score must know; heading_deg: compass direction of the middle, where known.
    """

    erp: np.ndarray
    covered: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    heading_deg: float | None = None

    @property
    def shown(self) -> np.ndarray:
        """Return it as it is shown to people: (H, 2H, 3) uint8, dark where it is empty."""
        if self.covered is None:
            return self.erp
        height, width = self.erp.shape[:2]
        covered = cv2.resize(self.covered.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        return self.erp * covered[..., None] + _EMPTY * (1 - covered[..., None])

    @property
    def share(self) -> float:
        """Return how much of the sphere has content, 0..1."""
        return 1.0 if self.covered is None else share_of_sphere(self.covered)


def read_spheres(source: Path | bytes | BinaryIO | Image.Image, name: str, *, projection: str = AUTO,
                 max_megapixels: float = MAX_MEGAPIXELS) -> list[Sphere]:
    """Return the spheres of a picture, one for each of its parts (core.defaults.PARTS).

    Raises UserError for what cannot be read, is too large, or is no panorama.
    """
    with open_picture(source, name) as image:
        size = upright_size(image)
        told = read_gpano(image) if projection in (AUTO, EQUIRECTANGULAR) else GPano()
        if projection == AUTO:
            _refuse_told(image, told, name)
        _check_size(size, name, max_megapixels, projection, told)
        factor = _reduce_while_decoding(image)
        opaque = opaque_part(image)
        pixels = decode(image, name, flatten=opaque is not None)
    if factor > 1 and pixels.shape[1] == size[0]:
        small = (size[0] // factor, size[1] // factor)
        pixels = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
        opaque = None if opaque is None else cv2.resize(opaque.astype(np.uint8), small, interpolation=cv2.INTER_NEAREST) > 0
    return place(pixels, name, projection=projection, told=told, opaque=opaque)


def read_moment(path: Path, name: str, moment_s: float, *, projection: str = AUTO,
                max_megapixels: float = MAX_MEGAPIXELS) -> list[Sphere]:
    """Return the spheres of the frame of a clip that is shown at a time in seconds; see read_spheres."""
    clip = read_clip(path)
    if projection == AUTO and clip.other:
        raise UserError(f"{name}: the video says of itself that its projection is {clip.other}, which is not read. Convert it "
                        "with FFmpeg's v360 to equirectangular, or say what it is with --projection")
    pixels, notes = frame_at(path, moment_s)
    told = GPano(crop=clip.crop if projection in (AUTO, EQUIRECTANGULAR) else None)
    _check_size(pixels.shape[1::-1], name, max_megapixels, projection, told)
    return [replace(sphere, notes=(*notes, *sphere.notes)) for sphere in place(pixels, name, projection=projection, told=told)]


def _reduce_while_decoding(image: Image.Image) -> int:
    """Have a huge picture reduced as it is decoded, where its format can do that; return by how much it must become smaller."""
    factor = 1
    while image.width * image.height / factor ** 2 > _AT_ONCE_PX:
        factor *= 2
    if factor > 1 and image.format in ("JPEG", "MPO"):
        image.draft(image.mode, (image.width // factor, image.height // factor))
    return factor


def _refuse_told(image: Image.Image, told: GPano, name: str) -> None:
    """Refuse what a picture itself says that it is, where that is no panorama."""
    if told.projection not in ("", EQUIRECTANGULAR):
        raise UserError(f"{name} says of itself (GPano) that its projection is {told.projection!r}, which is not read. "
                        f"Convert it: ffmpeg -i IN -vf v360={told.projection}:e OUT. If it is one of another kind: --projection")
    if is_gain_map(image):
        raise UserError(f"{name} says of itself that it is the gain map of an HDR photograph, without the photograph; give the "
                        "photograph")


def _check_size(size: tuple[int, int], name: str, max_megapixels: float, projection: str, told: GPano) -> None:
    """Refuse sizes that are too large, too small, or of a shape that fits nothing."""
    plain = projection in (AUTO, EQUIRECTANGULAR)
    try:
        check_header(size, Path(name), max_megapixels, plain and told.crop is None,
                     LEAST_HEIGHT_PX if plain and told.crop is None else MIN_HEIGHT_PX)
    except UserError as error:
        hints = {1.0: "stereo-tb", 4.0: "stereo-lr", 1.5: "cubemap", 6.0: "cubemap", 4 / 3: "cubemap"}
        hint = next((value for shape, value in hints.items() if abs(size[0] / size[1] - shape) < 0.01 * shape), "")
        more = [told.stale] if told.stale else []
        more += [f"or, if it is that, --projection {hint}"] if hint and plain and "2:1" in str(error) else []
        raise UserError("; ".join([str(error), *more])) from error
    if told.crop:
        width = round(size[0] / told.crop.width)
        if width * width / 2 > max_megapixels * 1e6:
            raise UserError(f"{name} is a crop of a sphere of {width}x{width // 2} ({width * width / 2e6:.0f} megapixels), the "
                            f"limit is {max_megapixels:g}; raise it with --max-megapixels if you have the memory")


def place(pixels: np.ndarray, name: str = "the image", *, projection: str = AUTO, told: GPano | None = None,
          opaque: np.ndarray | None = None) -> list[Sphere]:
    """Return the spheres of decoded pixels (H, W, 3) uint8.

    told: what the file says of itself; opaque: (H, W) bool, where it is not transparent, None for everywhere.
    """
    told = told or GPano()
    notes = [told.stale + "; they are not used"] if told.stale else []
    if told.crop:
        return [_finished(_on_canvas(pixels, told.crop, opaque), name, notes, told)]
    parts = to_spheres(pixels, projection, name)
    if opaque is not None and projection in (AUTO, EQUIRECTANGULAR):
        parts = [Part(pixels, opaque)]
    return [_finished(part, name, notes, told, automatic=projection == AUTO) for part in parts]


def _on_canvas(pixels: np.ndarray, crop: Crop, opaque: np.ndarray | None) -> Part:
    """Return the whole sphere of which a picture is a crop."""
    height, width = pixels.shape[:2]
    side = max(1, round(width / crop.width / 2))
    canvas, covered = np.zeros((side, 2 * side, 3), np.uint8), np.zeros((side, 2 * side), bool)
    top = min(round(crop.top * side), max(side - height, 0))
    columns = (round(crop.left * 2 * side) + np.arange(width)) % (2 * side)  # a crop may go on across the seam
    canvas[top:top + height, columns] = pixels[:side - top]
    covered[top:top + height, columns] = True if opaque is None else opaque[:side - top]
    return Part(canvas, covered)


def _finished(part: Part, name: str, notes: list[str], told: GPano, automatic: bool = False) -> Sphere:
    """Return a sphere whose empty part is known, filled and told; automatic: refuse or doubt what is no panorama."""
    height, width = part.pixels.shape[:2]
    if height < LEAST_HEIGHT_PX:
        raise UserError(f"{name} makes a panorama of {width}x{height}; at least {2 * LEAST_HEIGHT_PX}x{LEAST_HEIGHT_PX} is "
                        "needed")
    empty: tuple[str, ...] = ()
    covered = None if part.covered is None else reduced_mask(part.covered)
    notes = [*notes]
    if covered is None and (padding := find_padding(part.pixels)):
        covered, empty = padding.covered, padding.found
    if automatic:
        notes += examine(part.pixels, name, covered)
    sphere = Sphere(part.pixels, covered, tuple(notes + colour_note(part.pixels)), told.heading_deg)
    if covered is None or covered.all():
        return replace(sphere, covered=None)
    if sphere.share < _LEAST_SHARE:
        raise UserError(f"{name} covers {100 * sphere.share:.1f} % of its sphere; at least {100 * _LEAST_SHARE:g} % are needed")
    what = f" ({', '.join(empty)})" if empty else ""
    told_share = f"{100 * sphere.share:.0f} % of the sphere have content{what}; the rest is left out of score and map"
    return replace(sphere, erp=fill(part.pixels, covered), notes=(told_share, *sphere.notes))
