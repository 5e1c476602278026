"""Colour fringes: red and blue on opposite sides of green are found and measured; colours of things are not taken for them."""

import cv2
import numpy as np
import pytest

from mmifn.describe.measured.describer import describe
from mmifn.describe.measured.fringes import WINDOWS, colour_shifts, fringed, parting
from mmifn.simulate.distortions import blur_sphere
from mmifn.simulate.processed import fringe

HEIGHT = 512


def moved(plane: np.ndarray, pixels: float) -> np.ndarray:
    """Return a plane as it is `pixels` further along the rows, wrapping, by its Fourier series."""
    waves = np.fft.rfft(plane, axis=1)
    waves *= np.exp(2j * np.pi * np.fft.rfftfreq(plane.shape[1]) * pixels)
    return np.fft.irfft(waves, n=plane.shape[1], axis=1)


def stacked(*planes: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(np.stack(planes, axis=2), 0, 255)).astype(np.uint8)


@pytest.fixture(scope="module")
def grey() -> np.ndarray:
    """Return a plane of texture, smooth to a pixel or two, that nowhere clips."""
    noise = np.random.default_rng(0).standard_normal((HEIGHT, 2 * HEIGHT)).astype(np.float32)
    smooth = cv2.GaussianBlur(np.tile(noise, (1, 3)), (0, 0), 2.0)[:, 2 * HEIGHT:4 * HEIGHT]
    return 128 + 22 * smooth / smooth.std()


@pytest.mark.parametrize("pixels", [0.2, 0.5, -0.8])
def test_red_and_blue_lie_where_they_were_put(grey, pixels):
    shifts = colour_shifts(stacked(moved(0.8 * grey + 20, pixels), grey, moved(0.6 * grey + 50, -pixels)))
    assert shifts.shape == (WINDOWS, 2)
    np.testing.assert_allclose(shifts, np.broadcast_to([pixels, -pixels], shifts.shape), rtol=0.1, atol=0.03)


def test_what_parts_is_opposite_and_measured_in_pixels(grey):
    apart, along = (stacked(moved(grey, 0.5), grey, moved(grey, blue)) for blue in (-0.5, 0.5))
    assert parting(apart) == pytest.approx(0.5, abs=0.04) and fringed(parting(apart))
    assert parting(along) == 0.0 and parting(stacked(grey, grey, grey)) == pytest.approx(0.0, abs=0.02)


def test_another_colour_in_some_windows_makes_no_fringe(grey):
    picture = stacked(grey, grey, grey)
    wide = picture.shape[1] // WINDOWS
    odd = stacked(moved(grey, 1.5), grey, moved(grey, -1.5))
    for window in (3, 11, 12, 25):  # an eighth of the horizon
        picture[:, window * wide:(window + 1) * wide] = odd[:, window * wide:(window + 1) * wide]
    assert not fringed(parting(picture))


def test_where_the_panorama_begins_makes_no_difference(grey):
    picture = fringe(stacked(grey, grey, grey), 0.6, np.random.default_rng(1))
    turned = colour_shifts(np.roll(picture, 2 * HEIGHT // WINDOWS * 5, axis=1))
    np.testing.assert_allclose(turned, np.roll(colour_shifts(picture), 5, axis=0), atol=0.03)


def test_a_large_panorama_is_reduced_and_what_has_no_edges_is_not_judged(grey):
    apart = stacked(moved(grey, 0.5), grey, moved(grey, -0.5))
    larger = [cv2.resize(apart, (2 * height, height), interpolation=cv2.INTER_CUBIC) for height in (1024, 2048)]
    assert parting(larger[0]) == pytest.approx(1.0, abs=0.1)
    assert parting(larger[1]) == pytest.approx(parting(larger[0]), abs=0.05)
    flat = np.full((HEIGHT, 2 * HEIGHT, 3), 128, np.uint8)
    assert np.isnan(colour_shifts(flat)).all() and parting(flat) == 0.0


def test_a_reader_is_told_unless_all_is_blurred_and_what_models_learn_from_is_left_as_it_is(grey):
    """Sharp squares with weak texture: all the edges of a blurred picture are too wide to tell where colours lie."""
    squares = np.random.default_rng(1).uniform(40, 200, (HEIGHT // 8, HEIGHT // 4)).repeat(8, axis=0).repeat(8, axis=1)
    plain = stacked(*3 * [squares + grey / 8])
    coloured = fringe(plain, 1.2, np.random.default_rng(1))
    said, without, blurred = describe(coloured), describe(plain), describe(blur_sphere(coloured, 2.5))
    assert said.dominant != "blur" and blurred.dominant == "blur" and fringed(blurred.measured.parted_px)
    told = [each.reading().told.lower() for each in (said, without, blurred)]
    assert ["colour fringes along edges" in words for words in told] == [True, False, False] and "fringes" not in said.text
