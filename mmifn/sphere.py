"""All spherical geometry: directions, viewport centres, tangent views, seam-aware resizing.

Axes: x right (east), y up, z towards longitude 0, latitude 0. Longitude grows to the east in [-180, 180); the left
edge of an equirectangular image (ERP) is -180, its top edge latitude +90. Pixel centres lie at half-integers, so
column j of W covers longitudes from 360 j/W - 180 to 360 (j+1)/W - 180.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from mmifn.core.defaults import HEADSET_PPD, SAMPLER_NAMES

# A view may be coarser than the ERP by this much before the ERP is low-passed for it; tangent views gain resolution
# towards their edges, so a slightly coarser centre does not alias visibly.
MINIFY_TOLERANCE = 1.15
_PAD_PX = 3  # reach of the bicubic kernel beyond the border


def viewport_directions(lon_deg: float, lat_deg: float, fov_deg: float, size_px: int) -> Tensor:
    """Return the unit ray of every pixel centre of a square tangent view.

    fov_deg: the angle that the view spans on its tangent plane, edge to edge, in (0, 180).
    Returns (S, S, 3) float64; row 0 is the top, column 0 the left (west) side. Gnomonic projection.
    """
    if not 0.0 < fov_deg < 180.0:
        raise ValueError(f"fov_deg must lie between 0 and 180, got {fov_deg}")
    half = math.tan(math.radians(fov_deg) / 2)
    steps = ((torch.arange(size_px, dtype=torch.float64) + 0.5) / size_px * 2 - 1) * half
    up, right = torch.meshgrid(-steps, steps, indexing="ij")
    rays = torch.stack([right, up, torch.ones_like(up)], dim=-1)
    rays = rays / rays.norm(dim=-1, keepdim=True)
    return rays @ _rotation(lon_deg, lat_deg).T


def _rotation(lon_deg: float, lat_deg: float) -> Tensor:
    """Return the (3, 3) matrix that turns the forward ray to (lon, lat), keeping the horizon level."""
    lon, lat = math.radians(lon_deg), math.radians(lat_deg)
    pitch = torch.tensor([[1, 0, 0], [0, math.cos(lat), math.sin(lat)], [0, -math.sin(lat), math.cos(lat)]],
                         dtype=torch.float64)
    yaw = torch.tensor([[math.cos(lon), 0, math.sin(lon)], [0, 1, 0], [-math.sin(lon), 0, math.cos(lon)]],
                       dtype=torch.float64)
    return yaw @ pitch


def directions_to_degrees(rays: Tensor) -> tuple[Tensor, Tensor]:
    """Return longitude in [-180, 180] and latitude in [-90, 90], in degrees, of rays (…, 3)."""
    lon = torch.atan2(rays[..., 0], rays[..., 2])
    lat = torch.atan2(rays[..., 1], torch.hypot(rays[..., 0], rays[..., 2]))
    return torch.rad2deg(lon), torch.rad2deg(lat)


def degrees_to_directions(lon_deg: Tensor, lat_deg: Tensor) -> Tensor:
    """Return unit rays (…, 3) of longitudes and latitudes in degrees."""
    lon, lat = torch.deg2rad(lon_deg), torch.deg2rad(lat_deg)
    return torch.stack([lat.cos() * lon.sin(), lat.sin(), lat.cos() * lon.cos()], dim=-1)


def erp_directions(height: int, width: int) -> Tensor:
    """Return the unit ray of every pixel centre of an ERP, (H, W, 3) float64."""
    lon = (torch.arange(width, dtype=torch.float64) + 0.5) / width * 360 - 180
    lat = 90 - (torch.arange(height, dtype=torch.float64) + 0.5) / height * 180
    return degrees_to_directions(*torch.meshgrid(lon, lat, indexing="xy"))


def latitude_weights(height: int) -> Tensor:
    """Return cos(latitude) of every row centre of an ERP, (H,) float64: proportional to the area of its pixels."""
    return torch.sin((torch.arange(height, dtype=torch.float64) + 0.5) / height * math.pi)


def dodecahedron() -> Tensor:
    """Return the 20 vertices of a regular dodecahedron with two faces at the poles, (20, 2) degrees (lon, lat)."""
    upper = math.degrees(math.atan((3 + math.sqrt(5)) / 4))  # 52.62
    lower = math.degrees(math.atan((3 - math.sqrt(5)) / 4))  # 10.81
    rings = [(upper, 0.0), (lower, 0.0), (-lower, 36.0), (-upper, 36.0)]
    centres = [((72.0 * k + shift + 180) % 360 - 180, lat) for lat, shift in rings for k in range(5)]
    return torch.tensor(centres, dtype=torch.float32)


def fibonacci(count: int = 20) -> Tensor:
    """Return `count` centres on a Fibonacci lattice, (count, 2) degrees (lon, lat), from north to south."""
    i = torch.arange(count, dtype=torch.float64)
    lat = torch.rad2deg(torch.asin(1 - (2 * i + 1) / count))
    lon = (i * 360 * (2 - (1 + math.sqrt(5)) / 2) + 180) % 360 - 180
    return torch.stack([lon, lat], dim=1).float()


def equator(count: int = 8) -> Tensor:
    """Return `count` evenly spaced centres on the equator, (count, 2) degrees (lon, lat)."""
    lon = torch.arange(count, dtype=torch.float64) * 360 / count
    return torch.stack([(lon + 180) % 360 - 180, torch.zeros_like(lon)], dim=1).float()


def cube() -> Tensor:
    """Return the 6 face centres of a cube: front, right, back, left, up, down; (6, 2) degrees (lon, lat)."""
    return torch.tensor([[0, 0], [90, 0], [-180, 0], [-90, 0], [0, 90], [0, -90]], dtype=torch.float32)


SAMPLERS: dict[str, Callable[[], Tensor]] = dict(zip(SAMPLER_NAMES, (dodecahedron, fibonacci, equator, cube), strict=True))


def native_size_px(erp_width_px: int, fov_deg: float) -> int:
    """Return the view size whose centre has the angular resolution of the ERP's equator."""
    return max(1, round(erp_width_px / (2 * math.pi) * 2 * math.tan(math.radians(fov_deg) / 2)))


