"""Distortions that are not codecs: blur on the sphere, noise, wrong exposure, resampling, too few grey values."""

from __future__ import annotations

import numpy as np
from scipy import fft

from mmifn.core.pixels import to_pixels
from mmifn.sphere import latitude_weights, resize_erp

_REACH = 3.2  # the kernel is cut off at this many sigmas of latitude


def blur_sphere(pixels: np.ndarray, sigma_px: float) -> np.ndarray:
    """Blur an ERP with the Gaussian of the sphere (von Mises-Fisher), the same everywhere, seam and poles included.

    pixels: (H, 2H, 3) uint8; sigma_px: standard deviation along a great circle, in pixels of the equator, 0 for none.
    Returns (H, 2H, 3) uint8. Each output pixel is the mean of its neighbours with weight exp(-(1 - cos d)/sigma²),
    d the great-circle distance, times the area of a pixel. Rows are circular in longitude, so the sum over
    longitude is a product of Fourier series.
    """
    if sigma_px <= 0:
        return pixels.copy()
    return np.clip(np.rint(blur_values(pixels, sigma_px)), 0, 255).astype(np.uint8)


def blur_values(values: np.ndarray, sigma_px: float) -> np.ndarray:
    """Blur as blur_sphere does, any values (H, 2H, C), sigma above 0; returns (H, 2H, C) float32, not rounded."""
    height, width = values.shape[:2]
    spectrum = fft.rfft(np.moveaxis(values, 2, 0).astype(np.float32), axis=2)  # (C, H, K)
    area = latitude_weights(height).numpy()
    reach = min(height - 1, int(np.ceil(_REACH * sigma_px)))
    total, weight = np.zeros_like(spectrum), np.zeros(height, dtype=np.float64)
    for shift in range(-reach, reach + 1):
        rows = np.arange(max(0, -shift), min(height, height - shift))
        kernel = _row_kernel(height, width, rows, shift, sigma_px, area)
        total[:, rows] += spectrum[:, rows + shift] * kernel
        weight[rows] += kernel[:, 0]
    total /= weight[:, None].astype(np.float32)
    return np.moveaxis(fft.irfft(total, n=width, axis=2), 0, 2)


def _row_kernel(height: int, width: int, rows: np.ndarray, shift: int, sigma_px: float, area: np.ndarray) -> np.ndarray:
    """Return the Fourier series over longitude, (R, K) float32, of the weights that `rows` give to rows + shift.

    Haversine form, exact for small distances: (1 - cos d) / 2 = sin²(dlat/2) + cos(lat) cos(lat') sin²(dlon/2).
    """
    sigma_rad = sigma_px * 2 * np.pi / width
    half_lon = np.arange(width) * np.pi / width
    across = np.float32(2 / sigma_rad ** 2) * (area[rows] * area[rows + shift]).astype(np.float32)[:, None]
    along = np.float32(2 / sigma_rad ** 2 * np.sin(shift * np.pi / height / 2) ** 2)
    weights = np.exp(-across * np.sin(half_lon).astype(np.float32) ** 2 - along)
    weights *= area[rows + shift].astype(np.float32)[:, None]
    return fft.rfft(weights, axis=1).real


def add_noise(pixels: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Add white Gaussian noise of `sigma` grey values to every channel of every pixel; returns uint8, clipped."""
    noise = rng.standard_normal(pixels.shape, dtype=np.float32)
    return np.clip(np.rint(pixels + np.float32(sigma) * noise), 0, 255).astype(np.uint8)


_GAMMA = 2.2  # of display values, near enough to sRGB's curve


def expose(pixels: np.ndarray, stops: float) -> np.ndarray:
    """Multiply the light by 2^stops and clip it where the sensor would; (H, W, 3) uint8 to the same."""
    values = np.arange(256) / 255
    table = 255 * np.clip(values * 2 ** (stops / _GAMMA), 0, 1)  # (v^gamma * 2^stops)^(1/gamma)
    return np.rint(table).astype(np.uint8)[pixels]


def resample(pixels: np.ndarray, factor: float) -> np.ndarray:
    """Reduce an ERP (H, 2H, 3) uint8 to 1/factor of its height and enlarge it again, cubic both ways."""
    height = len(pixels)
    small = max(2, round(height / factor))
    reduced = resize_erp(pixels, small, 2 * small).permute(1, 2, 0).numpy()
    enlarged = resize_erp(reduced, height, 2 * height)
    return to_pixels(enlarged)


def quantise(pixels: np.ndarray, levels: int) -> np.ndarray:
    """Keep `levels` evenly spaced values of each channel, 2 or more: colour banding."""
    step = 255 / (levels - 1)
    return np.rint(np.rint(np.arange(256) / step) * step).astype(np.uint8)[pixels]
