"""What a language model is shown of a panorama: a reduced ERP, or tangent views at native angular resolution."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from mmifn.core.errors import UserError
from mmifn.core.pixels import to_pixels
from mmifn.data.images import read_image, write_png
from mmifn.describe.generation import Answer, Item
from mmifn.sphere import dodecahedron, native_fov_deg, prepare_erp, resize_erp, sample_views, viewport_directions

MAX_FOV_DEG = 90.0
VIEWPORTS = len(dodecahedron())  # --per-viewport describes these


def reduce_erp(erp: np.ndarray, height_px: int) -> np.ndarray:
    """Reduce an ERP (H, W, 3) uint8 to `height_px` rows, low-passed and seamless; a smaller one stays as it is."""
    return erp if len(erp) <= height_px else to_pixels(resize_erp(erp, height_px, 2 * height_px))


def view_fov_deg(erp_width_px: int, size_px: int) -> float:
    """Return the field of view at which a view of this size has the ERP's own resolution, at most MAX_FOV_DEG."""
    return min(MAX_FOV_DEG, native_fov_deg(erp_width_px, size_px))


def native_views(erp: np.ndarray, centres_deg: torch.Tensor, size_px: int) -> list[np.ndarray]:
    """Return tangent views (size_px, size_px, 3) uint8 at native resolution, one per centre (V, 2) degrees."""
    fov_deg = view_fov_deg(erp.shape[1], size_px)
    prepared = prepare_erp(erp, fov_deg, size_px)
    views = []
    for lon, lat in centres_deg.tolist():
        rays = viewport_directions(lon, lat, fov_deg, size_px)[None]
        views.append(to_pixels(sample_views(prepared, rays)[0]))
    return views


def write_inputs(items: list[Item], folder: Path, side_px: int,
                 max_megapixels: float) -> tuple[dict[Item, Path], list[Answer]]:
    """Write what each item is to be judged by as PNG: the ERP at side_px rows, a viewport at side_px squared.

    Says once on stderr what the model will see. Returns the file of each item, and failures for unreadable images.
    """
    files: dict[Item, Path] = {}
    failures: list[Answer] = []
    told = False
    for name in dict.fromkeys(item.name for item in items):
        mine = [item for item in items if item.name == name]
        try:
            erp = read_image(mine[0].path, max_megapixels=max_megapixels)
        except UserError as error:
            failures += [Answer(item, failure=str(error)) for item in mine]
            continue
        if not told:
            print(what_is_seen(erp.shape[1], side_px, any(item.viewport for item in mine)), file=sys.stderr)
            told = True
        wanted = [item for item in mine if item.viewport]
        centres = dodecahedron()[[int(item.viewport) for item in wanted]]
        views = iter(native_views(erp, centres, side_px)) if wanted else iter(())
        for item in mine:
            path = folder / f"{len(files):06d}.png"
            write_png(next(views) if item.viewport else reduce_erp(erp, side_px), path)
            files[item] = path
    return files, failures


def what_is_seen(width_px: int, side_px: int, viewports: bool) -> str:
    """Say how much of a panorama is left in what the model sees."""
    height = min(side_px, width_px // 2)
    text = (f"a panorama {width_px} px wide is seen as {2 * height}x{height} ({2 * height / 360:.1f} of "
            f"{width_px / 360:.1f} px per degree)")
    if viewports:
        fov = view_fov_deg(width_px, side_px)
        return text + f", and as {VIEWPORTS} viewports of {side_px}x{side_px} px, {fov:.0f}° each, at native resolution"
    return text + "; --per-viewport would also show viewports at native resolution" if height < width_px // 2 else text
