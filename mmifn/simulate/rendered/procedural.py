"""Ingredients of rendered scenes: solid noise, hashes, and materials that fade out what a pixel cannot resolve.

Everything is a function of points in 3-D space, so nothing can tear at the seam or pinch at the poles. Arrays are
float32; N is the number of rays. Colours are linear light in 0..1 (a little more in highlights).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_LATTICE = 32  # cells along each side of the periodic noise volume
# A rotation by irrational angles between octaves hides the lattice of the noise.
_TURN = np.array([[0.36, 0.48, -0.80], [-0.80, 0.60, 0.00], [0.48, 0.64, 0.60]], dtype=np.float32)

Colour = Sequence[float]


class SolidNoise:
    """Smooth random values in space: trilinear interpolation of a periodic lattice, eased by 3t² - 2t³."""

    def __init__(self, seed: int) -> None:
        values = np.random.default_rng(seed).uniform(-1, 1, (_LATTICE,) * 3)
        self._values = values.astype(np.float32).ravel()

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Return (N,) values in -1..1 at points (N, 3), one lattice cell per unit."""
        cell = np.floor(points)
        t = points - cell
        t = t * t * (3 - 2 * t)
        low = cell.astype(np.int32) & (_LATTICE - 1)
        high = (low + 1) & (_LATTICE - 1)
        x = (low[:, 0] * (_LATTICE * _LATTICE), high[:, 0] * (_LATTICE * _LATTICE))
        y = (low[:, 1] * _LATTICE, high[:, 1] * _LATTICE)
        z = (low[:, 2], high[:, 2])

        def along_x(j: int, k: int) -> np.ndarray:
            offset = y[j] + z[k]
            a = self._values.take(x[0] + offset)
            return a + (self._values.take(x[1] + offset) - a) * t[:, 0]

        front = along_x(0, 0)
        front += (along_x(1, 0) - front) * t[:, 1]
        back = along_x(0, 1)
        back += (along_x(1, 1) - back) * t[:, 1]
        return front + (back - front) * t[:, 2]

    def fractal(self, points: np.ndarray, frequency: float, octaves: int, gain: float = 0.5,
                footprint: np.ndarray | float = 0.0) -> np.ndarray:
        """Return (N,) a sum of octaves, each twice as fine and `gain` times as strong, roughly in -1..1.

        footprint: (N,) size of a pixel where the ray lands; octaves finer than it fade out instead of aliasing.
        """
        total = np.zeros(len(points), dtype=np.float32)
        turned, strength = points.astype(np.float32), 1.0
        for octave in range(octaves):
            scale = np.float32(frequency * 2 ** octave)
            weight = np.clip(2.2 - 1.5 * scale * np.asarray(footprint, dtype=np.float32), 0, 1)
            seen = slice(None) if weight.ndim == 0 else np.flatnonzero(weight)
            if weight.any():
                total[seen] += strength * weight[seen if weight.ndim else ...] * self(
                    turned[seen] * scale + np.float32(7.3 * octave))
            turned, strength = turned @ _TURN, strength * gain
        return total


def hash_unit(*keys: np.ndarray | int) -> np.ndarray:
    """Return reproducible pseudo-random values in [0, 1) from whole numbers, broadcast together."""
    mixed = np.uint32(0x9E3779B9)
    with np.errstate(over="ignore"):
        for key in keys:
            mixed = (mixed ^ np.asarray(key).astype(np.int64).astype(np.uint32)) * np.uint32(0x85EBCA6B)
            mixed = (mixed ^ (mixed >> np.uint32(13))) * np.uint32(0xC2B2AE35)
            mixed = mixed ^ (mixed >> np.uint32(16))
    return (mixed >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)


def mix(a: np.ndarray | Colour, b: np.ndarray | Colour, amount: np.ndarray) -> np.ndarray:
    """Blend colours (N, 3) or (3,) by amount (N,) in 0..1."""
    a, b = np.asarray(a, dtype=np.float32), np.asarray(b, dtype=np.float32)
    return a + (b - a) * amount[:, None]