def native_fov_deg(erp_width_px: int, size_px: int) -> float:
    """Return the field of view at which the centre of a view of this size has the resolution of the ERP's equator."""
    half = size_px / 2 / (erp_width_px / (2 * np.pi))
    return float(2 * np.degrees(np.arctan(half)))


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -1/2 (Keys 1981)."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def seen_ppd(erp_width_px: int, headset_ppd: float = HEADSET_PPD) -> float:
    """Return how many pixels per degree of an ERP are seen: its own (equator), at most as many as the headset shows."""
    return min(erp_width_px / 360, headset_ppd)


@lru_cache(maxsize=32)
def _resize_matrix(old: int, new: int, wrap: bool) -> sparse.csr_matrix:
    """Return the (new, old) matrix of antialiased cubic resampling along one axis, circular or clamped at the ends."""
    scale = max(old / new, 1.0)
    centre = (np.arange(new) + 0.5) * old / new - 0.5
    reach = int(np.ceil(2 * scale)) + 1
    taps = np.floor(centre).astype(int)[:, None] + np.arange(-reach, reach + 1)[None]
    weight = _cubic((taps - centre[:, None]) / scale)
    weight /= weight.sum(axis=1, keepdims=True)
    column = taps % old if wrap else taps.clip(0, old - 1)
    row = np.repeat(np.arange(new), taps.shape[1])
    keep = weight.ravel() != 0
    return sparse.csr_matrix((weight.ravel()[keep].astype(np.float32), (row[keep], column.ravel()[keep])), (new, old))


def resize_erp(erp: np.ndarray, height: int, width: int) -> Tensor:
    """Resize an ERP with a low-pass filter that is continuous across the ±180° seam.

    erp: (H, W, 3) uint8, or floats in 0..1. Returns (3, height, width) float32 in 0..1 (clamped).
    """
    h, w = erp.shape[:2]
    scale = np.float32(1 / 255 if erp.dtype == np.uint8 else 1)
    down = _resize_matrix(h, height, wrap=False)
    across = _resize_matrix(w, width, wrap=True)
    # OpenCV takes channels apart and turns pictures on their side several times as fast as NumPy.
    planes = [cv2.transpose(across @ cv2.transpose(down @ (plane * scale))) for plane in cv2.split(np.asarray(erp))]
    return torch.from_numpy(np.stack(planes)).clamp_(0, 1)


def _soften_poles(erp: np.ndarray, first: int, last: int) -> None:
    """Average each of some rows over 1/cos(latitude) pixels, the ERP's horizontal oversampling there, in place.

    erp: (3, H, W). Near the poles a tangent view is horizontally far coarser than the ERP, whatever its size.
    Box filters of fractional width, which go on across the seam.
    """
    _, height, width = erp.shape
    span = (1 / latitude_weights(height)).clamp(max=width / 2)
    for row in torch.nonzero(span > 1.5).flatten().tolist():
        if first <= row < last:
            erp[:, row] = _box_filtered(erp[:, row], float(span[row]))


def _box_filtered(line: np.ndarray, span: float) -> np.ndarray:
    """Average a circular line (3, W) float32 over `span` pixels around each of its own, those at the ends in part."""
    reach = math.ceil((span - 1) / 2)
    kernel = np.clip(span / 2 + 0.5 - np.abs(np.arange(-reach, reach + 1)), 0, 1) / span
    wide = np.concatenate([line[:, -reach:], line, line[:, :reach]], axis=1)
    return cv2.filter2D(wide, -1, kernel[None].astype(np.float32))[:, reach:-reach]


