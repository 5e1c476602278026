"""Faults of what a camera or a stitcher does to display values: (H, 2H, 3) uint8, a strength, a generator -> uint8."""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from mmifn.simulate import codecs
from mmifn.simulate.distortions import blur_values, resample

_HALO_DEG = 0.2
_PAD_PX = 32


def _closed(pixels: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Run a filter of the plane on an ERP that is continued over its seam."""
    wide = np.concatenate([pixels[:, -_PAD_PX:], pixels, pixels[:, :_PAD_PX]], axis=1)
    return change(wide)[:, _PAD_PX:-_PAD_PX]


def smear(pixels: np.ndarray, grey: float, _rng: np.random.Generator) -> np.ndarray:
    """Denoise too hard: a bilateral filter that takes differences up to `grey` for noise, twice."""
    scale = pixels.shape[1] / 2048
    diameter = 2 * max(1, round(4 * scale)) + 1

    def twice(wide: np.ndarray) -> np.ndarray:
        for _ in range(2):
            wide = cv2.bilateralFilter(wide, diameter, float(grey), 3.0 * scale)
        return wide

    return _closed(pixels, twice)


def halo(pixels: np.ndarray, amount: float, _rng: np.random.Generator) -> np.ndarray:
    """Sharpen too hard: add `amount` times what a blur of a fifth of a degree takes away."""
    soft = blur_values(pixels, _HALO_DEG / 360 * pixels.shape[1])
    return np.clip(np.rint(pixels + np.float32(amount) * (pixels - soft)), 0, 255).astype(np.uint8)


def fringe(pixels: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    """Part red and blue by up to `degrees` towards the rims of two lenses: lateral chromatic aberration.

    The shift is along longitude, grows in proportion to the distance from the lens's middle meridian, and changes sign
    with its side; green stays.
    """
    width = pixels.shape[1]
    lon = (np.arange(width) + 0.5) / width * 360 - 180
    away = (lon - rng.uniform(-180, 180) + 90) % 180 - 90  # from the nearer of two opposite lenses, -90..90
    shift = degrees / 2 * away / 90 / 360 * width
    result = pixels.copy()
    for channel, sign in ((0, 1), (2, -1)):
        place = np.arange(width) + sign * shift
        whole = np.floor(place).astype(int)
        part = place - whole
        plane = pixels[..., channel].astype(np.float32)
        result[..., channel] = np.rint((1 - part) * plane[:, whole % width] + part * plane[:, (whole + 1) % width])
    return result


def low_rate(pixels: np.ndarray, qp: float, _rng: np.random.Generator) -> np.ndarray:
    """Keep a frame of a phone's H.264 at a low bit rate."""
    return codecs.decode_intra(codecs.encode_intra(pixels, "h264", int(qp)), "h264")


def heic(pixels: np.ndarray, qp: float, _rng: np.random.Generator) -> np.ndarray:
    """Keep an HEVC still, which is what a HEIC file holds."""
    return codecs.decode_intra(codecs.encode_intra(pixels, "hevc", int(qp)), "hevc")


def webp(pixels: np.ndarray, harm: float, _rng: np.random.Generator) -> np.ndarray:
    """Keep a lossy WebP of quality 2 (51 - harm)."""
    return _still(pixels, "WEBP", round(2 * (51 - harm)))


def avif(pixels: np.ndarray, harm: float, _rng: np.random.Generator) -> np.ndarray:
    """Keep an AVIF, 4:2:0, of quality 2 (51 - harm), the encoder's fast setting, one thread."""
    return _still(pixels, "AVIF", round(2 * (51 - harm)), subsampling="4:2:0", speed=8, max_threads=1)


def _still(pixels: np.ndarray, kind: str, quality: int, **options: object) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=quality, **options)
    return codecs.decode(file.getvalue())


def upscaled(pixels: np.ndarray, factor: float, _rng: np.random.Generator) -> np.ndarray:
    """Enlarge a panorama of 1 / factor of the size."""
    return resample(pixels, factor)


def shift_down(pixels: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    """Tilt a lens: its picture sits `degrees` lower or higher than its neighbours', which breaks lines at its seams."""
    rows = round(degrees / 180 * len(pixels)) * int(rng.choice((-1, 1)))
    source = np.clip(np.arange(len(pixels)) - rows, 0, len(pixels) - 1)
    return pixels[source]