def ramp(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return 0 below low, 1 above high, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def line_cover(coordinate: np.ndarray, width: float, footprint: np.ndarray) -> np.ndarray:
    """Return how much of a pixel the lines at whole coordinates cover, in 0..1 (box-filtered by the footprint)."""
    away = np.abs(coordinate - np.round(coordinate))
    size = np.maximum(footprint, 1e-6)
    cover = np.clip((width / 2 + size / 2 - away) / size, 0, 1) * np.minimum(1, width / size)
    return np.where(size > 1, np.float32(width), cover).astype(np.float32)


def glyphs(u: np.ndarray, v: np.ndarray, seed: int) -> np.ndarray:
    """Return 1 on the strokes of made-up letters: 5x7 dots per glyph, words and lines with gaps; u right, v down."""
    column, row = np.floor(u / 6).astype(int), np.floor(v / 10).astype(int)
    dot_x, dot_y = np.floor(u - 6 * column).astype(int), np.floor(v - 10 * row).astype(int)
    letter = (hash_unit(column, row, seed) * 26).astype(int)
    stroke = hash_unit(letter, dot_x // 2, dot_y // 2, 5) < 0.55
    bar = (dot_x == (letter % 3) * 2) | (dot_y == (letter % 4) * 2)
    space = hash_unit(column, row, seed + 1) < 0.18
    return (((stroke | bar) & (dot_x < 5) & (dot_y < 7)) & ~space).astype(np.float32)


def paving(points: np.ndarray, footprint: np.ndarray, noise: SolidNoise, tile: float, colour: Colour) -> np.ndarray:
    """Return (N, 3) stone tiles with joints, each tile in its own shade, with grain."""
    x, z = points[:, 0] / tile, points[:, 2] / tile
    z = z + 0.5 * (np.floor(x) % 2)
    shade = 0.8 + 0.4 * hash_unit(np.floor(x), np.floor(z), 11)
    shade = 1 + (shade - 1) * np.clip(1.5 - footprint / tile, 0, 1)
    grain = noise.fractal(points, 3.0 / tile, 5, 0.8, footprint)
    joint = np.maximum(line_cover(x, 0.06, footprint / tile), line_cover(z, 0.06, footprint / tile))
    return np.asarray(colour, dtype=np.float32) * (shade * (1 + 0.22 * grain) * (1 - 0.6 * joint))[:, None]


def organic(points: np.ndarray, footprint: np.ndarray, noise: SolidNoise, dark: Colour, light: Colour,
            frequency: float) -> np.ndarray:
    """Return (N, 3) soil, grass, sand or foliage: two colours mixed by fractal noise with a long fine tail."""
    coarse = noise.fractal(points, frequency * 0.15, 3, 0.6, footprint)
    fine = noise.fractal(points, frequency * 2, 6, 0.95, footprint)
    blend = np.clip(0.45 + 0.28 * coarse + 0.36 * fine, 0, 1.4)
    return mix(dark, light, blend)


def facade(u: np.ndarray, v: np.ndarray, footprint: np.ndarray, points: np.ndarray, noise: SolidNoise,
           look: dict) -> np.ndarray:
    """Return (N, 3) a wall with courses of brick, windows with frames and panes, and a sign with lettering.

    u, v: metres along and up the wall; look: colour, window (width and height in metres), seed, night.
    """
    seed, (cell_u, cell_v) = look["seed"], look["window"]
    brick = np.maximum(line_cover(v / 0.18, 0.16, footprint / 0.18),
                       line_cover(u / 0.45 + 0.5 * (np.floor(v / 0.18) % 2), 0.06, footprint / 0.45))
    grain = noise.fractal(points, 4.0, 5, 0.8, footprint) + 0.8 * noise.fractal(points, 0.35, 3, 0.6)
    wall = np.asarray(look["colour"], dtype=np.float32) * ((1 + 0.16 * grain) * (1 - look["brick"] * brick))[:, None]
    column, row = np.floor(u / cell_u), np.floor(v / cell_v)
    x, y = u / cell_u - column, v / cell_v - row
    inside = (np.abs(x - 0.5) < 0.30) & (np.abs(y - 0.52) < 0.33) & (row >= 0)
    frame = inside & ((np.abs(x - 0.5) > 0.26) | (np.abs(y - 0.52) > 0.295) | (np.abs(x - 0.5) < 0.02)
                      | (np.abs(y - 0.60) < 0.015))
    random = hash_unit(column, row, seed)
    glass = mix((0.05, 0.07, 0.10), (0.45, 0.55, 0.65), np.clip(y * 0.7 + 0.5 * random - 0.2, 0, 1))
    curtain = (random > 0.6) & (np.abs(x - 0.5) > 0.12)
    glass[curtain] = glass[curtain] * 0.4 + 0.35 * (0.8 + 0.2 * np.sin(60 * x[curtain]))[:, None]
    if look["night"]:
        lit = hash_unit(column, row, seed + 3) > 0.55
        glass[lit] = np.array([1.5, 1.05, 0.55], dtype=np.float32) * (0.45 + 0.6 * random[lit] + 0.3 * y[lit])[:, None]
    wall[inside] = glass[inside]
    wall[frame] = np.asarray(look["trim"], dtype=np.float32)
    return _with_sign(wall, u, v, look)


def _with_sign(wall: np.ndarray, u: np.ndarray, v: np.ndarray, look: dict) -> np.ndarray:
    """Paint a lettered board above the ground floor."""
    low, high, left, right = look["sign"]
    on = (v > low) & (v < high) & (u > left) & (u < right)
    if on.any():
        dot = (high - low) / 22
        ink = glyphs((u[on] - left) / dot, (high - v[on]) / dot - 1.5, look["seed"])
        glow = 1.6 if look["night"] else 1.0
        wall[on] = mix(look["board"], np.asarray(look["ink"]) * glow, ink)
    return wall
