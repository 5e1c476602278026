"""Pictures of a sphere that are no equirectangular panoramas, made into some: two lenses, two eyes, six faces of a cube."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from mmifn.core.defaults import AUTO, EQUIRECTANGULAR
from mmifn.core.errors import UserError
from mmifn.data.images import ASPECT_TOLERANCE
from mmifn.sphere import erp_directions

LENS_FOV_DEG = 190.0  # of each lens of a camera with two, where nobody knows better; theirs are from 180 to 210
_BAND = 256  # rows made at a time


@dataclass(frozen=True)
class Part:
    """One sphere of a picture: pixels (H, 2H, 3) uint8, and where it has content, (H, 2H) bool or None for everywhere."""

    pixels: np.ndarray
    covered: np.ndarray | None = None


def to_spheres(picture: np.ndarray, projection: str, name: str) -> list[Part]:
    """Return the spheres of a picture (H, W, 3) uint8 as equirectangular panoramas, one for each part (core.defaults.PARTS).

    Raises UserError for a picture whose shape does not fit the projection.
    """
    if projection in (AUTO, EQUIRECTANGULAR):
        return [Part(picture)]
    shapes = _SHAPES[projection]
    height, width = picture.shape[:2]
    fits = [shape for shape in shapes if abs(width / height - shape) <= ASPECT_TOLERANCE * shape]
    if not fits:
        raise UserError(f"{name} is {width}x{height} (aspect {width / height:.3f}); --projection {projection} wants an aspect of "
                        + " or ".join(f"{shape:.4g}" for shape in shapes))
    return _MAKERS[projection](picture)


def _two_lenses(picture: np.ndarray) -> list[Part]:
    """The right circle looks ahead, the left one behind, as FFmpeg has it; equidistant lenses (radius as the angle)."""
    side = len(picture)
    radius = side / 2

    def where(rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ahead = rays[..., 2] >= 0
        x = np.where(ahead, rays[..., 0], -rays[..., 0])
        angle = np.arccos(np.clip(np.abs(rays[..., 2]), 0, 1))
        reach = angle / np.radians(LENS_FOV_DEG / 2) * radius / np.maximum(np.hypot(x, rays[..., 1]), 1e-9)
        return radius + x * reach + np.where(ahead, picture.shape[1] - side, 0), radius - rays[..., 1] * reach

    return [Part(_resampled(picture, side, where))]


# Of each layout, columns x rows, its aspect and the faces row by row: which way a face looks, and which way its right side
# and its upper side point, as (x, y, z) with x right, y up, z ahead.
_FACES = {"right": ((1, 0, 0), (0, 0, -1), (0, 1, 0)), "left": ((-1, 0, 0), (0, 0, 1), (0, 1, 0)),
          "up": ((0, 1, 0), (1, 0, 0), (0, 0, -1)), "down": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
          "front": ((0, 0, 1), (1, 0, 0), (0, 1, 0)), "back": ((0, 0, -1), (-1, 0, 0), (0, 1, 0))}
_LAYOUTS = {(3, 2): {face: (k % 3, k // 3) for k, face in enumerate(_FACES)}, (6, 1): {f: (k, 0) for k, f in enumerate(_FACES)},
            (1, 6): {face: (0, k) for k, face in enumerate(_FACES)},
            (4, 3): {"up": (1, 0), "left": (0, 1), "front": (1, 1), "right": (2, 1), "back": (3, 1), "down": (1, 2)}}


def _cube(picture: np.ndarray) -> list[Part]:
    """Six faces in a layout that the aspect tells: 3x2, 6x1 and 1x6 as FFmpeg orders them, or a cross of 4x3."""
    columns, rows = min(_LAYOUTS, key=lambda layout: abs(layout[0] / layout[1] - picture.shape[1] / picture.shape[0]))
    side = len(picture) / rows
    order = list(_FACES)
    frames = np.array([_FACES[face] for face in order], np.float64)
    places = np.array([_LAYOUTS[columns, rows][face] for face in order]) * side

    def where(rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nearest = np.argmax(rays @ frames[:, 0].T, axis=-1)
        frame = frames[nearest]
        depth, right, up = (np.einsum("...i,...i->...", rays, frame[..., k, :]) for k in range(3))
        inside = [np.clip((1 + sign * part / depth) / 2 * side, 0.5, side - 0.5) for sign, part in ((1, right), (-1, up))]
        return places[nearest, 0] + inside[0], places[nearest, 1] + inside[1]

    return [Part(_resampled(picture, round(2 * side), where))]


def _resampled(picture: np.ndarray, height: int, where: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return the panorama (height, 2 height, 3) whose every ray has the colour of a place (x, y) in the picture."""
    result = np.empty((height, 2 * height, 3), np.uint8)
    rays = erp_directions(height, 2 * height).numpy()
    for start in range(0, height, _BAND):
        x, y = where(rays[start:start + _BAND])
        result[start:start + _BAND] = cv2.remap(picture, (x - 0.5).astype(np.float32), (y - 0.5).astype(np.float32),
                                                cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return result


def _eyes(picture: np.ndarray, above: bool) -> list[np.ndarray]:
    height, width = picture.shape[:2]
    if above:
        return [picture[:height // 2], picture[height - height // 2:]]
    return [picture[:, :width // 2], picture[:, width - width // 2:]]


def _stereo(above: bool) -> Callable[[np.ndarray], list[Part]]:
    """Each half is a whole sphere; a squeezed one is drawn to 2:1 again, as players do it."""
    def make(picture: np.ndarray) -> list[Part]:
        parts = []
        for eye in _eyes(picture, above):
            height = max(len(eye), eye.shape[1] // 2)
            parts.append(Part(np.ascontiguousarray(eye) if eye.shape[1] == 2 * len(eye) else
                              cv2.resize(eye, (2 * height, height), interpolation=cv2.INTER_CUBIC)))
        return parts

    return make


def _half_spheres(picture: np.ndarray) -> list[Part]:
    """Each half is half of a sphere, 180° wide; the rest stays empty."""
    parts = []
    for eye in _eyes(picture, above=False):
        side = len(eye)
        pixels, covered = np.zeros((side, 2 * side, 3), np.uint8), np.zeros((side, 2 * side), bool)
        middle = slice(side // 2, side // 2 + side)
        pixels[:, middle] = eye if eye.shape[1] == side else cv2.resize(eye, (side, side), interpolation=cv2.INTER_CUBIC)
        covered[:, middle] = True
        parts.append(Part(pixels, covered))
    return parts


_SHAPES = {"dual-fisheye": (2.0,), "stereo-tb": (2.0, 1.0), "stereo-lr": (2.0, 4.0), "vr180": (2.0,),
           "cubemap": tuple(columns / rows for columns, rows in _LAYOUTS)}
_MAKERS: dict[str, Callable[[np.ndarray], list[Part]]] = {
    "dual-fisheye": _two_lenses, "stereo-tb": _stereo(above=True), "stereo-lr": _stereo(above=False), "vr180": _half_spheres,
    "cubemap": _cube}
