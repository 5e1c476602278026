"""Full-reference metrics against the area of the sphere, scikit-image, and derivations written out here."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.metrics import structural_similarity

from mmifn import compat  # noqa: F401
from mmifn.databases import fullref
from mmifn.databases.fullref import METRICS, measure
from mmifn.sphere import latitude_weights

HEIGHT = 128

torch.set_num_threads(1)  # the pictures are small


def picture(height: int = HEIGHT, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(0, 1, (height, 2 * height, 3)), (3, 3, 0), mode="wrap")
    return np.clip(128 + 400 * smooth, 0, 255).astype(np.uint8)


def noisy(pixels: np.ndarray, sigma: float = 15.0) -> np.ndarray:
    return np.clip(pixels + np.random.default_rng(9).normal(0, sigma, pixels.shape), 0, 255).astype(np.uint8)


def test_the_weights_integrate_to_the_sphere():
    area = latitude_weights(1000).sum() * (math.pi / 1000) * 2 * math.pi
    assert float(area) == pytest.approx(4 * math.pi, rel=1e-5)


@pytest.mark.parametrize("name", ("ws_psnr", "s_psnr", "cpp_psnr"))
@pytest.mark.parametrize("low,high", ((-30, 30), (30, 90), (-90, -60)))
def test_an_error_counts_by_the_area_of_its_zone(name, low, high):
    """A zone of the sphere has the area 2 pi (sin high - sin low): Archimedes. The ERP has (high - low) / 180."""
    height = 360  # the zones end between two rows
    reference = np.full((height, 2 * height, 3), 100, dtype=np.uint8)
    lat = 90 - (np.arange(height) + 0.5) / height * 180
    distorted = reference.copy()
    distorted[(lat > low) & (lat < high)] += 10
    share = (math.sin(math.radians(high)) - math.sin(math.radians(low))) / 2
    expected = 10 * math.log10(255 ** 2 / (100 * share))
    assert METRICS[name].function(reference, distorted) == pytest.approx(expected, abs=0.06)


def test_ws_psnr_by_hand():
    """Two rows of equal weight: error 10 in the upper one only, so the mean squared error is 50."""
    reference = np.zeros((2, 4, 3), dtype=np.uint8)
    distorted = reference.copy()
    distorted[0] = 10
    assert fullref.ws_psnr(reference, distorted) == pytest.approx(10 * math.log10(65025 / 50), abs=1e-4)


def test_ssim_map_is_scikit_images_inside_the_frame():
    a, b = fullref.luma(picture()), fullref.luma(noisy(picture()))
    _, theirs = structural_similarity(a.astype(float), b.astype(float), data_range=255, gaussian_weights=True, sigma=1.5,
                                      use_sample_covariance=False, full=True)
    ours = fullref.ssim_map(a, b)
    assert np.abs(ours - theirs)[8:-8, 8:-8].max() < 2e-3
    weights = np.cos(np.radians(90 - (np.arange(HEIGHT) + 0.5) / HEIGHT * 180))
    weighted = (ours.mean(axis=1) * weights).sum() / weights.sum()
    assert fullref.ws_ssim(picture(), noisy(picture())) == pytest.approx(weighted, abs=1e-6)


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if not metric.on_views])
def test_yaw_changes_nothing(name):
    a, b = picture(), noisy(picture())
    turned = METRICS[name].function(np.roll(a, 101, axis=1), np.roll(b, 101, axis=1))
    assert turned == pytest.approx(METRICS[name].function(a, b), rel=2e-3)


def test_identical_images_score_perfectly():
    scores = measure(picture(), picture())
    assert all(scores[name] == math.inf for name in ("ws_psnr", "s_psnr", "cpp_psnr"))
    assert scores["vp_gmsd"] == pytest.approx(0, abs=1e-6)
    assert all(scores[name] == pytest.approx(1, abs=1e-5) for name in ("ws_ssim", "vp_ms_ssim", "vp_vsi", "vp_fsim"))


def test_more_noise_scores_worse_by_every_metric():
    weak, strong = (measure(picture(), noisy(picture(), sigma)) for sigma in (5, 25))
    for name, metric in METRICS.items():
        assert (weak[name] > strong[name]) == metric.higher_is_better, name


def views() -> tuple[torch.Tensor, torch.Tensor]:
    a, b = fullref.compare_views(picture(512)), fullref.compare_views(noisy(picture(512)))
    return a, b


def grey(batch: torch.Tensor) -> np.ndarray:
    return (batch.numpy() * np.array([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)).sum(axis=1)


def test_gmsd_by_its_definition():
    """Xue et al. 2014: 2x2 mean, every other pixel, Prewitt magnitudes / 3, SD of their similarity, T = 170 / 255²."""
    a, b = views()
    prewitt = np.array([[1, 0, -1]] * 3) / 3
    found = []
    for x, y in zip(grey(a), grey(b), strict=True):
        gradients = []
        for plane in (x, y):
            half = plane.reshape(plane.shape[0] // 2, 2, -1, 2).mean(axis=(1, 3))
            gx, gy = (ndimage.convolve(half, kernel, mode="constant") for kernel in (prewitt, prewitt.T))
            gradients.append(np.hypot(gx, gy))
        p, q = gradients
        found.append(((2 * p * q + 170 / 255 ** 2) / (p ** 2 + q ** 2 + 170 / 255 ** 2)).std())
    assert METRICS["vp_gmsd"].function(a, b) == pytest.approx(np.mean(found), rel=0.03)


def test_ms_ssim_by_its_definition():
    """Wang et al. 2003: products over scales of contrast-structure terms, luminance at the coarsest."""
    a, b = views()
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])  # the window fits the fifth scale, 16 px
    weights /= weights.sum()
    kernel = np.exp(-(np.arange(11) - 5.0) ** 2 / (2 * 1.5 ** 2))
    kernel /= kernel.sum()

    def blur(plane: np.ndarray) -> np.ndarray:
        return ndimage.convolve1d(ndimage.convolve1d(plane, kernel, axis=0), kernel, axis=1)[5:-5, 5:-5]

    found = []
    for x, y in zip(grey(a), grey(b), strict=True):
        product = 1.0
        for scale, weight in enumerate(weights):
            mx, my = blur(x), blur(y)
            vx, vy, both = blur(x * x) - mx ** 2, blur(y * y) - my ** 2, blur(x * y) - mx * my
            term = (2 * both + 0.03 ** 2) / (vx + vy + 0.03 ** 2)
            if scale == len(weights) - 1:
                term = term * (2 * mx * my + 0.01 ** 2) / (mx ** 2 + my ** 2 + 0.01 ** 2)
            product *= max(term.mean(), 0) ** weight
            x, y = (plane.reshape(plane.shape[0] // 2, 2, -1, 2).mean(axis=(1, 3)) for plane in (x, y))
        found.append(product)
    assert METRICS["vp_ms_ssim"].function(a, b) == pytest.approx(np.mean(found), abs=2e-3)


def test_sizes_that_differ_are_refused():
    with pytest.raises(ValueError, match="differ in size"):
        measure(picture(64), picture(32))
