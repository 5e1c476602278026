"""Colour fringes: red and blue that lie beside green, in opposite directions, as a lens parts them towards its rim.

In windows of longitude about the horizon red and blue are each explained as a multiple of green and of green's slope along the
rows: the slope's weight is the shift. The colours of things shift now this way and now that; those of a lens part against each
other nearly everywhere. The limit was chosen on the calibration scenes (docs/words.md).
"""

from __future__ import annotations

import cv2
import numpy as np

from mmifn.describe.measured.pixels import CLIPPED_HIGH, CLIPPED_LOW

WINDOWS = 32  # of longitude
_WIDTH = 2048  # columns at which fringes are looked for; larger panoramas are reduced
_REACH_DEG = 30.0  # latitudes on both sides of the horizon in which they are
_DETAIL_PX = 33  # wider than this, differences are of light and not of edges
_STEEP = 3.0  # grey levels a pixel that make an edge
_LEAST_EDGES, _LEAST_WINDOWS, _ENDS = 60, 12, 0.15
_ROUNDS = 3  # of least squares, pixels of another colour counting less each time
_LEAST_GAIN = 0.2
_PARTED_PX = 0.14


def parting(erp: np.ndarray) -> float:
    """Return by how much red and blue lie on opposite sides of green, pixels of at most 2048 columns; 0 where they do not.

    erp: (H, 2H, 3) uint8. The root of the mean, over the windows with edges enough, of minus the product of both shifts; windows
    at both ends of its range are left out.
    """
    products = -colour_shifts(erp).prod(axis=1)
    products = np.sort(products[np.isfinite(products)])
    if len(products) < _LEAST_WINDOWS:
        return 0.0
    ends = round(_ENDS * len(products))
    return float(np.sqrt(max(products[ends:len(products) - ends].mean(), 0)))


def fringed(parted_px: float) -> bool:
    """Tell whether what `parting` measured is seen as colour fringes."""
    return parted_px > _PARTED_PX


def colour_shifts(erp: np.ndarray) -> np.ndarray:
    """Return how far red and blue lie beside green along the rows in each window, (WINDOWS, 2) pixels; NaN without edges enough.

    Window i begins at -180 + 360 i / WINDOWS degrees; erp: (H, 2H, 3) uint8, of WINDOWS columns or more.
    """
    height = len(erp)
    rows = erp[round(height * (90 - _REACH_DEG) / 180):round(height * (90 + _REACH_DEG) / 180)]
    if 2 * height > _WIDTH:
        rows = cv2.resize(rows, (_WIDTH, round(len(rows) * _WIDTH / (2 * height))), interpolation=cv2.INTER_AREA)
    width = rows.shape[1] // WINDOWS * WINDOWS
    rows = np.ascontiguousarray(rows[:, :width])
    seen = (rows.min(axis=2) > CLIPPED_LOW) & (rows.max(axis=2) < CLIPPED_HIGH)
    soft = cv2.GaussianBlur(rows, (0, 0), 1.0).astype(np.float32)
    detail = soft - cv2.blur(soft, (_DETAIL_PX, 1))
    slope = cv2.Sobel(soft[..., 1], cv2.CV_32F, 1, 0, ksize=1) / 2
    weights = np.where(seen & (np.abs(slope) > _STEEP), 1 / (1 + np.abs(slope)), 0).astype(np.float32)
    few = _sums(weights > 0) < _LEAST_EDGES
    shifts = np.stack([_shift(detail[..., channel], detail[..., 1], slope, weights) for channel in (0, 2)], axis=1)
    return np.where(few[:, None], np.nan, shifts)


def _sums(values: np.ndarray) -> np.ndarray:
    """Sum (R, W) over the pixels of each window, (WINDOWS,) float64."""
    return values.sum(axis=0, dtype=np.float64).reshape(WINDOWS, -1).sum(axis=1)


def _shift(plane: np.ndarray, green: np.ndarray, slope: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the shift of a plane against green in each window, (WINDOWS,): plane = gain (green + shift slope)."""
    edges, columns = np.maximum(_sums(weights > 0), 1), plane.shape[1] // WINDOWS
    for i in range(_ROUNDS):
        alone, both, square = (_sums(weights * product) for product in (green * green, green * slope, slope * slope))
        by_green, by_slope = _sums(weights * plane * green), _sums(weights * plane * slope)
        found = alone * square - both ** 2 + 1e-6
        gain, along = (by_green * square - by_slope * both) / found, (alone * by_slope - both * by_green) / found
        if i < _ROUNDS - 1:
            wide = [np.repeat(value, columns).astype(np.float32) for value in (gain, along)]
            left = np.abs(plane - wide[0] * green - wide[1] * slope)
            usual = np.repeat(np.maximum(_sums(left * (weights > 0)) / edges, 0.1), columns).astype(np.float32)
            weights = weights / np.maximum(1, left / usual)
    return along / np.maximum(gain, _LEAST_GAIN)
