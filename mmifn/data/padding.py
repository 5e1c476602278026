"""Which part of a panorama has content: caps and bands of one colour, and transparent parts, are padding and count for nothing.

Padding is filled from beside it, mirrored at its edge, so that nothing that looks at the whole picture sees a black hole.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mmifn.sphere import directions_to_degrees, latitude_weights, viewport_directions

MASK_HEIGHT = 512  # rows of a mask of what is covered, at most
_ONE_COLOUR = 10.0  # grey levels between the least and the greatest value of a row of one colour, as compression leaves it
_OF_CONTRAST = 0.1  # of the contrast of the whole picture, which that must not exceed either
_STEP = 24  # grey levels by which content beside a cap differs from it
_LEAST_DEG = 2.0  # thinner caps and bands are no padding
_EDGE_PX = 8  # of a picture: compression smears an edge over a block
_BAND = 256  # rows filled at a time


@dataclass(frozen=True)
class Padding:
    """What was found: covered (h, w) bool, at most 512 rows; found: what is empty, in words."""

    covered: np.ndarray
    found: tuple[str, ...]


def find_padding(picture: np.ndarray) -> Padding | None:
    """Return the padding of an ERP (H, W, 3) uint8 by caps and bands of one colour, or None where there is none."""
    some = picture[::max(1, len(picture) // 256), ::max(1, len(picture) // 256)]
    least = min(_ONE_COLOUR, _OF_CONTRAST * float(np.quantile(some, 0.99) - np.quantile(some, 0.01)))
    rows = _caps(picture[:, ::max(1, picture.shape[1] // 1024)], least)
    inside = picture[rows.start:rows.stop]
    columns = _bands(inside[::max(1, len(inside) // 512)], least)
    if rows == slice(0, len(picture)) and columns.all():
        return None
    if not columns.any() or rows.stop <= rows.start:
        return None  # all of one colour
    covered = np.zeros(picture.shape[:2], bool)
    covered[rows] = columns
    return Padding(reduced_mask(_shrunk(covered)), tuple(_in_words(picture, rows, columns)))


def _caps(picture: np.ndarray, least: float) -> slice:
    """Return the rows between caps of one colour at the upper and the lower edge."""
    picture = np.ascontiguousarray(picture)
    most, fewest, mean = (cv2.reduce(picture, 1, how, dtype=kind)[:, 0] for how, kind in (
        (cv2.REDUCE_MAX, -1), (cv2.REDUCE_MIN, -1), (cv2.REDUCE_AVG, cv2.CV_64F)))  # NumPy takes ten times as long
    flat = (most.astype(int) - fewest).max(axis=1) <= least
    height = len(picture)
    top, bottom = (_cap(picture[::way], flat[::way], mean[::way]) for way in (1, -1))
    return slice(top, height - bottom) if top + bottom < height else slice(0, height)


def _cap(picture: np.ndarray, flat: np.ndarray, mean: np.ndarray) -> int:
    """Return how many rows from the first on are of one colour, 0 where they go over into the content without a step.

    flat: (H,), whether a row is of one colour; mean: (H, 3), of every row.
    """
    height = len(picture)
    colour = np.median(picture[0], axis=0)
    same = flat & (np.abs(mean - colour).max(axis=1) <= _ONE_COLOUR)
    rows = height if same.all() else int(np.argmin(same))
    if rows < height * _LEAST_DEG / 180 or rows == height:
        return 0
    beyond = picture[rows + _EDGE_PX // 2:rows + _EDGE_PX // 2 + max(2, height // 100)]
    return rows if len(beyond) and (np.abs(beyond - colour).max(axis=2) > _STEP).mean() > 0.5 else 0


def _bands(picture: np.ndarray, contrast: float) -> np.ndarray:
    """Return for every column of a picture without caps whether it has content, (W,) bool."""
    flat = (picture.max(axis=0).astype(int) - picture.min(axis=0)).max(axis=1) <= contrast
    least = max(2, round(len(flat) * _LEAST_DEG / 360))
    kernel = np.ones((1, least), np.uint8)  # runs that are shorter are none
    wide = np.concatenate([flat, flat, flat]).astype(np.uint8)[None]
    runs = cv2.morphologyEx(wide, cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_REPLICATE)[0]
    return np.asarray(runs[len(flat):2 * len(flat)] == 0)


def _in_words(picture: np.ndarray, rows: slice, columns: np.ndarray) -> list[str]:
    """Say what is empty and in which colour."""
    found = []
    if rows.start:
        found.append(f"a {_colour(picture[0, 0])} cap above")
    if rows.stop < len(picture):
        found.append(f"a {_colour(picture[-1, 0])} cap below")
    if not columns.all():
        width = 360 * (1 - columns.mean())
        found.append(f"{width:.0f}° of {_colour(picture[len(picture) // 2, int(np.argmin(columns))])} at the sides")
    return found


def _colour(pixel: np.ndarray) -> str:
    return "black" if pixel.max() < 32 else "white" if pixel.min() > 223 else "one-coloured"


def _shrunk(covered: np.ndarray) -> np.ndarray:
    """Return a mask without the last pixels before its edges; around the sphere there is no edge."""
    wide = np.concatenate([covered[:, -_EDGE_PX:], covered, covered[:, :_EDGE_PX]], axis=1).astype(np.uint8)
    kernel = np.ones((2 * (_EDGE_PX // 2) + 1,) * 2, np.uint8)
    return cv2.erode(wide, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=1)[:, _EDGE_PX:-_EDGE_PX] > 0


def reduced_mask(covered: np.ndarray) -> np.ndarray:
    """Return a mask (H, 2H) bool with at most 512 rows; a pixel is covered where all that it stands for is."""
    if len(covered) <= MASK_HEIGHT:
        return covered
    share = cv2.resize(covered.astype(np.float32), (2 * MASK_HEIGHT, MASK_HEIGHT), interpolation=cv2.INTER_AREA)
    return share > 0.999


def share_of_sphere(covered: np.ndarray) -> float:
    """Return how much of the sphere a mask (h, 2h) covers, 0..1."""
    weights = latitude_weights(len(covered)).numpy()
    return float((covered.mean(axis=1) * weights).sum() / weights.sum())


def view_shares(covered: np.ndarray | None, centres_deg: list[list[float]], fov_deg: float) -> np.ndarray:
    """Return how much of each tangent view at (lon, lat) is covered, (V,) in 0..1; covered: (h, 2h) bool, None for all."""
    if covered is None:
        return np.ones(len(centres_deg))
    height, width = covered.shape
    shares = []
    for lon, lat in centres_deg:
        lon_deg, lat_deg = (part.numpy() for part in directions_to_degrees(viewport_directions(lon, lat, fov_deg, 64)))
        rows = ((90 - lat_deg) / 180 * height).astype(int).clip(0, height - 1)
        shares.append(covered[rows, ((lon_deg + 180) / 360 * width).astype(int) % width].mean())
    return np.array(shares)


def fill(picture: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Return an ERP (H, W, 3) uint8 whose empty part is a mirror image of what is beside it; covered: (h, 2h) bool."""
    source_y, source_x = _mirrored(covered)
    scale = len(picture) / len(covered)
    result = picture.copy()
    height, width = picture.shape[:2]
    empty = cv2.resize((~covered).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    across = ((np.arange(width, dtype=np.float32) + 0.5) / scale - 0.5)[None]
    for start in range(0, height, _BAND):
        rows = slice(start, min(start + _BAND, height))
        if not empty[rows].any():
            continue
        down = ((np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) / scale - 0.5)[:, None]
        here_x, here_y = (np.ascontiguousarray(grid) for grid in np.broadcast_arrays(across, down))
        x, y = (np.asarray(cv2.remap(source, here_x, here_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
                for source in (source_x, source_y))
        found = cv2.remap(picture, ((x + 0.5) * scale - 0.5) % width, (y + 0.5) * scale - 0.5, cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_REPLICATE)
        result[rows] = np.where(empty[rows, :, None] > 0, found, result[rows])
    return result


def _mirrored(covered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for every pixel of a mask the row and column (which may lie beyond an edge) that it takes its colour from."""
    height, width = covered.shape
    around = np.concatenate([covered] * 3, axis=1)
    _, labels = cv2.distanceTransformWithLabels((~around).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    places = np.zeros((labels.max() + 1, 2), np.float32)
    places[labels[around]] = np.argwhere(around)
    nearest = places[labels]  # (h, 3w, 2)
    here = np.stack(np.meshgrid(np.arange(height), np.arange(3 * width), indexing="ij"), axis=-1).astype(np.float32)
    mirror = 2 * nearest - here
    row, column = (mirror[..., 0].round().astype(int).clip(0, height - 1), mirror[..., 1].round().astype(int) % width)
    inside = (mirror[..., 0] >= 0) & (mirror[..., 0] <= height - 1) & covered[row, column]
    chosen = np.where(inside[..., None], mirror, nearest)[:, width:2 * width]
    return np.ascontiguousarray(chosen[..., 0]), np.ascontiguousarray(chosen[..., 1] - width)
