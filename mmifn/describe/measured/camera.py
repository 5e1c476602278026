"""Faults of cameras and stitchers in a part of the sphere: contours doubled about seams, and light that burnt out.

A seam whose lenses do not meet shows things twice, side by side: the slopes along the rows repeat at one distance, and at twice
that distance they do not, as those of a fence would. Lenses that do not meet at one seam do not at another. Limits were chosen
on the calibration scenes (docs/words.md).
"""

from __future__ import annotations

import cv2
import numpy as np

from mmifn.describe.directions import direction_words
from mmifn.describe.measured.fringes import fringed
from mmifn.describe.measured.local import directions, quantile_of_patch, rays_of, shares_of
from mmifn.describe.measured.pixels import CLIPPED_HIGH, luminance

WINDOWS = 32  # of longitude, each twice as wide as it is apart from the next
_MIDDLES = -180 + (np.arange(WINDOWS) + 1) * 360 / WINDOWS
_HEIGHT = 1024  # rows at which doubled contours are looked for; larger panoramas are reduced
_REACH_DEG = 50.0  # latitudes on both sides of the horizon in which they are
_LAGS = np.arange(3, 26)  # pixels between the contours: 0.5 to 4.4 degrees of 2048 px
_NEAR = 3  # lags on both sides that a lag is compared with
_STEEPEST = 20.0  # grey levels a pixel: no single edge rules
_SMOOTH = 1 / 6  # of a window: how far the spectrum of the texture is smoothed
_FENCE = 1.5  # how much of the likeness at twice the distance is taken off
_DOUBLED, _BURNT = 0.14, 0.15
# White below this latitude is looked for in each patch: where none has more of it than that, or where the one that has most is
# darker in its darkest tenth than this grey level, the white is the sky's alone: light that burns out takes the shadows with it.
_SKY_DEG, _BELOW_SKY, _SHADOW = 20.0, 0.06, 80.0
# Points of 100 by which views at white must score below the others' median for the white to be a fault (docs/words.md).
_LOWER = 2.0
_APART_DEG = 30.0  # between seams; lenses of a ring of six lie 60 apart
_BESIDE_DEG = 20.0  # between a seam and the middle of a view that it is told of
_BESIDE_STEPS = (2, 3)  # windows to a side that a window is compared with: beyond its seam, and before the next
_CELLS = (90, 180)


def doubling(erp: np.ndarray) -> np.ndarray:
    """Return how much contours are doubled in each window of longitude and, at the same distance, in one elsewhere, (WINDOWS,),
    about 0 to 0.5; window i begins at -180 + 360 i / WINDOWS degrees. All over the sphere alike (a codec's grid) counts as 0.

    erp: (H, 2H, 3) uint8.
    """
    height = len(erp)
    rows = erp[round(height * (90 - _REACH_DEG) / 180):round(height * (90 + _REACH_DEG) / 180)]
    if height > _HEIGHT:
        rows = cv2.resize(rows, (2 * _HEIGHT, round(len(rows) * _HEIGHT / height)), interpolation=cv2.INTER_AREA)
    plane = luminance(rows).astype(np.float32)
    width, starts = plane.shape[1] // WINDOWS * 2, np.arange(WINDOWS) * plane.shape[1] // WINDOWS
    if width // 2 < 2 * _LAGS[-1]:
        return np.zeros(WINDOWS)
    slopes = np.clip(np.diff(plane, axis=1, append=plane[:, :1]), -_STEEPEST, _STEEPEST)
    slopes = np.concatenate([slopes, slopes[:, :width]], axis=1)
    likeness = np.array([_likeness(slopes[:, start:start + width]) for start in starts])
    once, twice = (_standing_out(likeness, lags) for lags in (_LAGS, 2 * _LAGS))
    usual = np.maximum(np.median(once, axis=0), _on_either_side(once))
    alone = once - np.maximum(usual, 0) - _FENCE * np.maximum(twice, 0)
    beside = np.pad(alone, ((0, 0), (1, 1)), constant_values=-1)
    near = np.maximum(np.maximum(beside[:, :-2], alone), beside[:, 2:])  # at this distance, a pixel more or less
    elsewhere = np.where((away(_MIDDLES[:, None], _MIDDLES) >= _APART_DEG)[..., None], near, -1).max(axis=1)
    return np.maximum(np.minimum(alone, elsewhere).max(axis=1), 0)


def _on_either_side(values: np.ndarray) -> np.ndarray:
    """Return what is usual in the windows to the left or to the right of each, whichever is more, (WINDOWS, N): a lens or a half
    that is blurred is like itself at some distance all over, and a seam between two lenses is not."""
    sides = [[np.roll(values, sign * step, axis=0) for step in _BESIDE_STEPS] for sign in (1, -1)]
    return np.maximum(*(np.min(side, axis=0) for side in sides))


def away(one_deg: np.ndarray | float, other_deg: np.ndarray | float) -> np.ndarray:
    """Return by how much two longitudes differ, 0..180 degrees."""
    return np.abs((np.subtract(one_deg, other_deg) + 180) % 360 - 180)


