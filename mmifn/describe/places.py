"""Where on the sphere something is worst, in words."""

from __future__ import annotations

import numpy as np

_UPPER_LAT_DEG = 30.0  # viewports beyond it look up or down; the others look at the horizon
_RATIO = 1.3  # a region must have this many times the mean of all to be named
# Viewport measurements that tell how strong a kind is in one view, and an offset below which differences mean nothing.
MAPS = {"compression": (("blocking", 0.3), ("constant", 0.08)), "noise": (("noise", 1.0),), "blur": (("blur", 0.1),)}


def regions(centres_deg: np.ndarray) -> dict[str, np.ndarray]:
    """Return the named regions of the sphere as masks over viewport centres (V, 2) (lon, lat) degrees."""
    lon, lat = centres_deg.T
    sides = {"ahead": 0.0, "to the right": 90.0, "behind": 180.0, "to the left": -90.0}
    found = {"above the horizon": lat > _UPPER_LAT_DEG, "around the horizon": np.abs(lat) <= _UPPER_LAT_DEG,
             "below the horizon": lat < -_UPPER_LAT_DEG}
    for name, middle in sides.items():
        found[name] = np.abs((lon - middle + 180) % 360 - 180) <= 45
    return found


def strength_by_view(kind: str, per_viewport: list[dict[str, float]]) -> np.ndarray:
    """Return how strong a kind is in each viewport, (V,), relative to the mean of all (1 everywhere where even)."""
    total = np.zeros(len(per_viewport))
    for name, offset in MAPS[kind]:
        values = np.array([view[name] for view in per_viewport])
        values = np.where(np.isfinite(values), values, np.nanmean(values) if np.isfinite(values).any() else 0.0) + offset
        total += values / values.mean()
    return total / len(MAPS[kind])


def worst_region(kind: str, per_viewport: list[dict[str, float]], centres_deg: np.ndarray) -> str:
    """Return the region where a kind is clearly strongest, or "" where it is about even."""
    strength = strength_by_view(kind, per_viewport)
    means = {name: float(strength[mask].mean()) for name, mask in regions(centres_deg).items() if mask.any()}
    best = max(means, key=lambda name: means[name])
    return best if means[best] >= _RATIO else ""
