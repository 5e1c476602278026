"""Steps along meridians: what lenses of unlike exposure, white balance or focus leave in a panorama; and contours doubled there.

A view cannot know that its neighbour is darker. Of every longitude we ask how much lighter, bluer or sharper the world is to
its right than to its left, latitude by latitude; a scene answers differently from row to row, a lens the same in all. And a
lens ends: where it is one of two, four or six, the same step back comes half, a quarter or a sixth of the way round.

Compared is what lies close together, and up to near the poles, where two sides of a meridian are the same things: with bands 6
to 10 degrees off, up to 60 degrees of latitude, a lens 1.6 times as bright was told apart from a scene's own light in 69 % of 62
photographs (at a twentieth of false alarms), so in 97 % (docs/experiments.md, section 14).
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from mmifn.describe.measured.camera import WINDOWS, doubling
from mmifn.simulate.light import to_light

STEPS = ("light", "colour", "sharpness", "contours")
SETTINGS = ("steps of light, colour and sharpness there and back along meridians, 24 rows within 75 degrees of the equator; "
            "contours doubled in 32 windows of longitude")
_WIDTH_PX = 1440
_LATITUDE_DEG, _ROWS = 75, 24
_GAP_DEG, _SIDE_DEG = 3, 3  # what feathering may cover on each side of a seam, and how much is looked at beyond
_AGREEING = 0.7  # share of the rows that must step at least as far, there and back
_LENS_DEG = (60, 90, 180, 270, 300)  # how wide a lens is, or all but it
_DARK = 0.002  # light below which nothing is told
_HEARD_DEG = (20.0, 40.0)  # from its middle: how near a seam is that a view hears of wholly, and from where on it hears nothing


def lens_steps(erp: np.ndarray, centres_deg: Tensor) -> Tensor:
    """Return what is near each of V directions, (V, 4) float32: steps of light in stops, of colour in stops, of sharpness in
    octaves, and how much contours are doubled (describe.measured.camera.doubling).

    erp: (H, 2H, 3) uint8; centres_deg: (V, 2). A step is the largest that 70 % of the rows take, up here and down where the
    lens ends or the other way round. All are the less the farther a view looks from there, and 0 where there is none.
    """
    small = cv2.resize(np.asarray(erp), (_WIDTH_PX, _WIDTH_PX // 2), interpolation=cv2.INTER_AREA)
    steps = np.stack([_light(small), _colour(small), _sharpness(small), _contours(erp)])  # (4, W)
    lon = (torch.arange(_WIDTH_PX) + 0.5) / _WIDTH_PX * 360 - 180
    away = ((lon - centres_deg[:, :1] + 180) % 360 - 180).abs() * torch.deg2rad(centres_deg[:, 1:]).cos()
    heard = ((_HEARD_DEG[1] - away) / (_HEARD_DEG[1] - _HEARD_DEG[0])).clamp(0, 1)
    return (heard[:, None] * torch.from_numpy(steps.astype(np.float32))).amax(dim=2)


def _light(small: np.ndarray) -> np.ndarray:
    luminance = to_light(small) @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    return _steps(np.log2(luminance + _DARK))


def _colour(small: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(np.log2(to_light(small) + _DARK), 2, 0)
    return np.maximum(_steps(red - green), _steps(blue - green))


def _sharpness(small: np.ndarray) -> np.ndarray:
    """Fine detail against less fine, so that it matters little how much detail there is."""
    grey = small.mean(axis=2).astype(np.float32)
    soft, softer = (cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in (1, 3))
    fine, coarse = (_rows(np.abs(band)) for band in (grey - soft, soft - softer))
    return _between(np.log2((fine + 0.1) / (coarse + 0.1)))


def _contours(erp: np.ndarray) -> np.ndarray:
    """Return how much contours are doubled at every longitude: as in the one of its two windows where they are more."""
    doubled = doubling(np.asarray(erp))
    return np.repeat(np.maximum(doubled, np.roll(doubled, 1)), _WIDTH_PX // WINDOWS)


def _rows(values: np.ndarray) -> np.ndarray:
    """Average (H, W) over bands of latitude: (R, W)."""
    edge = round((90 - _LATITUDE_DEG) / 180 * len(values))
    return values[edge:len(values) - edge].reshape(_ROWS, -1, values.shape[1]).mean(axis=1)


def _steps(values: np.ndarray) -> np.ndarray:
    return _between(_rows(values))


def _between(rows: np.ndarray) -> np.ndarray:
    """Return the step at every longitude (W,) that enough rows (R, W) take there, and back a lens further on."""
    width = rows.shape[1]
    gap, side = (round(degrees / 360 * width) for degrees in (_GAP_DEG, _SIDE_DEG))
    sums = np.cumsum(np.concatenate([np.zeros((len(rows), 1)), rows, rows, rows], axis=1), axis=1)
    middle = np.arange(width) + width

    def mean(first: int) -> np.ndarray:
        return (sums[:, middle + first + side] - sums[:, middle + first]) / side

    change = mean(gap) - mean(-gap - side)
    fewest, found = round((1 - _AGREEING) * 2 * len(rows)), np.zeros(width)
    for lens_deg in _LENS_DEG:
        further = round(lens_deg / 360 * width)
        there_and_back = np.concatenate([change, -np.roll(change, -further, axis=1)])
        step = np.partition(there_and_back, fewest, axis=0)[fewest]
        found = np.maximum(found, np.maximum(step, np.roll(step, further)))  # seen at both seams
    return found
