"""Full-reference quality of ERPs: PSNR and SSIM weighted or resampled to the sphere, and planar metrics on viewports.

Every function compares (H, 2H, 3) uint8 images of one size. The spherical metrics work on luma (BT.601, 0..255) with
peak 255; identical images give infinity for the PSNRs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

from mmifn.core import torchvision_shim as compat  # noqa: F401  (before piq, whose torchvision would not import)
from mmifn.core.pixels import LUMA
from mmifn.fullref.titles import TITLES
from mmifn.sphere import cube, fibonacci, latitude_weights, render_viewports, seen_ppd

import piq  # isort: skip

PEAK = 255.0
LABEL_METRIC = "vp_fsim"  # simulated labels rest on it (simulate.labels); it is never an input of the model
S_PSNR_POINTS = 655_362  # Yu, Lakshman and Girod 2015
_VIEW_FOV_DEG = 90.0
VIEWS = "six 90° faces, at most a headset's pixels"  # how views are made, for the provenance of what was measured on them


def luma(pixels: np.ndarray) -> np.ndarray:
    """Return (H, W) float32 luma 0..255 of (H, W, 3) uint8 (ITU-R BT.601)."""
    return pixels.astype(np.float32) @ np.array(LUMA, dtype=np.float32)


def _psnr(mean_squared_error: float) -> float:
    return math.inf if mean_squared_error == 0 else 10 * math.log10(PEAK ** 2 / mean_squared_error)


def _bands(height: int) -> Iterator[tuple[int, int]]:
    """Cut the rows of an ERP into bands: planes of numbers of a whole panorama of 13,320 px take gigabytes."""
    for start in range(0, height, _BAND_PX):
        yield start, min(start + _BAND_PX, height)


def ws_psnr(reference: np.ndarray, distorted: np.ndarray) -> float:
    """PSNR with each pixel weighted by its area on the sphere, cos(latitude) (Sun, Lu and Yu, IEEE SPL 2017)."""
    rows = np.concatenate([np.mean((luma(reference[a:b]) - luma(distorted[a:b])) ** 2, axis=1, dtype=np.float64)
                           for a, b in _bands(len(reference))])
    return _psnr(float(np.average(rows, weights=latitude_weights(len(rows)).numpy())))


def s_psnr(reference: np.ndarray, distorted: np.ndarray) -> float:
    """PSNR over 655,362 points spread evenly on the sphere, nearest pixels (Yu et al., ISMAR 2015: S-PSNR-NN).

    Differs from the paper: the points are a Fibonacci lattice, not the authors' file of subdivided triangles.
    """
    row, column = _even_points(*reference.shape[:2])
    error = luma(reference[row, column]) - luma(distorted[row, column])
    return _psnr(float(np.mean(error ** 2, dtype=np.float64)))


@lru_cache(maxsize=2)
def _even_points(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    lon, lat = fibonacci(S_PSNR_POINTS).double().numpy().T
    row = np.clip(((90 - lat) / 180 * height).astype(int), 0, height - 1)
    return row, ((lon + 180) / 360 * width).astype(int) % width


def cpp_psnr(reference: np.ndarray, distorted: np.ndarray) -> float:
    """PSNR after resampling to the Craster parabolic projection, which keeps areas (Zakharchenko et al., SPIE 2016).

    The map is as high and wide as the ERP; bicubic interpolation, seam and poles continued.
    """
    height, width = reference.shape[:2]
    error, count = 0.0, 0
    for start, stop in _bands(height):
        x, y, inside = _craster_map(height, width, start, stop)
        top, bottom = math.floor(y.min()) - _PAD_PX, math.ceil(y.max()) + _PAD_PX + 1  # rows that the band reads
        first, second = (cv2.remap(_rows_around(pixels, top, bottom), x, y - np.float32(top), cv2.INTER_CUBIC)
                         for pixels in (reference, distorted))
        error += float(np.sum((first - second)[inside] ** 2, dtype=np.float64))
        count += int(inside.sum())
    return _psnr(error / count)


_BAND_PX = 256
_PAD_PX = 3


def _rows_around(pixels: np.ndarray, top: int, bottom: int) -> np.ndarray:
    """Return luma of the rows top … bottom - 1 of an ERP, which goes on beyond its poles (at the opposite longitude) and,
    by 3 pixels, beyond its seam: (bottom - top, W + 6) float32."""
    height, width = pixels.shape[:2]
    rows = np.arange(top, bottom)
    over = (rows < 0) | (rows >= height)
    plane = luma(pixels[np.where(rows < 0, -rows - 1, np.where(rows >= height, 2 * height - 1 - rows, rows))])
    plane[over] = np.roll(plane[over], width // 2, axis=1)
    return np.concatenate([plane[:, -_PAD_PX:], plane, plane[:, :_PAD_PX]], axis=1)


def _craster_map(height: int, width: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where each pixel of some rows of the Craster map lies in the ERP: x (3 pixels continued), y, and whether it is
    inside the map.

    Forward: x = sqrt(3/pi) lon (2 cos(2 lat / 3) - 1), y = sqrt(3 pi) sin(lat / 3) (Snyder, "Map Projections").
    """
    down = (0.5 - (np.arange(start, stop) + 0.5) / height)[:, None]  # y / sqrt(3 pi)
    across = (2 * (np.arange(width) + 0.5) / width - 1)[None]  # x / sqrt(3 pi)
    lat = 3 * np.arcsin(down)
    lon = math.pi * across / (2 * np.cos(2 * lat / 3) - 1)
    x = (lon / (2 * math.pi) + 0.5) * width - 0.5 + _PAD_PX
    y = np.broadcast_to((0.5 - lat / math.pi) * height - 0.5, x.shape)
    return x.astype(np.float32), np.ascontiguousarray(y, dtype=np.float32), np.abs(lon) <= math.pi


