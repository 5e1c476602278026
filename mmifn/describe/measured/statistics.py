"""All measured statistics of a panorama in one fixed order, for the whole sphere and for every viewport."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from mmifn.core.errors import UserError
from mmifn.describe.measured import pixels
from mmifn.describe.measured.camera import burnt_shares, doubling
from mmifn.describe.measured.fringes import parting
from mmifn.describe.measured.grid import Grid, Lines, find_grid, profiles
from mmifn.describe.measured.local import patch_statistics
from mmifn.describe.measured.views import FOV_DEG, VIEW_STATISTICS, measure_views
from mmifn.sphere import degrees_to_directions, dodecahedron, erp_directions, latitude_weights

MIN_HEIGHT_PX = 128  # below, tiles are too few to tell viewports apart
_DETAIL_FLOOR = 2.0  # grey levels of the third octave that a tile needs for its sharpness to be told
_SOFT = 0.1  # grey levels added to both sides of a ratio of band energies
_QUANTILES = (0.1, 0.5, 0.9, 0.98)
_WEAK_TEXTURE = (1.0, 4.0)  # grey levels of the third octave: where compression removes detail first

TILE_MAPS = ("noise", "chroma_noise", "fine", "middle", "blocking", "ringing", "constant", "flat_chroma", "banding")
NAMES = ("noise_floor", "noise", "chroma_noise_floor", "chroma_noise",
         "fine_q10", "fine_q50", "fine_q90", "fine_q98", "fine_weak",
         "middle_q10", "middle_q50", "middle_q90", "middle_q98",
         "blocking", "blocking_across", "blocking_down", "grid_px",
         "ringing", "constant", "flat_chroma", "chroma_detail", "banding",
         *(name for name in VIEW_STATISTICS), "blur_sharpest", "blur_softest")


@dataclass(frozen=True)
class Statistics:
    """What was measured on one panorama.

    values: every statistic of NAMES over the sphere; per_viewport: one dict per viewport with the view statistics and
    the viewport's mean of each tile map; centres_deg: (V, 2) longitude and latitude; grids: across (vertical edges)
    and down (horizontal edges); patches: statistics of small parts of the sphere (local.py); doubled, burnt: how much contours
    are doubled by longitude, and which share of each patch is white (camera.py); parted_px: how far red and blue lie on
    opposite sides of green (fringes.py).
    """

    values: dict[str, float]
    per_viewport: list[dict[str, float]]
    centres_deg: np.ndarray
    grids: tuple[Grid, Grid]
    patches: np.ndarray
    doubled: np.ndarray
    burnt: np.ndarray
    parted_px: float

    def vector(self) -> np.ndarray:
        """Return the statistics in the order of NAMES, (len(NAMES),) float64."""
        return np.array([self.values[name] for name in NAMES])


@lru_cache(maxsize=4)
def _footprints(rows: int, columns: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return area weights of tiles (R, C), viewport membership (V, R, C) and viewport centres (V, 2)."""
    centres = dodecahedron()
    rays = erp_directions(rows, columns)
    near = torch.einsum("rcd,vd->vrc", rays, degrees_to_directions(centres[:, 0].double(), centres[:, 1].double()))
    inside = (near > np.cos(np.radians(FOV_DEG / 2))).numpy()
    weights = latitude_weights(rows)[:, None].expand(rows, columns).numpy()
    return weights, inside, centres.numpy()


def weighted_quantile(values: np.ndarray, weights: np.ndarray, quantiles: tuple[float, ...]) -> list[float]:
    """Return quantiles of the finite values, each counting with its weight; NaN where there are none."""
    keep = np.isfinite(values)
    if not keep.any():
        return [float("nan")] * len(quantiles)
    order = np.argsort(values[keep], kind="stable")
    sorted_values, sorted_weights = values[keep][order], weights[keep][order]
    position = (np.cumsum(sorted_weights) - sorted_weights / 2) / sorted_weights.sum()
    return [float(value) for value in np.interp(quantiles, position, sorted_values)]


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    keep = np.isfinite(values)
    total = weights[keep].sum()
    return float((values[keep] * weights[keep]).sum() / total) if total > 0 else float("nan")


def _ratio(finer: np.ndarray, coarser: np.ndarray, where: np.ndarray) -> np.ndarray:
    return np.where(where, np.log2((finer + _SOFT) / (coarser + _SOFT)), np.nan)


