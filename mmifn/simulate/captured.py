"""Faults of light and lens: (H, 2H, 3) float32 light in 0..1, a strength, a random generator -> light."""

from __future__ import annotations

import numpy as np
from scipy import fft

from mmifn.simulate.distortions import blur_values
from mmifn.simulate.light import lens_weights, mix, spot
from mmifn.sphere import latitude_weights

_READ_ELECTRONS = 3.0
_AIRLIGHT = 0.75  # light of the fog itself
_GLOW_DEG = 12.0


def expose(light: np.ndarray, stops: float, _rng: np.random.Generator) -> np.ndarray:
    """Multiply the light by 2^stops and clip it where the sensor would."""
    return np.minimum(light * np.float32(2 ** stops), 1)


def white_balance(light: np.ndarray, stops: float, rng: np.random.Generator) -> np.ndarray:
    """Part red and blue by `stops`, towards warm or cold, the luminance of grey kept (weights of ITU-R BT.709)."""
    half = stops / 2 * rng.choice((-1, 1))
    gains = np.array([2 ** half, 1, 2 ** -half])
    return np.minimum(light * (gains / (gains @ (0.2126, 0.7152, 0.0722))).astype(np.float32), 1)


def defocus(light: np.ndarray, sigma_deg: float, _rng: np.random.Generator) -> np.ndarray:
    """Blur the light with the Gaussian of the sphere."""
    return np.clip(blur_values(light, sigma_deg / 360 * light.shape[1]), 0, 1)


def shake(light: np.ndarray, degrees: float, _rng: np.random.Generator) -> np.ndarray:
    """Turn the camera by `degrees` about the vertical while the shutter is open: the mean along longitude over that angle.

    Its Fourier series: the wave of k cycles is multiplied by sinc(k degrees / 360).
    """
    width = light.shape[1]
    waves = fft.rfft(light, axis=1)
    waves *= np.sinc(np.arange(waves.shape[1]) * degrees / 360).astype(np.float32)[None, :, None]
    return np.clip(fft.irfft(waves, n=width, axis=1), 0, 1)


def sensor_noise(light: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Count electrons: white is 1 / strength of them; shot noise is Poisson's, near enough a Gaussian of its variance
    (many electrons), read noise of 3 electrons is added. Signal to noise is worst in the dark."""
    white = 1 / strength
    sd = np.sqrt(light / np.float32(white) + np.float32((_READ_ELECTRONS / white) ** 2))
    return np.clip(light + sd * rng.standard_normal(light.shape, dtype=np.float32), 0, 1)


def haze(light: np.ndarray, share: float, _rng: np.random.Generator) -> np.ndarray:
    """Replace a share of the light by even fog (Koschmieder, one distance)."""
    return light * np.float32(1 - share) + np.float32(share * _AIRLIGHT)


def flare(light: np.ndarray, share: float, _rng: np.random.Generator) -> np.ndarray:
    """Spread a share of the brightest fiftieth of the sphere as a wide glow, and lift black with stray light."""
    luminance = light.mean(axis=2)
    bright = np.maximum(luminance - np.quantile(luminance, 0.98), 0)[..., None]
    small = bright[::8, ::8]
    glow = blur_values(small, _GLOW_DEG / 360 * small.shape[1])
    glow = np.repeat(np.repeat(glow, 8, axis=0), 8, axis=1)[:light.shape[0], :light.shape[1]]
    peak = max(float(glow.max()), 1e-6)
    return np.clip(light + np.float32(share) * (glow / peak + np.float32(0.15)), 0, 1)


def ghosts(light: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    """Blend, in a band about each seam of two or six lenses, with a copy displaced by parallax."""
    width = light.shape[1]
    lenses = int(rng.choice((2, 6)))
    weights = lens_weights(width, lenses, 24.0, rng.uniform(-180, 180))
    band = 2 * np.minimum(1 - weights.max(axis=0), 0.5)  # 1 on the seam, 0 outside the overlap
    copy = np.roll(light, round(degrees / 360 * width), axis=1)
    return mix(band / 2, copy, light)


def uneven_lenses(light: np.ndarray, stops: float, rng: np.random.Generator) -> np.ndarray:
    """Let six lenses expose unlike: neighbours apart by `stops`, up and down in turn, as a whole neither up nor down."""
    weights = lens_weights(light.shape[1], 6, rng.uniform(4, 12), rng.uniform(-180, 180))
    gains = 2 ** (stops / 2 * np.array([1, -1, 1, -1, 1, -1]) * rng.choice((-1, 1)))
    return np.minimum(light * (gains @ weights).astype(np.float32)[:, None], 1)


def region(light: np.ndarray, stops: float, rng: np.random.Generator) -> np.ndarray:
    """Burn out (stops above 0) the brighter or crush the darker half-sphere's region of 30 to 50 degrees' radius."""
    height = light.shape[0]
    luminance = light.mean(axis=2) * latitude_weights(height).numpy()[:, None]
    middle = slice(height // 4, 3 * height // 4)
    column = int(np.argmax(luminance[middle].sum(axis=0) * np.sign(stops)))
    lon = (column + 0.5) / light.shape[1] * 360 - 180
    where = spot(height, lon, rng.uniform(-25, 25), rng.uniform(30, 50))
    return np.minimum(light * np.exp2(np.float32(stops) * where)[..., None], 1)
