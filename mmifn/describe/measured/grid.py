"""Find the block grid of a codec in the pixels: its period and phase are measured, not assumed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from mmifn.describe.measured.pixels import TILE_PX, Strip, steps_along, tile_mean

# Blocks and transforms of all common codecs have sides of 4 to 32 (larger units have these inside); quarter steps,
# because a panorama may have been scaled after it was compressed.
PERIODS_PX = np.arange(4.0, 40.01, 0.25)
_LINE_SHARE = 0.3  # a codec marks nearly all lines of its grid, a building only some of those that happen to fit it
_STEP_LIMIT = 24  # grey levels; real edges must not outvote the grid
_BINS = 2 ** 16  # of the zero-padded spectrum, fine enough for any quarter-step period


@dataclass(frozen=True)
class Grid:
    """A periodic pattern of edges along one axis.

    period_px: distance of the edges; phase_px: index of the pixel before the first edge;
    strength: excess of the steps across its edges over those elsewhere, in grey levels, that all but _LINE_SHARE of
    its lines reach.
    """

    period_px: float
    phase_px: float
    strength: float


def excess_of(luma: np.ndarray, axis: int) -> np.ndarray:
    """Return for every boundary between pixels of (H, W) uint8 by how much its step exceeds the mean of its two neighbours
    along axis, twice that: (H, W) int8."""
    steps = steps_along(luma, axis)
    if axis:
        steps[:, -1:] = cv2.absdiff(luma[:, :1], luma[:, -1:])
    steps = np.minimum(steps, _STEP_LIMIT, out=steps).view(np.int8)
    steps = steps.T if axis else steps
    twice = steps + steps  # changed in place: on large strips copies would take most of the time
    twice[1:-1] -= steps[:-2]
    twice[1:-1] -= steps[2:]
    twice[0] -= steps[-1] + steps[1]
    twice[-1] -= steps[-2] + steps[0]
    return twice.T if axis else twice


def profiles(lumas: Iterable[tuple[Strip, np.ndarray]], height: int) -> tuple[np.ndarray, np.ndarray]:
    """Average the excess along the grid lines, without the polar caps: over columns (H,), and over rows (W,).

    lumas: the strips of an ERP of `height` rows with their luma.
    """
    cap = height // 8
    down, across, rows = [], 0.0, 0
    for strip, luma in lumas:
        down.append(_sum(strip.inner(excess_of(luma, 0)), 1) / luma.shape[1])
        start, stop = (int(np.clip(row, strip.top, strip.bottom)) - strip.first for row in (cap, height - cap))
        across = across + _sum(excess_of(luma[start:stop], 1), 0) if stop > start else across
        rows += stop - start
    profile = np.concatenate(down)
    profile[:cap] = profile[height - cap:] = np.median(profile)
    return profile, across / rows


def _sum(twice: np.ndarray, axis: int) -> np.ndarray:
    """Add what excess_of returns up along an axis, in grey levels, float32 and without rounding."""
    return cv2.reduce(twice.astype(np.int16), axis, cv2.REDUCE_SUM, dtype=cv2.CV_32F).ravel() / 2


def _scores(profile: np.ndarray) -> np.ndarray:
    """Return for every candidate period how well it explains a profile.

    The power of all its harmonics over the root of their number: half the true period misses half of the power,
    twice the true period spends twice the harmonics on the same power.
    """
    limit = 2 * max(float(np.quantile(profile, 0.97)), 1e-6)
    centred = np.minimum(profile, limit)
    spectrum = np.abs(np.fft.rfft(centred - centred.mean(), _BINS)) ** 2
    scores = []
    for period in PERIODS_PX:
        orders = np.arange(1, int(period / 2) + 1)
        scores.append(spectrum[np.round(orders / period * _BINS).astype(int)].sum() / np.sqrt(len(orders)))
    return np.array(scores)


def _hits(length: int, period: float, phase: float) -> np.ndarray:
    """Return which of `length` boundaries lie on the grid."""
    return np.abs((np.arange(length) - phase + period / 2) % period - period / 2) < 0.5


@dataclass(frozen=True)
class Lines:
    """Where the lines of a grid lie: on: (L,) bool over the boundaries along the axis; off: what other boundaries have."""

    axis: int
    on: np.ndarray
    off: float

    def tiles(self, luma: np.ndarray, first_row: int = 0) -> np.ndarray:
        """Return the mean excess on the lines of each tile of a strip, in grey levels; NaN where no line passes."""
        excess = excess_of(luma, self.axis)
        on = self.on if self.axis else self.on[first_row:first_row + len(luma)]
        share = on[:len(on) // TILE_PX * TILE_PX].reshape(-1, TILE_PX).mean(axis=1, dtype=np.float32)  # of the pixels of a tile
        excess *= on if self.axis else on[:, None]
        excess_of_tile = tile_mean(excess) / 2
        lines = np.broadcast_to(share if self.axis else share[:, None], excess_of_tile.shape)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = excess_of_tile / lines - self.off
        return np.where(lines > 0, value, np.nan)


def find_grid(profile: np.ndarray, axis: int) -> tuple[Grid, Lines]:
    """Find the strongest grid along an axis (0: horizontal edges, 1: vertical edges) in its profile, (L,) float.

    Every period of PERIODS_PX is tried by the power of its harmonics; then every phase.
    """
    period = float(PERIODS_PX[np.argmax(_scores(profile))])
    phases = np.arange(0, period, 1.0)
    scores = [profile[_hits(len(profile), period, phase)].mean() for phase in phases]
    phase = float(phases[int(np.argmax(scores))])
    on = _hits(len(profile), period, phase)
    off = float(np.median(profile[~on]))
    strength = max(0.0, float(np.quantile(profile[on], _LINE_SHARE)) - off)
    return Grid(period, phase, strength), Lines(axis, on, off)
