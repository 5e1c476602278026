"""Measurements on the plane of the ERP, where codecs and sensor noise act: noise, detail, ringing, flatness.

Large panoramas are cut into strips of whole rows, so that memory does not grow with them.
All take planes (H, W) of 0..255, wrap across the ±180° seam, and give maps of tiles of TILE_PX pixels, so that viewports
can be told apart; weighting by area on the sphere is left to the caller. Planes are uint8 wherever whole levels will do, which
take a quarter of the time, and float32 elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

TILE_PX = 16
STRIP_PIXELS = 4096 * 1024  # about 250 MB at work; planes over 32 MB would be asked of the system, and cleared, every time
_SPARE_ROWS = 32  # more than any filter here reaches; whole tiles
CLIPPED_LOW, CLIPPED_HIGH = 4, 251  # beyond these, noise is cut off and detail is lost to exposure
_EDGE_STEP = 10.0  # grey levels per pixel that make a strong edge
_RING_REACHES_PX = (2, 5, 8, 14)  # around a strong edge: ringing between the first two, texture between the last two

# Immerkaer (1996): the difference of two Laplacians ignores edges and slopes; white noise of sigma 1 gives rms 1. In both
# directions, times 6: whole numbers.
_CURVATURE = np.array([1.0, -2.0, 1.0])
_OF_CURVATURES = np.float32(1 / 6)


@dataclass(frozen=True)
class Strip:
    """Rows of an ERP: first..last are looked at, of which top..bottom are measured; all but the last are whole tiles."""

    first: int
    top: int
    bottom: int
    last: int

    def inner(self, values: np.ndarray) -> np.ndarray:
        """Return the measured rows of values over all rows of the strip."""
        return values[self.top - self.first:self.bottom - self.first]

    def inner_tiles(self, tiles: np.ndarray) -> np.ndarray:
        """Return the measured rows of a tile map over all rows of the strip."""
        return tiles[(self.top - self.first) // TILE_PX:(self.bottom - self.first) // TILE_PX]


def strips(height: int, width: int) -> list[Strip]:
    """Cut an ERP into strips of about STRIP_PIXELS with rows to spare on both sides; a small one is a single strip."""
    rows = max(4 * _SPARE_ROWS, STRIP_PIXELS // width // TILE_PX * TILE_PX)
    if height <= rows:
        return [Strip(0, 0, height, height)]
    tops = range(0, height, rows)
    return [Strip(max(0, top - _SPARE_ROWS), top, min(top + rows, height), min(top + rows + _SPARE_ROWS, height))
            for top in tops]


def luminance(erp: np.ndarray) -> np.ndarray:
    """Return BT.601 luma (H, W) uint8 of an ERP (H, W, 3) uint8."""
    return cv2.cvtColor(erp, cv2.COLOR_RGB2GRAY)


def chroma(erp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Cr and Cb (H, W) uint8 of an ERP (H, W, 3) uint8."""
    planes = cv2.cvtColor(erp, cv2.COLOR_RGB2YCrCb)
    return cv2.extractChannel(planes, 1), cv2.extractChannel(planes, 2)


def tile_mean(values: np.ndarray) -> np.ndarray:
    """Average (H, W) over tiles: (H // TILE_PX, W // TILE_PX) float32; a remainder at the edges is dropped."""
    rows, columns = values.shape[0] // TILE_PX, values.shape[1] // TILE_PX
    whole = values[:rows * TILE_PX, :columns * TILE_PX].astype(np.float32, copy=False)  # a view: copies cost much here
    return cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)


