"""Full-reference metrics against the area of the sphere, scikit-image, and derivations written out here."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.color import rgb2lab
from skimage.metrics import structural_similarity

from mmifn.core import torchvision_shim as compat  # noqa: F401
from mmifn.fullref import metrics as fullref
from mmifn.fullref.metrics import METRICS, measure
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
    # The points of S-PSNR and the map of CPP-PSNR stay where they are; the other sums only change their order.
    assert turned == pytest.approx(METRICS[name].function(a, b), rel=1e-5 if name.startswith("ws") else 2e-3)


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


# --- FSIM written out from its paper (Zhang et al. 2011) and from Kovesi's phase congruency, which it uses -----------

def log_gabor_bank(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return radial filters (4 scales from 6 px, octaves, sigma/f .55) and angular ones (4, spread 1.2), (4, S, S)."""
    f = np.fft.fftfreq(size)
    fx, fy = np.meshgrid(f, f)
    radius = np.hypot(fx, fy)
    radius[0, 0] = 1
    low_pass = 1 / (1 + (radius / 0.45) ** 30)
    radial = np.array([np.exp(-np.log(radius * 6 * 2 ** s) ** 2 / (2 * np.log(0.55) ** 2)) * low_pass for s in range(4)])
    radial[:, 0, 0] = 0
    theta = np.arctan2(-fy, fx)
    away = [np.abs(np.angle(np.exp(1j * (theta - o * np.pi / 4)))) for o in range(4)]
    return radial, np.array([np.exp(-a ** 2 / (2 * (np.pi / 4 / 1.2) ** 2)) for a in away])


def phase_congruency(plane: np.ndarray) -> np.ndarray:
    radial, angular = log_gabor_bank(len(plane))
    spectrum = np.fft.fft2(plane)
    energy = amplitude = 0.0
    for spread in angular:
        responses = np.fft.ifft2(spectrum * radial * spread)
        total = responses.sum(axis=0)
        mean = total / (np.abs(total) + 1e-4)
        along = (responses * mean.conj()).real - np.abs((responses * mean.conj()).imag)
        power = np.median(np.abs(responses[0]) ** 2) / np.log(2) / ((radial[0] * spread) ** 2).sum()
        kernels = np.fft.ifft2(radial * spread).real * len(plane)
        cross = sum((kernels[i] * kernels[j]).sum() for i in range(4) for j in range(i))
        tau = np.sqrt((2 * power * (kernels ** 2).sum() + 4 * power * cross) / 2)
        threshold = (tau * np.sqrt(np.pi / 2) + 2 * np.sqrt(2 - np.pi / 2) * tau) / 1.7
        energy = energy + np.maximum(along.sum(axis=0) - threshold, 0)
        amplitude = amplitude + np.abs(responses).sum(axis=0)
    return energy / (amplitude + 1e-4)


def fsim_of_a_view(x: np.ndarray, y: np.ndarray) -> float:
    """FSIMc of two (3, S, S) pictures 0..255 no larger than 256 px, where FSIM does not reduce them."""
    yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    (y1, i1, q1), (y2, i2, q2) = (np.tensordot(yiq, picture, axes=1) for picture in (x, y))
    scharr = np.outer([3, 10, 3], [1, 0, -1]) / 16
    g1, g2 = (np.hypot(*(ndimage.convolve(p, kernel, mode="constant") for kernel in (scharr, scharr.T))) for p in (y1, y2))
    p1, p2 = phase_congruency(y1), phase_congruency(y2)

    def similar(a: np.ndarray, b: np.ndarray, constant: float) -> np.ndarray:
        return (2 * a * b + constant) / (a ** 2 + b ** 2 + constant)

    chroma = similar(i1, i2, 200) * similar(q1, q2, 200)
    local = similar(p1, p2, 0.85) * similar(g1, g2, 160) * np.real(chroma.astype(complex) ** 0.03)
    return float((local * np.maximum(p1, p2)).sum() / np.maximum(p1, p2).sum())


def test_fsim_by_its_definition():
    a, b = fullref.compare_views(picture(256)), fullref.compare_views(noisy(picture(256)))
    expected = np.mean([fsim_of_a_view(x, y) for x, y in zip(a.double().numpy() * 255, b.double().numpy() * 255, strict=True)])
    assert expected < 0.97
    assert fullref.view_fsim(a, b) == pytest.approx(expected, abs=2e-3)


# --- VSI written out from its paper (Zhang, Shen and Li 2014) and from SDSP saliency (Zhang, Gu and Li 2013) ----------

def saliency(picture: np.ndarray) -> np.ndarray:
    """Return the (256, 256) SDSP map, scaled to 0..1, of a (3, 256, 256) picture 0..255."""
    lab = rgb2lab(np.moveaxis(picture / 255, 0, 2)).transpose(2, 0, 1)
    f = np.fft.fftfreq(256)
    radius = np.hypot(*np.meshgrid(f, f))
    radius[0, 0] = 1
    band = np.exp(-np.log(radius / 0.021) ** 2 / (2 * 1.34 ** 2)) * (radius <= 0.5)
    band[0, 0] = 0
    prior_frequency = np.sqrt(sum(np.fft.ifft2(np.fft.fft2(plane) * band).real ** 2 for plane in lab))
    ticks = np.arange(256) + 1 - 128
    prior_place = np.exp(-(ticks[:, None] ** 2 + ticks[None] ** 2) / 145 ** 2)
    warm = [(plane - plane.min()) / np.ptp(plane) for plane in lab[1:]]
    prior_colour = 1 - np.exp(-(warm[0] ** 2 + warm[1] ** 2) / 0.25 ** 2)
    salient = prior_frequency * prior_place * prior_colour
    return (salient - salient.min()) / np.ptp(salient)


def test_vsi_by_its_definition():
    """Views of 256 px, the size at which VSI neither reduces pictures nor saliency needs resizing."""
    a, b = views()
    lmn = np.array([[0.06, 0.63, 0.27], [0.30, 0.04, -0.35], [0.34, -0.60, 0.17]])
    found = []
    for x, y in zip(a.double().numpy() * 255, b.double().numpy() * 255, strict=True):
        (l1, m1, n1), (l2, m2, n2) = (np.tensordot(lmn, picture, axes=1) for picture in (x, y))
        scharr = np.outer([3, 10, 3], [1, 0, -1]) / 16
        g1, g2 = (np.hypot(*(ndimage.convolve(p, kernel, mode="constant") for kernel in (scharr, scharr.T))) for p in (l1, l2))
        s1, s2 = saliency(x), saliency(y)

        def similar(p: np.ndarray, q: np.ndarray, constant: float) -> np.ndarray:
            return (2 * p * q + constant) / (p ** 2 + q ** 2 + constant)

        chroma = np.real((similar(m1, m2, 130) * similar(n1, n2, 130)).astype(complex) ** 0.02)
        local = similar(s1, s2, 1.27) * similar(g1, g2, 386) ** 0.40 * chroma
        found.append((local * np.maximum(s1, s2)).sum() / np.maximum(s1, s2).sum())
    assert np.mean(found) < 0.995
    assert METRICS["vp_vsi"].function(a, b) == pytest.approx(np.mean(found), abs=1e-3)
