"""Measurements in tangent views at native angular resolution: sharpness, exposure, contrast and colour as seen."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import cv2
import numpy as np
import torch

from mmifn.core.pixels import LUMA
from mmifn.describe.measured.pixels import CLIPPED_HIGH, CLIPPED_LOW
from mmifn.sphere import directions_to_degrees, native_fov_deg, native_size_px, prepare_erp, sample_views, viewport_directions

FOV_DEG = 60.0
MAX_VIEW_PX = 640  # larger panoramas are seen through narrower views of this size, still at native resolution
_BLUR_PX, _LEAST_EDGE = 11, 1e-15
VIEW_STATISTICS = ("blur", "brightness", "dark", "bright", "contrast", "colourfulness")


def view_geometry(erp_width_px: int) -> tuple[float, int]:
    """Return field of view in degrees and size in pixels of views at native resolution."""
    size_px = native_size_px(erp_width_px, FOV_DEG)
    if size_px <= MAX_VIEW_PX:
        return FOV_DEG, size_px
    return native_fov_deg(erp_width_px, MAX_VIEW_PX), MAX_VIEW_PX


def blur_effect(luma: np.ndarray) -> float:
    """Return how little a further blur changes a picture (H, W) float32: 0 sharp to 1 blurred (Crete et al. 2007).

    The share of the edges that a mean over 11 pixels leaves, across or down, whichever is larger; Sobel edges. As skimage
    measures it, within rounding.
    """
    shares = []
    for across in (True, False):
        smoothed = cv2.blur(luma, (_BLUR_PX, 1) if across else (1, _BLUR_PX), borderType=cv2.BORDER_REFLECT)
        sharp, soft = (np.abs(cv2.Sobel(plane, cv2.CV_32F, int(across), int(not across)))[2:-1, 2:-1]
                       for plane in (luma, smoothed))
        edges = float(np.maximum(sharp, _LEAST_EDGE).sum())
        shares.append(1 - float(np.maximum(sharp - soft, 0).sum()) / edges)
    return max(shares)


def measure_view(view: np.ndarray) -> dict[str, float]:
    """Measure one tangent view (S, S, 3) float32 in 0..255.

    blur: see blur_effect, 0 sharp to 1 blurred; brightness and contrast: mean and standard deviation
    of luma in grey levels; dark, bright: fractions clipped; colourfulness: Hasler and Süsstrunk (2003).
    """
    luma = view @ np.array(LUMA, np.float32)
    red_green = view[..., 0] - view[..., 1]
    yellow_blue = (view[..., 0] + view[..., 1]) / 2 - view[..., 2]
    spread = np.hypot(red_green.std(), yellow_blue.std())
    centre = np.hypot(red_green.mean(), yellow_blue.mean())
    blur = blur_effect(luma / 255) if luma.std() > 1 else 1.0  # 0/0 on a flat view
    return {"blur": float(np.nan_to_num(blur, nan=1.0)), "brightness": float(luma.mean()),
            "dark": float((luma <= CLIPPED_LOW).mean()), "bright": float((luma >= CLIPPED_HIGH).mean()),
            "contrast": float(luma.std()), "colourfulness": float(spread + 0.3 * centre)}


@lru_cache(maxsize=8)
def _looked_at(lat_deg: float, fov_deg: float, size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how far east of its centre, and how far north of the equator, each pixel of a view lies: (S, S) float32 degrees."""
    lon, lat = directions_to_degrees(viewport_directions(0.0, lat_deg, fov_deg, size_px))
    return lon.float().numpy(), lat.float().numpy()


def _view(erp: np.ndarray, centre_deg: list[float], fov_deg: float, size_px: int) -> np.ndarray:
    """Sample one view of a large ERP without a copy of it: (S, S, 3) float32 in 0..255, bicubic."""
    lon_deg, lat_deg = centre_deg
    east, lat = _looked_at(lat_deg, fov_deg, size_px)
    x = (east + np.float32(lon_deg + 180)) * np.float32(erp.shape[1] / 360) - np.float32(0.5)
    y = (90 - lat) * np.float32(erp.shape[0] / 180) - np.float32(0.5)
    top, bottom = max(0, int(y.min()) - 3), int(y.max()) + 4  # OpenCV reads pictures of at most 32766 rows or columns
    return cv2.remap(erp[top:bottom], x, y - np.float32(top), cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP).astype(np.float32)


def measure_views(erp: np.ndarray, centres_deg: torch.Tensor, threads: int = 1) -> list[dict[str, float]]:
    """Measure the tangent views of an ERP (H, W, 3) uint8 at centres (V, 2) degrees, one dict per view."""
    fov_deg, size_px = view_geometry(erp.shape[1])
    whole = prepare_erp(erp, fov_deg, size_px) if fov_deg == FOV_DEG else None

    def measured(centre: list[float]) -> dict[str, float]:
        if whole is None:
            return measure_view(_view(erp, centre, fov_deg, size_px))
        rays = viewport_directions(*centre, fov_deg, size_px)
        return measure_view(sample_views(whole, rays[None])[0].permute(1, 2, 0).numpy() * 255)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(measured, centres_deg.tolist()))