_REACH_PX = 5  # of SSIM's window


def ws_ssim(reference: np.ndarray, distorted: np.ndarray) -> float:
    """SSIM map of the luma averaged with the weights of WS-PSNR (Zhou et al., ICSP 2018).

    SSIM: Wang et al. 2004, Gaussian window 11x11 with sigma 1.5, K1 .01, K2 .03; the window runs across the seam.
    """
    height, means = len(reference), []
    for start, stop in _bands(height):
        rows = np.arange(start - _REACH_PX, stop + _REACH_PX)
        rows = np.where(rows < 0, -rows - 1, np.where(rows >= height, 2 * height - 1 - rows, rows))  # mirrored at the poles
        similarity = ssim_map(luma(reference[rows]), luma(distorted[rows]))[_REACH_PX:-_REACH_PX]
        means.append(similarity.mean(axis=1, dtype=np.float64))
    return float(np.average(np.concatenate(means), weights=latitude_weights(height).numpy()))


def ssim_map(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the (H, W) SSIM map of two luma planes, circular in longitude, mirrored at the poles."""
    def blur(plane: np.ndarray) -> np.ndarray:
        wide = np.concatenate([plane[:, -_REACH_PX:], plane, plane[:, :_REACH_PX]], axis=1)
        return cv2.GaussianBlur(wide, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT)[:, _REACH_PX:-_REACH_PX]

    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a ** 2, blur(b * b) - mean_b ** 2
    both = blur(a * b) - mean_a * mean_b
    structure = (2 * both + c2) / (var_a + var_b + c2)
    result: np.ndarray = structure * (2 * mean_a * mean_b + c1) / (mean_a ** 2 + mean_b ** 2 + c1)
    return result


def compare_views(pixels: np.ndarray) -> Tensor:
    """Render the views on which planar metrics compare: the six 90° faces of a cube, a quarter of the width each.

    Larger panoramas are seen as a headset shows them (11.4 pixels per degree, 4096 px around): planar metrics speak of what
    people saw, and the cost of a view is bounded.
    """
    return render_viewports(pixels, cube(), _VIEW_FOV_DEG, round(360 * seen_ppd(pixels.shape[1])) // 4)


def _grey(views: Tensor) -> Tensor:
    return (views * views.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def _view_ms_ssim(reference: Tensor, distorted: Tensor) -> float:
    scales = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]  # Wang, Simoncelli and Bovik 2003
    fitting = int(math.log2(max(reference.shape[-1] / 11, 1))) + 1  # the window of 11 must fit the coarsest scale
    weights = torch.tensor(scales[:min(5, fitting)])
    return float(piq.multi_scale_ssim(_grey(reference), _grey(distorted), data_range=1.0,
                                      scale_weights=weights / weights.sum()))


def gmsd_of_views(reference: Tensor, views: Tensor) -> Tensor:
    """GMSD (Xue et al., IEEE TIP 2014) of each of (V, 3, S, S) views 0..1: (V,), lower is better."""
    with torch.inference_mode():
        values: Tensor = piq.gmsd(reference, views, data_range=1.0, reduction="none")
    return values


def ssim_of_views(reference: Tensor, views: Tensor) -> Tensor:
    """SSIM (Wang et al. 2004) of the luma of each of (V, 3, S, S) views 0..1: (V,), higher is better."""
    with torch.inference_mode():
        values: Tensor = piq.ssim(_grey(reference), _grey(views), data_range=1.0, reduction="none")
    return values


def view_fsim(reference: Tensor, distorted: Tensor) -> float:
    """FSIMc (Zhang et al., IEEE TIP 2011) of (V, 3, S, S) views 0..1, averaged; higher is better."""
    with torch.inference_mode():
        return float(piq.fsim(reference, distorted, data_range=1.0))


def _view_by_view(function: Callable[[Tensor, Tensor], Tensor | float]) -> Callable[[Tensor, Tensor], float]:
    """Average a planar metric over views, one at a time: the maps of six views of 1024 px at once take gigabytes."""
    def score(reference: Tensor, distorted: Tensor) -> float:
        return float(np.mean([float(function(a[None], b[None])) for a, b in zip(reference, distorted, strict=True)]))

    return score


@dataclass(frozen=True)
class Metric:
    """A full-reference metric: its name in print, whether it compares views or whole ERPs, and which way is better."""

    title: str
    function: Callable[..., float]
    on_views: bool
    higher_is_better: bool = True


METRICS: dict[str, Metric] = {
    "ws_psnr": Metric(TITLES["ws_psnr"], ws_psnr, False),
    "s_psnr": Metric(TITLES["s_psnr"], s_psnr, False),
    "cpp_psnr": Metric(TITLES["cpp_psnr"], cpp_psnr, False),
    "ws_ssim": Metric(TITLES["ws_ssim"], ws_ssim, False),
    "vp_ms_ssim": Metric(TITLES["vp_ms_ssim"], _view_by_view(_view_ms_ssim), True),
    "vp_gmsd": Metric(TITLES["vp_gmsd"], _view_by_view(gmsd_of_views), True, False),
    "vp_vsi": Metric(TITLES["vp_vsi"], _view_by_view(lambda a, b: piq.vsi(a, b, data_range=1.0)), True),
    "vp_fsim": Metric(TITLES["vp_fsim"], _view_by_view(view_fsim), True),
}


def measure(reference: np.ndarray, distorted: np.ndarray, names: tuple[str, ...] = tuple(METRICS),
            reference_views: Tensor | None = None) -> dict[str, float]:
    """Score one distorted ERP by the named metrics; reference_views saves rendering the reference again."""
    if reference.shape != distorted.shape:
        raise ValueError(f"reference {reference.shape} and distorted {distorted.shape} differ in size")
    scores, views = {}, None
    with torch.inference_mode():
        for name in names:
            metric = METRICS[name]
            if not metric.on_views:
                scores[name] = metric.function(reference, distorted)
                continue
            if views is None:
                views = compare_views(distorted)
                reference_views = compare_views(reference) if reference_views is None else reference_views
            scores[name] = metric.function(reference_views, views)
    return scores