def _likeness(slopes: np.ndarray) -> np.ndarray:
    """Return how alike slopes (R, W) are to themselves some pixels on, (W,), 1 at 0; the texture's own spectrum levelled."""
    width = slopes.shape[1]
    power = np.abs(np.fft.rfft(slopes * np.hanning(width).astype(np.float32), 2 * width, axis=1)) ** 2
    strength = power.sum(axis=1, keepdims=True)
    rows = strength[:, 0] > np.median(strength) / 2
    mean = (power[rows] / (strength[rows] + 1e-3)).mean(axis=0, dtype=np.float64) if rows.any() else power[0]
    level = cv2.GaussianBlur(mean[None].astype(np.float32), (0, 0), width * _SMOOTH)[0]
    likeness = np.fft.irfft(mean / (level + 1e-9))[:width]
    return likeness / max(likeness[0], 1e-9)


def _standing_out(likeness: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Return by how much the likeness (W, N) at each lag stands out from that at the lags around, (W, len(lags))."""
    return np.stack([likeness[:, lag] - np.median(likeness[:, max(2, lag - _NEAR):lag + _NEAR + 1], axis=1) for lag in lags],
                    axis=1)


def burnt_shares(erp: np.ndarray) -> np.ndarray:
    """Return which share of every patch is burnt out to white, (32,), 0 where the sky alone is; erp: (H, 2H, 3) uint8."""
    red, green, blue = cv2.split(erp)
    white = (cv2.min(cv2.min(red, green), blue) > CLIPPED_HIGH).astype(np.float32)
    cells, levels = (cv2.resize(plane, _CELLS[::-1], interpolation=cv2.INTER_AREA).ravel()
                     for plane in (white, luminance(erp)))
    below = shares_of(np.where(rays_of(*_CELLS)[1] < _SKY_DEG, cells, 0), *_CELLS)
    most = int(below.argmax())
    if below[most] <= _BELOW_SKY or quantile_of_patch(levels, most, 0.1, *_CELLS) <= _SHADOW:
        return np.zeros(len(below))
    return shares_of(cells, *_CELLS)


def light_scored_lower(shares: np.ndarray, centres_deg: np.ndarray, scores: np.ndarray) -> bool:
    """Tell whether views of centres_deg (V, 2) that look at burnt-out patches have clearly lower scores (V,), of 100.

    shares: (32,) of `burnt_shares`. A white sky belongs to many good photographs, and models score it as the rest.
    """
    white = shares[_facing(*centres_deg.T)] > _BURNT
    if white.all():
        return True  # nothing to compare with
    return bool(white.any() and scores[white].mean() < np.median(scores[~white]) - _LOWER)


def _facing(lon_deg: np.ndarray | float, lat_deg: np.ndarray | float) -> np.ndarray:
    """Return which patch lies nearest to each direction."""
    lon, lat = np.radians(lon_deg), np.radians(lat_deg)
    rays = np.stack([np.cos(lat) * np.sin(lon), np.sin(lat), np.cos(lat) * np.cos(lon)], axis=-1)
    return (rays @ directions().T).argmax(axis=-1)


def seams_of(doubled: np.ndarray) -> list[float]:
    """Return the longitudes, degrees, of the seams about which contours are doubled, the clearest first.

    doubled: (WINDOWS,) of `doubling`. A seam lies in several windows, which overlap: those that are told lie 30 degrees apart.
    """
    seams: list[float] = []
    for i in np.argsort(-doubled, kind="stable"):
        if doubled[i] > _DOUBLED and all(away(_MIDDLES[i], lon) >= _APART_DEG for lon in seams):
            seams.append(float(_MIDDLES[i]))
    return seams


def burnt_at(shares: np.ndarray) -> tuple[float, float] | None:
    """Return longitude and latitude, degrees, of the patch that is burnt out most, or None where none is clearly.

    shares: (32,) of `burnt_shares`.
    """
    worst = int(shares.argmax())
    east, up, ahead = directions()[worst]
    return (float(np.degrees(np.arctan2(east, ahead))), float(np.degrees(np.arcsin(up)))) if shares[worst] > _BURNT else None


def faults_of_view(doubled: np.ndarray, shares: np.ndarray, lon_deg: float, lat_deg: float) -> list[str]:
    """Return what of `camera_faults` is told of a view that looks to a direction, a phrase each."""
    near = [lon for lon in seams_of(doubled) if away(lon, lon_deg) <= _BESIDE_DEG]
    return ((["double contours at a seam of the stitching"] if near and abs(lat_deg) <= _REACH_DEG else [])
            + (["light burnt out to white"] if shares[_facing(lon_deg, lat_deg)] > _BURNT else []))


def camera_faults(doubled: np.ndarray, shares: np.ndarray, parted_px: float) -> list[str]:
    """Return what is told of a panorama's `doubling`, `burnt_shares` and `fringes.parting`, a phrase each, or []."""
    phrases = []
    sides = list(dict.fromkeys(direction_words(lon, 0.0) for lon in seams_of(doubled)))
    if sides:
        phrases.append("double contours at seams of the stitching, " + (" and ".join(sides) if len(sides) < 3 else "all around"))
    burnt = burnt_at(shares)
    return (phrases + ([f"light burnt out to white {direction_words(*burnt)}"] if burnt else [])
            + (["colour fringes along edges"] if fringed(parted_px) else []))
