"""Distortions of a part of the sphere: patches are judged one by one, and those of one kind gathered into a named region.

The judge is a multinomial logistic regression on statistics of a patch, on how they differ from the panorama's median patch
and on latitude (an ERP is stretched towards its poles); strengths are ridge regressions on the same. Both were fitted on
regions of the calibration scenes, at two sizes: local.json; remake it: python tools/calibrate_words.py --local.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from mmifn.core.files import sha256_file
from mmifn.describe.directions import SIDES
from mmifn.describe.measured.calibration import severity_of_points

FILE = Path(__file__).with_name("local.json")
KINDS = ("none", "blur", "noise", "compression")
RADIUS_DEG = 22.0
# Tile map, quantile over the patch (None: mean), and the offset of log2 (None: as it is).
FEATURES = (("noise", 0.1, 0.1), ("noise", 0.5, 0.1), ("fine", 0.5, None), ("fine", 0.9, None), ("fine_weak", 0.5, None),
            ("middle", 0.5, None), ("middle", 0.9, None), ("blocking", None, 0.05), ("ringing", 0.5, None),
            ("constant", None, 0.005), ("flat_chroma", None, 0.01), ("chroma_noise", 0.1, 0.1))
LIMIT = 3.0
_LEAST_TILES, _LEAST_SHARE = 4, 0.15  # of a patch that must be measured for a feature to be told
# A region is named where the patches agree with it; chosen on the calibration scenes.
_FIT, _INSIDE, _OUTSIDE, _LEAST_PATCHES, _EVERYWHERE = 0.65, 0.5, 0.3, 2, 0.8
FULL, EMPTY = 0.75, 0.1  # shares of a patch from which it counts as inside a region, and up to which as outside
# Shares at which the judge begins to see a kind and is sure of it, read off regions of the calibration scenes: noise is told by
# the quietest tiles of a patch, blocking by their mean.
_RESPONSES = {"blur": (0.4, 0.75), "noise": (0.8, 0.95), "compression": (0.1, 0.6)}
_CERTAIN = 0.9
# Points of 100 by which a model must score the views of a region below the others for the region to be believed. On 18
# calibration scenes of 2048x1024 distorted parts lie 4 to 29 below the rest, and soft skies taken for blur 2 above it.
_LOWER = 1.0
# A patch in which no tile has texture is a clear sky, or blurred beyond measuring: then the model scores the views near it this
# far below its better ones.
_FAR_LOWER, _NEAR_DEG, _BETTER = 15.0, 35.0, 0.75
_GONE = 5.0  # severity of a blur that has left no texture
_FINE = FEATURES.index(("fine", 0.5, None))
_POLES_DEG = (30, 45, 55)  # latitudes at which a pole may begin
_GRID = (45, 90)  # of directions, for the shares


@dataclass(frozen=True)
class Finding:
    """One kind of distortion in one region: in words, its strength 0..5, and whether all else is clean."""

    kind: str
    region: str
    severity: float
    rest_clean: bool

    def within(self, points: float) -> Finding:
        """Return the same, no stronger than a loss of so many points of 100 allows."""
        return replace(self, severity=min(self.severity, severity_of_points(points)))


def _towards(lon_deg: float | np.ndarray, lat_deg: float | np.ndarray) -> np.ndarray:
    """Return the unit vectors of directions in degrees: (3,), or (3, N) of N of them."""
    lon, lat = np.radians(lon_deg), np.radians(lat_deg)
    return np.stack([np.cos(lat) * np.sin(lon), np.sin(lat), np.cos(lat) * np.cos(lon)])


def directions() -> np.ndarray:
    """Return the centres of the patches, (32, 3) unit vectors: the corners of a dodecahedron and of an icosahedron."""
    golden = (1 + 5 ** 0.5) / 2

    def turned(a: float, b: float) -> list[tuple[float, float, float]]:
        return [point for x in (-a, a) for y in (-b, b) for point in ((0, x, y), (x, y, 0), (y, 0, x))]

    cube = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    corners = np.array([*cube, *turned(1 / golden, golden), *turned(1, golden)])
    return corners / np.linalg.norm(corners, axis=1, keepdims=True)


def rays_of(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the directions (R C, 3) of the cells of a grid over the sphere with their latitudes and longitudes, degrees."""
    lat = np.radians(90 - (np.arange(rows) + 0.5) * 180 / rows)
    lon = np.radians(-180 + (np.arange(columns) + 0.5) * 360 / columns)
    lat, lon = (angle.ravel() for angle in np.meshgrid(lat, lon, indexing="ij"))
    return (np.stack([np.cos(lat) * np.sin(lon), np.sin(lat), np.cos(lat) * np.cos(lon)], axis=1), np.degrees(lat),
            np.degrees(lon))


