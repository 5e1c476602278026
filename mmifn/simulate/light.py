"""Linear light and lenses: what a sensor sees before tone mapping, and which lens of a rig sees it."""

from __future__ import annotations

import numpy as np

from mmifn.core.pixels import LUMA
from mmifn.sphere import erp_directions


def _curve() -> np.ndarray:
    """Return the light of each of the 256 display values: IEC 61966-2-1 (sRGB), 0..1."""
    values = np.arange(256) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


_LIGHT = _curve()
_STEPS = 4096  # of the table back, evenly spaced in the square root of light, where display values are nearly even
_DISPLAY = np.searchsorted((_LIGHT[1:] + _LIGHT[:-1]) / 2, np.linspace(0, 1, _STEPS) ** 2).astype(np.uint8)


def to_light(pixels: np.ndarray) -> np.ndarray:
    """Return the light of display values, uint8 -> float32 in 0..1 (sRGB)."""
    return _LIGHT[pixels]


def to_pixels(light: np.ndarray) -> np.ndarray:
    """Return the display values nearest to light, clipped at black and white as a sensor clips; float -> uint8."""
    place = np.sqrt(np.clip(light, 0, 1)) * np.float32(_STEPS - 1)
    return _DISPLAY[np.rint(place).astype(np.int32)]


def relit(pixels: np.ndarray, gain: np.ndarray | float) -> np.ndarray:
    """Multiply the light of display values (H, W, 3) uint8, by one number or column by column (W,)."""
    gain = np.asarray(gain, np.float32)
    return to_pixels(to_light(pixels) * (gain[:, None] if gain.ndim else gain))


def grey(pixels: np.ndarray) -> np.ndarray:
    """Return display values (H, W, 3) uint8 without their colour (ITU-R BT.601 luma)."""
    return np.repeat(np.rint(pixels @ np.array(LUMA, np.float32)).astype(np.uint8)[..., None], 3, axis=2)


def lens_weights(width: int, lenses: int, feather_deg: float, first_deg: float) -> np.ndarray:
    """Return how much of each column comes from each lens of a ring, (lenses, width) float32, columns summing to 1.

    The lenses look at longitudes first_deg, first_deg + 360 / lenses, …, and meet on the meridians between, where
    they are blended over feather_deg of longitude along half a cosine. Two lenses: back to back, as in most cameras.
    """
    lon = (np.arange(width) + 0.5) / width * 360 - 180
    centres = first_deg + 360 / lenses * np.arange(lenses)[:, None]
    away = np.abs((lon - centres + 180) % 360 - 180)  # degrees from the middle of the lens
    beyond = np.clip((away - 180 / lenses) / max(feather_deg, 1e-6) + 0.5, 0, 1)
    return (0.5 + 0.5 * np.cos(np.pi * beyond)).astype(np.float32)


def mix(weights: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Blend two pictures (H, W, 3) by the weights of the first: (W,) one a column, or (H, W)."""
    weights = weights[..., None]
    return weights * inside + (1 - weights) * outside


def spot(height: int, lon_deg: float, lat_deg: float, radius_deg: float) -> np.ndarray:
    """Return a round region with soft edges, (height, 2 height) float32: 1 in its middle, one half at radius_deg."""
    lon, lat = np.radians((lon_deg, lat_deg))
    centre = np.array([np.cos(lat) * np.sin(lon), np.sin(lat), np.cos(lat) * np.cos(lon)])
    cosine = erp_directions(height, 2 * height).numpy() @ centre
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return (0.5 + 0.5 * np.cos(np.pi * np.clip(angle / (2 * radius_deg), 0, 1))).astype(np.float32)