def tile_std(values: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each tile."""
    values = values.astype(np.float32, copy=False)
    return np.sqrt(np.maximum(tile_mean(values * values) - tile_mean(values) ** 2, 0))


def clipped_tiles(luma: np.ndarray) -> np.ndarray:
    """Return the fraction of black or burnt-out pixels of each tile."""
    return tile_mean(((luma <= CLIPPED_LOW) | (luma >= CLIPPED_HIGH)).view(np.uint8))


def steps_along(luma: np.ndarray, axis: int) -> np.ndarray:
    """Return how far each pixel of (H, W) uint8 is from the next one along an axis, 0 at the last: (H, W) uint8."""
    steps = np.zeros_like(luma)
    if axis:
        steps[:, :-1] = cv2.absdiff(luma[:, 1:], luma[:, :-1])
    else:
        steps[:-1] = cv2.absdiff(luma[1:], luma[:-1])
    return steps


def _wrapped(plane: np.ndarray, reach: int) -> np.ndarray:
    return cv2.copyMakeBorder(plane, 0, 0, reach, reach, cv2.BORDER_WRAP)


def noise_residual(plane: np.ndarray) -> np.ndarray:
    """Return what is left of a plane (H, W) uint8 when edges and slopes are ignored, float32; white noise keeps its sigma."""
    left = cv2.sepFilter2D(_wrapped(plane, 1), cv2.CV_16S, _CURVATURE, _CURVATURE, borderType=cv2.BORDER_REFLECT_101)[:, 1:-1]
    return left * _OF_CURVATURES


def band_tiles(luma: np.ndarray, count: int = 3) -> list[np.ndarray]:
    """Return the rms of `count` band-pass layers of each tile, one octave apart, finest first."""
    layers, finer = [], luma
    sigmas = [0.8 * 2 ** i for i in range(count)]
    most = int(4 * sigmas[-1]) + 1
    wide = _wrapped(luma, most)
    for sigma in sigmas:
        reach = int(4 * sigma) + 1
        coarser = cv2.GaussianBlur(wide[:, most - reach:luma.shape[1] + most + reach], (0, 0), sigma,
                                   borderType=cv2.BORDER_REFLECT_101)[:, reach:-reach]
        between = finer - coarser
        layers.append(np.sqrt(tile_mean(np.multiply(between, between, out=between))))
        finer = coarser
    return layers


def ringing_tiles(luma: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Return, per tile, log2 of the residual beside strong edges over that farther away; NaN where one is missing.

    Codecs leave oscillations within a block of an edge and wipe out texture beyond; about 0 in pristine pictures.
    """
    smooth = cv2.GaussianBlur(luma, (0, 0), 1.0)
    slope = cv2.magnitude(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)) / 8
    edge = (slope > _EDGE_STEP).astype(np.uint8)
    reached, before = [edge], 0
    for reach in _RING_REACHES_PX:  # each from the one before: squares of squares are squares
        reached.append(cv2.dilate(reached[-1], np.ones((2 * (reach - before) + 1,) * 2, np.uint8)))
        before = reach
    size = np.abs(residual)
    np.minimum(size, 20, out=size)
    parts = []
    for inner, outer in (reached[1:3], reached[3:]):
        zone = (outer - inner).astype(np.float32)
        weight = tile_mean(zone)
        zone *= size
        with np.errstate(invalid="ignore", divide="ignore"):
            parts.append(np.where(weight > 0.1, tile_mean(zone) / weight, np.nan))
    return np.log2((parts[0] + 0.1) / (parts[1] + 0.1))


def constant_tiles(luma: np.ndarray) -> np.ndarray:
    """Return the fraction of pixels of each tile whose 3x3 neighbourhood is one value: detail removed altogether."""
    kernel = np.ones((3, 3), np.uint8)
    return tile_mean((cv2.dilate(luma, kernel) == cv2.erode(luma, kernel)).view(np.uint8))


def banding_tiles(luma: np.ndarray) -> np.ndarray:
    """Return per tile how much of it is contours: small steps (2..12 levels) between plateaus that are exactly flat."""
    total = np.zeros_like(luma)
    for axis in (0, 1):
        step = steps_along(luma, axis)
        run = cv2.erode((step == 0).view(np.uint8), np.ones((1, 3) if axis else (3, 1), np.uint8))
        both = np.roll(run, 2, axis) & np.roll(run, -2, axis)
        total += ((step >= 2) & (step <= 12)).view(np.uint8) & both
    return tile_mean(total)