@lru_cache(maxsize=4)
def _footprints(rows: int, columns: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the indices of the cells of each patch, and the area weight of every cell."""
    rays, lat, _ = rays_of(rows, columns)
    near = rays @ directions().T > np.cos(np.radians(RADIUS_DEG))
    return [np.flatnonzero(column) for column in near.T], np.cos(np.radians(lat))


def patch_statistics(maps: dict[str, np.ndarray]) -> np.ndarray:
    """Reduce tile maps (R, C) to the features of every patch, (32, len(FEATURES)); NaN where one cannot be told."""
    patches, weights = _footprints(*maps["noise"].shape)
    features = np.full((len(patches), len(FEATURES)), np.nan)
    for j, (name, quantile, offset) in enumerate(FEATURES):
        values = maps[name].ravel()
        known = np.isfinite(values)
        for i, cells in enumerate(patches):
            inside = cells[known[cells]]
            if len(inside) < _LEAST_TILES or weights[inside].sum() < _LEAST_SHARE * weights[cells].sum():
                continue
            if quantile is None:
                value = np.average(values[inside], weights=weights[inside])
            else:
                value = _quantile(values, weights, inside, quantile)
            features[i, j] = value if offset is None else np.log2(max(value, 0) + offset)
    return features


def _quantile(values: np.ndarray, weights: np.ndarray, cells: np.ndarray, quantile: float) -> float:
    """Return a quantile of the values at some cells, each counting with its weight."""
    order = cells[np.argsort(values[cells], kind="stable")]
    sums = np.cumsum(weights[order])
    return values[order[min(np.searchsorted(sums, quantile * sums[-1]), len(order) - 1)]]


def quantile_of_patch(values: np.ndarray, patch: int, quantile: float, rows: int, columns: int) -> float:
    """Return a quantile over one patch of values at the cells of a grid, (R C,)."""
    patches, weights = _footprints(rows, columns)
    return float(_quantile(values, weights, patches[patch], quantile))


def design(patches: np.ndarray) -> np.ndarray:
    """Return what the regressions read of patches (32, F), not standardised."""
    known = np.isfinite(patches)
    median = np.array([np.median(column[told]) if told.any() else 0.0 for column, told in zip(patches.T, known.T, strict=True)])
    whole = np.where(known, patches, median)
    high = np.abs(np.degrees(np.arcsin(directions()[:, 1:2]))) / 90
    return np.concatenate([whole, whole - median, (whole - median) * high, ~known[:, [0, 2]], high, high ** 2, high ** 4], axis=1)


@lru_cache(maxsize=1)
def _constants() -> dict[str, np.ndarray]:
    content = json.loads(FILE.read_text(encoding="utf-8"))
    return {name: np.array(content[name]) for name in ("mean", "scale", "weights", "bias", "severity_weights", "severity_bias")}


def revision() -> str:
    """Identify the fitted constants (12 hex digits)."""
    return sha256_file(FILE)[:12]


def judge_patches(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for every patch the probability of each of KINDS, (32, 4), and the severity of each but "none", (32, 3), 0..5."""
    known = _constants()
    row = np.clip((design(patches) - known["mean"]) / known["scale"], -LIMIT, LIMIT)
    scores = row @ known["weights"].T + known["bias"]
    chances = np.exp(scores - scores.max(axis=1, keepdims=True))
    severity = np.clip(row @ known["severity_weights"].T + known["severity_bias"], 0.36, 5.0)
    return chances / chances.sum(axis=1, keepdims=True), severity


def here(patches: np.ndarray, lon_deg: float, lat_deg: float) -> tuple[str, float]:
    """Return the kind that is likeliest in the patches around a direction, and its severity (0 for "none")."""
    near = directions() @ _towards(lon_deg, lat_deg) > np.cos(np.radians(RADIUS_DEG + 10))  # at least one, wherever it looks
    chances, severity = judge_patches(patches)
    kind = int(chances[near].mean(axis=0).argmax())
    return KINDS[kind], float(severity[near, kind - 1].mean()) if kind else 0.0


def region_masks(lat: np.ndarray, lon: np.ndarray) -> dict[tuple[str, int], np.ndarray]:
    """Return the regions that have a name, by name and a number, over directions in degrees; ahead is longitude 0°.

    Poles have several sizes under one name.
    """

    def within(middle: float, reach: float) -> np.ndarray:
        return np.abs((lon - middle + 180) % 360 - 180) <= reach

    halves = {"in the front half": within(0, 90), "in the right half": within(90, 90), "in the rear half": within(180, 90),
              "in the left half": within(-90, 90)}
    levels = {"above the horizon": lat > 0, "below the horizon": lat < 0}
    regions = {**halves, **levels, "around the horizon": np.abs(lat) < 30}
    regions |= {f"{half}, {level}": halves[half] & levels[level] for half in halves for level in levels}
    for i, side in enumerate(SIDES):
        regions[f"{side}, from the zenith to the floor"] = within(90.0 * i, 45)
        regions |= {f"{side}, {level}": within(90.0 * i, 45) & mask for level, mask in levels.items()}
    poles = {(name, edge): sign * lat > edge for name, sign in (("overhead", 1), ("at the floor", -1)) for edge in _POLES_DEG}
    return {(name, 0): mask for name, mask in regions.items()} | poles


def covers(region: str, lon_deg: float, lat_deg: float) -> bool:
    """Tell whether a region holds a direction."""
    return bool(_inside(region, np.array([[lon_deg, lat_deg]]))[0])


def _inside(region: str, centres_deg: np.ndarray) -> np.ndarray:
    """Tell which directions (V, 2) in degrees a region holds, (V,) bool."""
    lon, lat = centres_deg.T
    return np.any([mask for (name, _), mask in region_masks(lat, lon).items() if name == region], axis=0)


def worst_score(region: str, centres_deg: np.ndarray, scores: np.ndarray) -> float:
    """Return the lowest score (V,) of the views that look to centres_deg (V, 2) in a region; of all views if none looks there."""
    inside = _inside(region, centres_deg)
    return float(scores[inside].min() if inside.any() else scores.min())


def scored_lower(region: str, centres_deg: np.ndarray, scores: np.ndarray) -> bool:
    """Tell whether views that look to centres_deg (V, 2) have lower scores (V,), of 100, in a region than elsewhere."""
    inside = _inside(region, centres_deg)
    if inside.all() or not inside.any():
        return True  # nothing to compare with
    return bool(scores[inside].mean() < scores[~inside].mean() - _LOWER)


def lost_texture(patches: np.ndarray, centres_deg: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Tell for every patch of (32, F) whether it has lost all texture to blur, (32,) bool.

    So it is where no texture can be told, and views that look to centres_deg (V, 2) near it have scores (V,), of 100, far below
    those of the better views.
    """
    near = directions() @ _towards(*centres_deg.T) > np.cos(np.radians(_NEAR_DEG))
    mean = np.array([scores[seen].mean() if seen.any() else np.inf for seen in near])
    return ~np.isfinite(patches[:, _FINE]) & (mean < np.quantile(scores, _BETTER) - _FAR_LOWER)


def _response(kind: str, share: np.ndarray) -> np.ndarray:
    """Return how probable a kind is in a patch of which a share is distorted, 0..1."""
    first, last = _RESPONSES[kind]
    return np.clip((share - first) / (last - first), 0, 1)


@lru_cache(maxsize=1)
def _shares() -> dict[tuple[str, int], np.ndarray]:
    """Return which share of every patch lies in each region, (32,)."""
    _, lat, lon = rays_of(*_GRID)
    return {name: shares_of(mask, *_GRID) for name, mask in region_masks(lat, lon).items()}


def shares_of(mask: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return which share of every patch lies in a mask over the cells of a grid, (32,)."""
    patches, weights = _footprints(rows, columns)
    return np.array([np.average(mask[cells], weights=weights[cells]) for cells in patches])


def findings(patches: np.ndarray, lost: np.ndarray | None = None) -> list[Finding]:
    """Return the distortions that cover a part of the sphere, the strongest first; none of what is everywhere or nowhere.

    lost: patches of which it is known that blur has left nothing (lost_texture).
    """
    chances, severity = judge_patches(patches)
    if lost is not None:
        chances[lost] = np.eye(len(KINDS))[KINDS.index("blur")]
        severity[lost, KINDS.index("blur") - 1] = _GONE
    findings, explained = [], np.zeros(len(chances), dtype=bool)
    for k, kind in enumerate(KINDS[1:], start=1):
        likely = chances[:, k]
        if not _LEAST_PATCHES <= (likely > 0.5).sum() <= _EVERYWHERE * len(likely):
            continue
        wanted = {name: _response(kind, share) for name, share in _shares().items()}
        name = min(wanted, key=lambda region: float(np.mean((likely - wanted[region]) ** 2)))
        inside, outside = wanted[name] > _CERTAIN, _shares()[name] < EMPTY
        if not inside.any() or float(np.corrcoef(likely, wanted[name])[0, 1]) < _FIT or (
                likely[inside].mean() < _INSIDE or likely[outside].mean() > _OUTSIDE):
            continue
        findings.append((kind, name[0], float(severity[inside, k - 1].mean())))
        explained |= _shares()[name] >= EMPTY
    rest = chances[~explained, 0]
    clean = len(rest) > 0 and float(rest.mean()) > 1 - _OUTSIDE
    return [Finding(*finding, clean) for finding in sorted(findings, key=lambda finding: -finding[2])]
