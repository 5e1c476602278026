"""Blur on the sphere against analytic eigenvalues; noise statistics."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ive

from mmifn.simulate.distortions import add_noise, blur_sphere, expose, quantise, resample
from mmifn.sphere import erp_directions

HEIGHT = 64


def noise_picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, 2 * HEIGHT, 3), dtype=np.uint8)


@pytest.mark.parametrize("degree", (2, 6, 12))
@pytest.mark.parametrize("axis", ("pole", "equator"))
def test_a_spherical_harmonic_shrinks_by_its_eigenvalue(degree, axis):
    """Re (a + ib)^degree is a spherical harmonic; the von Mises-Fisher kernel scales it by I_{l+1/2} / I_{1/2}."""
    x, y, z = np.moveaxis(erp_directions(HEIGHT, 2 * HEIGHT).numpy(), 2, 0)
    wave = ((x + 1j * z) if axis == "equator" else (y + 1j * z)) ** degree
    picture = np.repeat((127.5 + 120 * wave.real)[..., None], 3, axis=2).round().astype(np.uint8)
    sigma_px = 3.0
    kappa = (2 * HEIGHT / (2 * np.pi) / sigma_px) ** 2
    expected = ive(degree + 0.5, kappa) / ive(0.5, kappa)
    blurred = blur_sphere(picture, sigma_px)[..., 0] - 127.5
    area = np.sqrt(x ** 2 + z ** 2)
    measured = (blurred * wave.real * area).sum() / (120 * wave.real ** 2 * area).sum()
    assert measured == pytest.approx(expected, abs=0.01)
    assert expected < 0.99


def test_blur_keeps_constants_and_means():
    flat = np.full((HEIGHT, 2 * HEIGHT, 3), 77, dtype=np.uint8)
    assert (blur_sphere(flat, 4.0) == 77).all()
    picture = noise_picture()
    area = np.cos((np.arange(HEIGHT) + 0.5) / HEIGHT * np.pi - np.pi / 2)[:, None, None]
    means = [(pixels * area).sum() / area.sum() / (6 * HEIGHT) for pixels in (picture, blur_sphere(picture, 2.0))]
    assert means[0] == pytest.approx(means[1], abs=0.3)


def test_blur_commutes_with_yaw():
    picture = noise_picture()
    turned = blur_sphere(np.roll(picture, 37, axis=1), 1.7)
    assert np.abs(np.roll(blur_sphere(picture, 1.7), 37, axis=1).astype(int) - turned).max() <= 1


def test_blur_runs_across_a_pole():
    """A dark hemisphere beyond the pole must grey the near side of the pole: rows do not end there."""
    picture = np.zeros((HEIGHT, 2 * HEIGHT, 3), dtype=np.uint8)
    picture[:, :HEIGHT] = 200
    top = blur_sphere(picture, 3.0)[0, :, 0]
    assert top.min() > 85 and top.max() < 115


def test_stronger_blur_leaves_less_detail_and_none_leaves_all():
    picture = noise_picture()
    spread = [blur_sphere(picture, sigma)[HEIGHT // 2].std() for sigma in (0.7, 1.5, 3.0)]
    assert spread[0] > spread[1] > spread[2]
    assert (blur_sphere(picture, 0) == picture).all()


def test_noise_has_the_stated_sigma_is_white_and_reproducible():
    grey = np.full((256, 512, 3), 128, dtype=np.uint8)
    noisy = add_noise(grey, 20, np.random.default_rng(3))
    error = noisy.astype(float) - 128
    assert error.std() == pytest.approx(20, rel=0.01)
    assert abs(np.corrcoef(error[:, :-1].ravel(), error[:, 1:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(error[..., 0].ravel(), error[..., 1].ravel())[0, 1]) < 0.01
    drawn = np.random.default_rng(3).standard_normal(grey.shape, dtype=np.float32)
    assert (noisy == (grey + 20 * drawn).round().clip(0, 255)).all()


def test_exposure_is_a_change_of_light():
    grey = np.full((2, 4, 3), 100, dtype=np.uint8)
    assert (expose(grey, 0) == 100).all()
    # one stop doubles the light: ((100/255)^2.2 * 2)^(1/2.2) * 255 = 137.04
    assert (expose(grey, 1) == 137).all() and (expose(grey, -1) == 73).all()
    assert (expose(grey, 4) == 255).all()  # clipped where the sensor would be


def test_resampling_keeps_what_is_flat_and_loses_what_is_fine():
    flat = np.full((HEIGHT, 2 * HEIGHT, 3), 77, dtype=np.uint8)
    assert (resample(flat, 3) == 77).all()
    fine = noise_picture()
    assert resample(fine, 4).std() < 0.4 * resample(fine, 1.2).std() < 0.4 * fine.std()


def test_quantising_leaves_so_many_values():
    ramp = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 256, 3)
    for levels in (2, 5, 40):
        left = np.unique(quantise(ramp, levels))
        assert len(left) == levels and left[0] == 0 and left[-1] == 255
        assert abs(quantise(ramp, levels).astype(int) - ramp).max() <= np.ceil(255 / (levels - 1) / 2)
