"""Doubled contours at seams, and burnt-out light: found where they are, and not where texture repeats or a codec left a grid."""

import cv2
import numpy as np
import pytest

from mmifn.describe.measured.camera import (
    WINDOWS,
    burnt_at,
    burnt_shares,
    camera_faults,
    doubling,
    faults_of_view,
    light_scored_lower,
    seams_of,
)
from mmifn.describe.measured.describer import describe
from mmifn.simulate.light import lens_weights, mix, spot

HEIGHT = 1024
SHIFT = 9  # pixels between the two contours: 1.6 degrees
SEAM = 123.75  # a seam in the middle of a window; the other is opposite


def texture(height: int = HEIGHT) -> np.ndarray:
    """Return a panorama of random texture, fine and coarse, without repetition."""
    rng = np.random.default_rng(0)
    planes = [cv2.resize(rng.standard_normal((height // step, 2 * height // step)).astype(np.float32), (2 * height, height),
                         interpolation=cv2.INTER_CUBIC) for step in (1, 4, 16)]
    grey = np.clip(120 + 12 * planes[0] + 18 * planes[1] + 24 * planes[2], 10, 240)
    return np.repeat(grey[..., None].astype(np.uint8), 3, axis=2)


def ghosted(pixels: np.ndarray, first_deg: float) -> np.ndarray:
    """Blend two lenses with a copy displaced by SHIFT pixels, by halves on the seams, first_deg + 90 and - 90 degrees."""
    weights = lens_weights(pixels.shape[1], 2, 24.0, first_deg)
    band = 2 * np.minimum(1 - weights.max(axis=0), 0.5)
    return np.rint(mix(band / 2, np.roll(pixels, SHIFT, axis=1), pixels)).astype(np.uint8)


@pytest.fixture(scope="module")
def plain() -> np.ndarray:
    return texture()


def test_a_displaced_copy_is_found_at_both_seams_and_as_strong_as_it_should_be(plain):
    """Of white slopes s, (1 - w) s and w times their displaced copy are alike as w (1 - w) to w² + (1 - w)², seen through the
    window squared; w = (1 - |cos(pi (away / 24 + 1/2))|) / 2 within 12 degrees of a seam."""
    doubled = doubling(ghosted(plain, SEAM - 90))
    away = np.linspace(-11.25, 11.25, 2001)
    share = (1 - np.abs(np.cos(np.pi * (away / 24 + 0.5)))) / 2
    window = np.cos(np.pi * away / 22.5) ** 4
    expected = (window * share * (1 - share)).sum() / (window * (share ** 2 + (1 - share) ** 2)).sum()
    assert doubled.shape == (WINDOWS,) and doubled.max() == pytest.approx(expected, abs=0.06)
    assert sorted(seams_of(doubled)) == pytest.approx([SEAM - 180, SEAM], abs=0.1)
    assert doubling(plain).max() < 0.1 and seams_of(doubling(plain)) == []
    assert camera_faults(doubled, np.zeros(32), 0.0)[0].startswith("double contours at seams of the stitching, ")


def test_a_blurred_half_or_lens_is_no_seam(plain):
    """Blur makes texture like itself at some distance wherever it is."""
    soft = cv2.GaussianBlur(plain, (0, 0), 3.0)
    for first, columns in ((300, HEIGHT), (100, HEIGHT // 2)):
        part = plain.copy()
        part[:, first:first + columns] = soft[:, first:first + columns]
        assert seams_of(doubling(part)) == []
    one = lens_weights(2 * HEIGHT, 2, 10.0, 30.0)[0]
    assert seams_of(doubling(np.rint(mix(one, soft, plain)).astype(np.uint8))) == []
    both = ghosted(part, SEAM - 90)  # and beside it seams are still found
    assert sorted(seams_of(doubling(both))) == pytest.approx([SEAM - 180, SEAM], abs=0.1)


def test_where_the_panorama_begins_makes_no_difference(plain):
    turned = np.roll(ghosted(plain, SEAM - 90), 2 * HEIGHT // WINDOWS * 5, axis=1)
    np.testing.assert_allclose(doubling(turned), np.roll(doubling(ghosted(plain, SEAM - 90)), 5), atol=1e-6)


def test_fences_and_a_grid_all_over_are_no_ghosts(plain):
    lines = np.zeros(2 * HEIGHT, np.float32)
    lines[::SHIFT] = 60
    fence = plain.astype(np.float32)
    fence[:, 300:600] += lines[None, 300:600, None]
    once = plain.copy()
    once[:, 1100:1240] = (plain[:, 1100:1240] / 2 + np.roll(plain, SHIFT, axis=1)[:, 1100:1240] / 2).astype(np.uint8)
    assert seams_of(doubling(once)) == []  # lenses meet at two seams or more
    everywhere = plain.astype(np.float32) + np.where(np.arange(2 * HEIGHT) % 8 == 0, 12, 0)[None, :, None]
    assert seams_of(doubling(np.clip(fence, 0, 255).astype(np.uint8))) == []
    assert seams_of(doubling(np.clip(everywhere, 0, 255).astype(np.uint8))) == []


def test_a_large_panorama_is_reduced_and_a_small_one_not_judged(plain):
    large = cv2.resize(ghosted(plain, SEAM - 90), (4 * HEIGHT, 2 * HEIGHT), interpolation=cv2.INTER_CUBIC)
    assert sorted(seams_of(doubling(large))) == pytest.approx([SEAM - 180, SEAM], abs=0.1)
    assert not doubling(np.zeros((256, 512, 3), np.uint8)).any() and not doubling(np.zeros((1024, 2048, 3), np.uint8)).any()


def test_burnt_out_light_is_where_it_is():
    pixels = np.full((256, 512, 3), 120, np.uint8)
    assert burnt_at(burnt_shares(pixels)) is None and camera_faults(np.zeros(WINDOWS), burnt_shares(pixels), 0.0) == []
    shares = burnt_shares(np.where(spot(256, 90.0, 40.0, 40.0)[..., None] > 0.5, 255, pixels).astype(np.uint8))
    assert shares.shape == (32,) and shares.max() > 0.9
    assert shares.mean() == pytest.approx((1 - np.cos(np.radians(40))) / 2, abs=0.05)  # the cap's share of the sphere
    lon, lat = burnt_at(shares)
    assert abs(lon - 90) < 30 and abs(lat - 40) < 30
    assert camera_faults(np.zeros(WINDOWS), shares, 0.0) == ["light burnt out to white to the right, up"]
    np.testing.assert_allclose(burnt_shares(np.full((256, 512, 3), 255, np.uint8)), 1)
    red = np.zeros((256, 512, 3), np.uint8)
    red[..., 0] = 255
    assert not burnt_shares(red).any()  # a colour at its fullest is not white


def test_a_white_sky_is_no_fault():
    """White from 30 degrees of latitude up is the sky's alone, and that over dark ground; the same about the horizon is not."""
    pixels = np.full((256, 512, 3), 120, np.uint8)
    pixels[:85] = 255
    assert not burnt_shares(pixels).any()
    assert burnt_shares(np.roll(pixels, 128, axis=0)).max() > 0.9
    for ground, told in ((120, True), (40, False)):  # white down to 10 degrees
        pixels[:114], pixels[114:] = 255, ground
        assert burnt_shares(pixels).any() == told


def test_white_that_a_model_scores_as_the_rest_is_not_told():
    picture = np.where(spot(256, 90.0, 0.0, 40.0)[..., None] > 0.5, 255, 120).astype(np.uint8).repeat(3, axis=2)
    said = describe(picture)
    shares, centres = said.measured.burnt, said.measured.centres_deg
    facing = [bool(faults_of_view(said.measured.doubled, shares, *centre)) for centre in centres.tolist()]
    assert 0 < sum(facing) < 10
    for drop, told in ((0.0, False), (1.5, False), (3.0, True)):
        scores = np.where(facing, 60.0 - drop, 60.0)
        assert light_scored_lower(shares, centres, scores) == told
        reading = said.reading(centres, scores)
        assert ("light burnt out to white" in reading.told.lower()) == told
        assert [("light burnt out" in view.lower()) for view in reading.views] == [told and seen for seen in facing]
    assert "light burnt out to white to the right" in said.reading().told.lower()
    assert light_scored_lower(np.ones(32), centres, scores)  # nothing to compare with
    assert not light_scored_lower(np.zeros(32), centres, scores)


def test_highlights_are_judged_in_what_models_learn_from_and_named_to_a_reader():
    pixels = np.full((256, 512, 3), 120, np.uint8)
    pixels[:60] = 255
    said = describe(pixels)
    assert "burnt-out highlights" in said.text.lower()
    assert "burnt" not in said.reading().told.lower() and "white highlights" in said.reading().told.lower()
    assert not any("burnt" in view for view in said.reading().views)


def test_a_reader_is_told_and_what_models_learn_from_is_left_as_it_is(plain):
    said, without = describe(ghosted(plain, SEAM - 90)), describe(plain)
    words = "double contours at seams of the stitching"
    assert words in said.reading().told.lower() and words in said.reading(flawless=True).told.lower()
    assert "double" not in said.text and "double" not in without.reading().told.lower()
    told = [abs((lon - SEAM + 180) % 360 - 180) <= 20 and abs(lat) < 50 for lon, lat in said.measured.centres_deg]
    assert any(told) and all("double contours" in view for view, near in zip(said.reading().views, told, strict=True) if near)
    assert faults_of_view(said.measured.doubled, said.measured.burnt, SEAM - 90, 0.0) == []