def prepare_erp(erp: np.ndarray | Tensor, fov_deg: float, size_px: int, reach_deg: float = 90.0) -> Tensor:
    """Low-pass an ERP for views of this size and pad it over seam and poles, ready for sample_views.

    erp: (H, W, 3) uint8 or float 0..1, or (3, H, W) float tensor; reach_deg: how far from the equator any view looks; rows
    beyond it stay empty, which is a third of the work for narrow views. Returns (3, H' + 6, W' + 6) float32.
    """
    pixels = erp.permute(1, 2, 0).numpy() if isinstance(erp, Tensor) else erp
    focal_px = size_px / 2 / math.tan(math.radians(fov_deg) / 2)
    wanted = max(16, 2 * round(math.pi * focal_px))  # width at which the equator is as fine as the view's centre
    smaller = resize_erp(pixels, wanted // 2, wanted).numpy() if pixels.shape[1] > wanted * MINIFY_TOLERANCE else None
    height, width = pixels.shape[:2] if smaller is None else smaller.shape[1:]
    first = max(0, math.floor((90 - reach_deg) / 180 * height) - _PAD_PX)
    last = height - first
    prepared = np.zeros((3, height + 2 * _PAD_PX, width + 2 * _PAD_PX), np.float32)
    inner = prepared[:, _PAD_PX:-_PAD_PX, _PAD_PX:-_PAD_PX]
    if smaller is not None:
        inner[:, first:last] = smaller[:, first:last]
    else:
        scale = np.float32(1 / 255 if pixels.dtype == np.uint8 else 1)
        for channel, plane in enumerate(cv2.split(pixels[first:last])):
            np.multiply(plane, scale, out=inner[channel, first:last])  # straight into place: copies take longer than views
    _soften_poles(inner, first, last)
    for rows in (slice(None, _PAD_PX), slice(-_PAD_PX, None)):  # beyond a pole the image goes on at the opposite longitude
        prepared[:, rows, _PAD_PX:-_PAD_PX] = np.roll(inner[:, rows], width // 2, axis=2)[:, ::-1]
    prepared[:, :, :_PAD_PX] = prepared[:, :, width:width + _PAD_PX]
    prepared[:, :, -_PAD_PX:] = prepared[:, :, _PAD_PX:2 * _PAD_PX]
    return torch.from_numpy(prepared)


def sample_views(prepared: Tensor, rays: Tensor) -> Tensor:
    """Sample a prepared ERP at rays (V, S, S, 3) by bicubic interpolation; returns (V, 3, S, S) float32 in 0..1."""
    return _sample(prepared, _positions(*directions_to_degrees(rays), *prepared.shape[1:]))


def _positions(lon: Tensor, lat: Tensor, height: int, width: int) -> Tensor:
    """Return where directions (V, S, S), degrees, lie in a prepared ERP of this padded size: (V, S, S, 2) float32 in -1..1."""
    x = ((lon + 180) / 360 * (width - 2 * _PAD_PX) + _PAD_PX) / width * 2 - 1
    y = ((90 - lat) / 180 * (height - 2 * _PAD_PX) + _PAD_PX) / height * 2 - 1
    return torch.stack([x, y], dim=-1).float()


def _sample(prepared: Tensor, positions: Tensor) -> Tensor:
    grid = positions.flatten(0, 1)[None]  # (1, V*S, S, 2)
    views = functional.grid_sample(prepared[None], grid, mode="bicubic", padding_mode="border", align_corners=False)
    v, s = positions.shape[:2]
    return views[0].reshape(3, v, s, -1).transpose(0, 1).clamp(0, 1)


@lru_cache(maxsize=4)
def _view_positions(centres: tuple[tuple[float, float], ...], fov_deg: float, size_px: int, height: int, width: int) -> Tensor:
    """Panoramas of one size after another are seen in the same places, and views of one latitude differ by their longitude."""
    seen = {lat: directions_to_degrees(viewport_directions(0.0, lat, fov_deg, size_px)) for lat in {lat for _, lat in centres}}
    lon = torch.stack([(seen[lat][0] + lon + 180) % 360 - 180 for lon, lat in centres])
    return _positions(lon, torch.stack([seen[lat][1] for _, lat in centres]), height, width)


def render_viewports(erp: np.ndarray | Tensor, centres_deg: Tensor, fov_deg: float, size_px: int) -> Tensor:
    """Render square tangent views of an ERP.

    erp: (H, W, 3) uint8 or float 0..1, or (3, H, W) float tensor 0..1; centres_deg: (V, 2) longitude, latitude.
    Returns (V, 3, size_px, size_px) float32 in 0..1. Seamless at ±180°, right at the poles, low-passed where the
    views are coarser than the ERP. Gnomonic projection; fov_deg spans the view edge to edge.
    """
    centres = tuple((float(lon), float(lat)) for lon, lat in centres_deg)
    corner_deg = math.degrees(math.atan(math.sqrt(2) * math.tan(math.radians(fov_deg) / 2)))
    reach_deg = min(90.0, max((abs(lat) for _, lat in centres), default=90.0) + corner_deg)
    prepared = prepare_erp(erp, fov_deg, size_px, reach_deg)
    return _sample(prepared, _view_positions(centres, float(fov_deg), int(size_px), *prepared.shape[1:]))
