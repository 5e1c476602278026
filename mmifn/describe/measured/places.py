"""Where on the sphere something is worst, in words."""

from __future__ import annotations

import numpy as np

from mmifn.describe.directions import SIDES, STEEP_DEG

_RATIO = 1.3  # a region must be this many times as bad as the mean of all to be named
_OFFSETS = {"blocking": 0.3, "noise": 1.0}  # grey levels below which differences mean nothing
SMEAR = "smear"  # compression without a block grid: like blur, it shows where texture is softest


def regions(centres_deg: np.ndarray) -> dict[str, np.ndarray]:
    """Return the named regions of the sphere as masks over viewport centres (V, 2) (lon, lat) degrees."""
    lon, lat = centres_deg.T
    masks = {"above the horizon": lat > STEEP_DEG, "around the horizon": np.abs(lat) <= STEEP_DEG,
             "below the horizon": lat < -STEEP_DEG}
    for i, side in enumerate(SIDES):
        masks[side] = np.abs((lon - 90.0 * i + 180) % 360 - 180) <= 45
    return masks


def _filled(values: list[float]) -> np.ndarray:
    """Put the mean in the place of views where nothing could be measured."""
    array = np.array(values, dtype=np.float64)
    known = array[np.isfinite(array)]
    return np.where(np.isfinite(array), array, known.mean() if len(known) else 0.0)


def strength_by_view(sign: str, per_viewport: list[dict[str, float]]) -> np.ndarray:
    """Return how strong a sign is in each viewport, (V,), relative to the mean of all (1 everywhere where even).

    sign: "blocking" or "noise", in grey levels; "blur" or SMEAR, by how little the finest octave holds beside the next.
    """
    if sign in _OFFSETS:
        values = _filled([view[sign] for view in per_viewport]) + _OFFSETS[sign]
        return values / values.mean()
    fine = _filled([view["fine"] for view in per_viewport])
    return 2.0 ** (fine.mean() - fine)


def worst_region(sign: str, per_viewport: list[dict[str, float]], centres_deg: np.ndarray) -> str:
    """Return the region where a sign is clearly strongest, or "" where it is about even."""
    strength = strength_by_view(sign, per_viewport)
    means = {name: float(strength[mask].mean()) for name, mask in regions(centres_deg).items() if mask.any()}
    best = max(means, key=lambda name: means[name])
    return best if means[best] >= _RATIO else ""
