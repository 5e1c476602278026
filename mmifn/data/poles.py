"""Are the first and last rows of a picture the poles of a sphere, and do its edges meet? Told from all of it together.

A pole is one point. Rows beside it hold no fine detail, hardly change along their length, and go on at the other side of the
pole: half a turn away. Photographs do neither, but a sky, a floor or a background out of focus often seems to; pictures of
lenses of unlike exposure, and strong compression, make rows of one point uneven. So no single sign refuses anything.
"""

from __future__ import annotations

import cv2
import numpy as np

_FINE, _CAP = slice(20, 100), slice(1, 20)  # cycles around: detail that no row near a pole has, and coarser changes
_NOISE = slice(200, None)  # cycles around where little but noise is
_ROWS, _FEWER = 4, 3  # of 256, looked at for detail and for changes
_REACH = 8  # rows beside a pole whose steps are what the picture changes by from row to row
_SMOOTH_PX, _BANDS = 5, 16
_CLOSED = 0.3  # gap of a seam that says no more than a smaller one
_QUIET, _EVEN, _STEP, _GAP = 0.02, 0.05, 0.35, 0.1  # grey levels (squared) below which nothing is told
# Weights of a logistic regression on 84 panoramas, distorted in twenty ways, and on photographs and other projections of the
# same scenes, half of all: logs of the seam's gaps; then of the pole with more and of the one with less of each sign, logs of
# the step over it, of how much its rows change, and of their detail. No panorama comes nearer to 0 than -2, in either half.
_SEAM, _MORE, _LESS, _BIAS = (1.8, 2.0), (0.4, 0.7, 2.0), (1.0, -0.6, 0.6), -8.7


def no_sphere(small: np.ndarray, seam: tuple[float, float]) -> float:
    """Return the evidence that a reduced picture (256, 512, 3) is no sphere, above 0 for one; whole panoramas are below -1.

    seam: how far it is from closing (seam.gaps).
    """
    grey = small.mean(axis=2)
    poles = np.array([_signs(grey), _signs(grey[::-1])])
    return float(np.log(np.maximum(seam, _CLOSED) + _GAP) @ _SEAM + poles.max(axis=0) @ _MORE + poles.min(axis=0) @ _LESS + _BIAS)


def _signs(grey: np.ndarray) -> tuple[float, float, float]:
    """Return logs of the step over the pole above a picture (256, 512), of how much its rows change there, and of their detail.

    What noise adds to every row, taken from the finest detail of the quietest rows, does not count.
    """
    power = (2 * np.abs(np.fft.rfft(grey, axis=1)) / grey.shape[1]) ** 2  # squared amplitudes, grey levels
    noise = np.quantile(power[:, _NOISE].mean(axis=1), 0.1)
    changes, detail = (np.maximum(power[:, part].sum(axis=1) - noise * (part.stop - part.start), 0) for part in (_CAP, _FINE))
    cap = cv2.blur(np.ascontiguousarray(grey[:_REACH + 1]), (_SMOOTH_PX, 1))
    over = _in_bands(np.abs(cap[0] - np.roll(cap[0], cap.shape[1] // 2)))
    steps = _in_bands(np.abs(np.diff(cap, axis=0)).mean(axis=0))
    gap = np.median(over / np.maximum(steps, _STEP))
    return (float(np.log(gap + _GAP)), float(np.log(changes[:_FEWER].mean() + _EVEN) / 2),
            float(np.log(np.median(detail[:_ROWS]) + _QUIET) / 2))


def _in_bands(row: np.ndarray) -> np.ndarray:
    return np.asarray(row.reshape(_BANDS, -1).mean(axis=1))
