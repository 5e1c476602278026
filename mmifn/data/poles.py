"""Are the first and last rows of a picture the poles of a sphere, and do its edges meet? Told from all of it together.

A pole is one point. Rows beside it change little along their length, the less the nearer they are, though they differ from row
to row as any others do: that tells a sphere from photographs, cylinders, Mercator's projection and little planets. And they go
on at the other side of the pole, half a turn away. A sky, a floor or a background out of focus tells little, and pictures of
lenses of unlike exposure, and strong compression, make rows of one point uneven. So no single sign refuses anything.
"""

from __future__ import annotations

import cv2
import numpy as np

_STRIPS = ((0, 5), (2, 8), (4, 13))  # of 256 rows from a pole, in which changes along and across rows are compared
_APART = 2  # columns to either side, between which changes along rows are taken
_NOISE = slice(200, None)  # cycles around where little but noise is
_SHADOW = 16.0  # grey levels added before logs are taken, in which lenses of unlike exposure differ by the same in all rows
_STILL, _DEAF, _LEVEL = 1e-5, 0.15, 0.3  # squared changes, and share of the noise, below which nothing is told; told then
_REACH = 8  # rows beside a pole whose steps are what the picture changes by from row to row
_SMOOTH_PX, _BANDS = 5, 16
_CLOSED = 0.3  # gap of a seam that says no more than a smaller one
_STEP, _GAP = 0.35, 0.1  # grey levels, and gaps, below which nothing is told
_MOST = 2.0  # log of a step over a pole that says no more than a larger one: unlike lenses make any
# Weights of a logistic regression on half of 84 panoramas, distorted in 22 ways, on photographs, and on other projections and
# parts of the same scenes: logs of the seam's gaps; then, of the pole with more and of the one with less of each sign, logs of
# the step over it and of how much its strips change along their rows for what they change across. No panorama comes nearer to
# 0 than -1.3, in either half.
_SEAM, _MORE, _LESS, _BIAS = (0.77, 1.35), (1.97, 1.27, 2.73, 2.58), (0.64, 1.70, 1.52, 1.92), 3.43


def no_sphere(small: np.ndarray, seam: tuple[float, float]) -> float:
    """Return the evidence that a reduced picture (256, 512, 3) is no sphere, above 0 for one; whole panoramas are below -1.

    seam: how far it is from closing (seam.gaps).
    """
    grey = small.mean(axis=2)
    poles = np.array([(_step(rows), *_changes(rows)) for rows in (grey, grey[::-1])])
    return float(np.log(np.maximum(seam, _CLOSED) + _GAP) @ _SEAM + poles.max(axis=0) @ _MORE + poles.min(axis=0) @ _LESS + _BIAS)


def _step(grey: np.ndarray) -> float:
    """Return the log of the step over the pole above a picture (256, 512), in steps from row to row beside it."""
    cap = cv2.blur(np.ascontiguousarray(grey[:_REACH + 1]), (_SMOOTH_PX, 1))
    over = _in_bands(np.abs(cap[0] - np.roll(cap[0], cap.shape[1] // 2)))
    steps = _in_bands(np.abs(np.diff(cap, axis=0)).mean(axis=0))
    return float(min(np.log(np.median(over / np.maximum(steps, _STEP)) + _GAP), _MOST))


def _changes(grey: np.ndarray) -> list[float]:
    """Return, for each strip beside the pole above a picture (256, 512), the log of its changes along rows over those across.

    What all rows of a strip share, as from lenses of unlike exposure, does not count, nor what noise adds: it is taken from the
    finest detail of the same rows.
    """
    logs = np.log(grey[:_STRIPS[-1][1] + 1] + _SHADOW)
    columns = logs.shape[1]
    noises = (2 * np.abs(np.fft.rfft(logs, axis=1)[:, _NOISE]) ** 2).mean(axis=1) / (2 * columns)  # variance of white noise
    along = np.roll(logs, -_APART, axis=1) - np.roll(logs, _APART, axis=1)
    across = np.diff(logs, axis=0)
    found = []
    for first, last in _STRIPS:
        noise = noises[first:last].mean()
        longways = max(0.0, along[first:last].var(axis=0, ddof=1).mean() - 2 * noise) / (2 * _APART)
        crossways = max(0.0, np.square(across[first:last]).mean() - 2 * noise)
        little = _STILL + _DEAF * noise
        found.append(float(np.log((longways + _LEVEL * little) / (crossways + little)) / 2))
    return found


def _in_bands(row: np.ndarray) -> np.ndarray:
    return np.asarray(row.reshape(_BANDS, -1).mean(axis=1))