def _strip_maps(part: np.ndarray, lines: tuple[Lines, Lines], first_row: int) -> dict[str, np.ndarray]:
    """Measure the tile maps of some rows (R, W, 3) of an ERP; NaN where something cannot be told."""
    levels, (red, blue) = pixels.luminance(part), pixels.chroma(part)
    luma = levels.astype(np.float32)
    clipped = pixels.clipped_tiles(levels) > 0.02
    residual = pixels.noise_residual(levels)
    bands = pixels.band_tiles(luma)
    blocking = sum(np.nan_to_num(line.tiles(levels, first_row)) for line in lines) / 2
    chroma_std = np.hypot(pixels.tile_std(red), pixels.tile_std(blue))
    luma_std = pixels.tile_std(luma)
    chroma_noise = np.sqrt(pixels.tile_mean(pixels.noise_residual(red) ** 2 + pixels.noise_residual(blue) ** 2) / 2)
    told = bands[2] > _DETAIL_FLOOR
    weak = (bands[2] > _WEAK_TEXTURE[0]) & (bands[2] < _WEAK_TEXTURE[1])
    return {
        "noise": np.where(clipped, np.nan, np.sqrt(pixels.tile_mean(residual ** 2))),
        "chroma_noise": np.where(clipped, np.nan, chroma_noise),
        "fine": _ratio(bands[0], bands[1], told), "middle": _ratio(bands[1], bands[2], told),
        "fine_weak": _ratio(bands[0], bands[1], weak),
        "blocking": np.maximum(blocking, 0), "ringing": pixels.ringing_tiles(luma, residual),
        "constant": np.where(clipped, np.nan, pixels.constant_tiles(levels)),
        "flat_chroma": np.where(luma_std > 4, (chroma_std < 0.5).astype(np.float32), np.nan),
        "chroma_detail": chroma_std / (luma_std + 1),
        "banding": np.where(clipped, np.nan, pixels.banding_tiles(levels)),
    }


def tile_maps(erp: np.ndarray, threads: int) -> tuple[dict[str, np.ndarray], tuple[Grid, Grid]]:
    """Measure all tile maps of an ERP, strips at a time, and the grids across and down."""
    cut = pixels.strips(*erp.shape[:2])
    by_row, by_column = profiles(((strip, pixels.luminance(erp[strip.first:strip.last])) for strip in cut), len(erp))
    (across, lines_across), (down, lines_down) = find_grid(by_column, axis=1), find_grid(by_row, axis=0)

    def tiles_of(strip: pixels.Strip) -> dict[str, np.ndarray]:
        maps = _strip_maps(erp[strip.first:strip.last], (lines_across, lines_down), strip.first)
        return {name: strip.inner_tiles(tiles) for name, tiles in maps.items()}

    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(tiles_of, cut))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, (across, down)


def measure(erp: np.ndarray, threads: int = 1) -> Statistics:
    """Measure a panorama (H, W, 3) uint8, by some threads at a time (the values do not depend on how many).

    Sharpness, exposure, contrast and colour are measured in tangent views at native resolution; noise, blocking,
    ringing and flatness on the plane of the ERP, where they arise, and summed over the sphere and over the footprint
    of each view. Raises UserError below MIN_HEIGHT_PX rows.
    """
    if erp.ndim != 3 or erp.shape[2] != 3 or erp.dtype != np.uint8:
        raise ValueError(f"an ERP is (H, W, 3) uint8, got {erp.shape} {erp.dtype}")
    if erp.shape[0] < MIN_HEIGHT_PX:
        raise UserError(f"a panorama of {erp.shape[1]}x{erp.shape[0]} is too small to be measured; "
                        f"at least {2 * MIN_HEIGHT_PX}x{MIN_HEIGHT_PX} is needed")
    maps, grids = tile_maps(erp, threads)
    weights, inside, centres = _footprints(*maps["noise"].shape, erp.shape[0])
    views = measure_views(erp, torch.from_numpy(centres), threads)
    for view, footprint in zip(views, inside, strict=True):
        view.update({name: _mean(maps[name][footprint], weights[footprint]) for name in TILE_MAPS})
    return Statistics(_summary(maps, grids, views, weights), views, centres, grids, patch_statistics(maps),
                      doubling(erp), burnt_shares(erp), parting(erp))


def _summary(maps: dict[str, np.ndarray], grids: tuple[Grid, Grid], views: list[dict[str, float]],
             weights: np.ndarray) -> dict[str, float]:
    """Reduce maps and views to the statistics of NAMES; what cannot be told (no texture, all clipped) becomes 0."""
    values: dict[str, float] = {}
    for name in ("noise", "chroma_noise"):
        values[f"{name}_floor"], values[name] = weighted_quantile(maps[name], weights, (0.1, 0.5))
    for name in ("fine", "middle"):
        quantiles = weighted_quantile(maps[name], weights, _QUANTILES)
        values |= {f"{name}_q{100 * q:.0f}": value for q, value in zip(_QUANTILES, quantiles, strict=True)}
    values["fine_weak"] = weighted_quantile(maps["fine_weak"], weights, (0.5,))[0]
    values["blocking_across"], values["blocking_down"] = (grid.strength for grid in grids)
    values["blocking"] = (values["blocking_across"] + values["blocking_down"]) / 2
    values["grid_px"] = max(grids, key=lambda grid: grid.strength).period_px
    values["ringing"] = weighted_quantile(maps["ringing"], weights, (0.5,))[0]
    for name in ("constant", "flat_chroma", "banding"):
        values[name] = _mean(maps[name], weights)
    values["chroma_detail"] = _mean(maps["chroma_detail"], weights)
    for name in VIEW_STATISTICS:
        values[name] = float(np.mean([view[name] for view in views]))
    blur = [view["blur"] for view in views]
    values["blur_sharpest"], values["blur_softest"] = min(blur), max(blur)
    return {name: float(np.nan_to_num(values[name], nan=0.0)) for name in NAMES}
