"""Do the left and right edges of a picture meet, as those of a whole panorama do?"""

from __future__ import annotations

import cv2
import numpy as np

COLUMNS = 512  # to which a picture is reduced before its edges are compared
BANDS = 16  # of latitude: an object's edge on the seam opens some of them, a cut opens nearly all
_NOISE = 1.0  # grey levels by which neighbours differ in any picture


def reduced(picture: np.ndarray) -> np.ndarray:
    """Return a picture (H, W, 3) of aspect 2:1 as (256, 512, 3) float32 of 0..255."""
    return cv2.resize(picture, (COLUMNS, COLUMNS // 2), interpolation=cv2.INTER_AREA).astype(np.float32)


def gaps(small: np.ndarray) -> tuple[float, float]:
    """Return how far the seam of a reduced picture (R, W, 3) is from closing: median and upper quartile over bands of latitude.

    R: a multiple of BANDS. In each band, the difference across the seam is divided by the 98th percentile of the differences of
    other columns (at least one grey level). Those columns lie as far apart as the picture is smooth, so that a blur is not taken
    for a cut. Below 0.9 in whole panoramas.
    """
    def difference(shift: int) -> np.ndarray:
        """Return the difference of columns `shift` apart in every band, (bands, columns)."""
        apart = np.abs(small - np.roll(small, shift, axis=1)).mean(axis=2)
        return np.asarray(apart.reshape(BANDS, -1, apart.shape[1]).mean(axis=1))

    beside = difference(1)
    typical, smooth, others = np.median(beside.mean(axis=0)[1:]), 1, beside
    for shift in (2, 3, 4, 6, 8, 12, 16):  # while differences grow as the distance does
        further = difference(shift)
        if np.median(further.mean(axis=0)[shift:]) < 0.75 * shift * typical:
            break
        smooth, others = shift, further
    ratio = beside[:, 0] / np.maximum(np.quantile(others[:, smooth:], 0.98, axis=1), _NOISE)
    return float(np.median(ratio)), float(np.quantile(ratio, 0.75))
