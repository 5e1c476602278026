"""Faults of cameras and stitchers: closed forms in linear light, lenses, order of strengths, and what stays untouched."""

from itertools import pairwise

import numpy as np
import pytest

from mmifn.simulate import captured, processed
from mmifn.simulate.authentic import FAULTS, ONE_LENS, ONE_OF_SIX, ONE_OF_TWO, WHOLE, Happening, happenings
from mmifn.simulate.light import lens_weights, spot, to_light, to_pixels
from mmifn.simulate.rendered.panorama import render_scene, scene_names

RNG = np.random.default_rng(0)
HEIGHT, WIDTH = 64, 128


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    return render_scene(scene_names()[0], 192)


def srgb(light: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, display values 0..255 of light, unrounded."""
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, 1 / 2.4) - 0.055)


def test_light_and_display_values_are_srgb_both_ways():
    values = np.arange(256, dtype=np.uint8)
    assert (to_pixels(to_light(values)) == values).all()
    assert np.abs(srgb(to_light(values).astype(np.float64)) - values).max() < 1e-3
    light = np.random.default_rng(1).random(20000)
    assert np.abs(to_pixels(light) - srgb(light)).max() < 0.56  # a grey value's rounding, and a little of the table's


def test_a_stop_is_twice_the_light_and_clips_at_white():
    flat = np.full((8, 16, 3), 100, np.uint8)
    brighter = to_pixels(captured.expose(to_light(flat), 1.0, RNG))
    assert abs(int(brighter[0, 0, 0]) - srgb(2 * to_light(flat)[0, 0, 0].astype(float))) <= 0.6
    assert (to_pixels(captured.expose(to_light(flat), 5.0, RNG)) == 255).all()


@pytest.mark.parametrize("lenses", (2, 6))
def test_lenses_share_the_columns_and_meet_half_and_half(lenses):
    weights = lens_weights(3600, lenses, 10.0, first_deg=0.05)  # a column's centre
    assert np.abs(weights.sum(axis=0) - 1).max() < 1e-6
    lon = (np.arange(3600) + 0.5) / 10 - 180
    away = lon - 0.05
    assert weights[0, np.argmin(abs(away))] == 1
    assert weights[0, np.argmin(abs(away - 180 / lenses))] == pytest.approx(0.5, abs=1e-3)
    assert weights[0, np.argmin(abs(away - 180 / lenses - 2.5))] == pytest.approx((1 - np.sqrt(0.5)) / 2, abs=1e-3)
    assert (weights[0, abs(away) > 180 / lenses + 5.01] == 0).all()
    assert weights[0].mean() == pytest.approx(1 / lenses, abs=1e-3)


def test_white_balance_parts_red_and_blue_by_its_stops_and_keeps_the_luminance_of_grey():
    grey = np.full((4, 8, 3), 0.2, np.float32)
    red, green, blue = captured.white_balance(grey, 1.4, np.random.default_rng(3))[0, 0]
    assert abs(np.log2(red / blue)) == pytest.approx(1.4, abs=1e-4)
    assert 0.2126 * red + 0.7152 * green + 0.0722 * blue == pytest.approx(0.2, abs=1e-5)


def test_a_shaken_wave_shrinks_by_the_sinc_of_its_cycles():
    lon = np.linspace(0, 2 * np.pi, WIDTH, endpoint=False)
    wave = np.repeat(np.repeat((0.5 + 0.4 * np.cos(9 * lon))[None, :, None], HEIGHT, 0), 3, 2).astype(np.float32)
    angle = np.radians(20)
    kept = np.sin(9 * angle / 2) / (9 * angle / 2)
    assert captured.shake(wave, 20.0, RNG) == pytest.approx(0.5 + kept * (wave - 0.5), abs=1e-5)


def test_sensor_noise_is_shot_and_read_noise():
    for level in (0.05, 0.5):
        flat = np.full((256, 512, 3), level, np.float32)
        found = captured.sensor_noise(flat, 1 / 400, np.random.default_rng(5)).std()
        assert found == pytest.approx(np.sqrt(level * 400 + 9) / 400, rel=0.02)


def test_haze_mixes_the_light_with_fog():
    assert captured.haze(np.full((2, 4, 3), 0.1, np.float32), 0.5, RNG) == pytest.approx(0.05 + 0.5 * 0.75)


def test_a_light_glows_over_degrees():
    """A Gaussian of 12 degrees: exp(-1/2) of its height is left after as many, on top of the stray light everywhere."""
    light = np.zeros((360, 720, 3), np.float32)
    light[176:184, 360:368] = 1
    spread = captured.flare(light, 0.2, RNG)[180, :, 0] - 0.2 * 0.15
    assert spread[364 + 24] / spread[364 + 4:364 + 12].max() == pytest.approx(np.exp(-0.5), abs=0.06)
    assert spread[364 + 180] == pytest.approx(0, abs=1e-4)


def test_neighbouring_lenses_lie_apart_by_the_stops_and_the_whole_keeps_its_middle():
    gains = captured.uneven_lenses(np.full((4, 720, 3), 0.1, np.float32), 0.9, np.random.default_rng(2))[0, :, 0] / 0.1
    assert np.log2(gains.max() / gains.min()) == pytest.approx(0.9, abs=1e-3)
    assert np.median(np.log2(gains[gains > 1])) == pytest.approx(0.45, abs=1e-3)


def test_a_spot_is_whole_in_its_middle_and_half_at_its_radius():
    where = spot(180, 10.5, 0.5, 30.0)
    assert where[89, 190] == pytest.approx(1)
    assert where[89, 220] == pytest.approx(0.5, abs=1e-3)
    assert where[89, 10] == 0


def test_fringe_leaves_green_and_moves_red_and_blue_apart(scene):
    fringed = processed.fringe(scene, 3.0, np.random.default_rng(1))
    assert (fringed[..., 1] == scene[..., 1]).all()
    assert (fringed[..., 0] != scene[..., 0]).any()
    assert (fringed[..., 2] != scene[..., 2]).any()


def test_fringes_grow_from_the_middle_of_each_of_two_lenses():
    width, most = 512, 20  # pixels by which each colour moves at a rim
    ramp = np.repeat((np.arange(width) / 2)[None, :, None], 4, axis=0).repeat(3, axis=2).astype(np.uint8)
    fringed = processed.fringe(ramp, 2 * most * 360 / width, np.random.default_rng(3)).astype(float)
    middle = np.random.default_rng(3).uniform(-180, 180)
    lon = (np.arange(width) + 0.5) * 360 / width - 180
    turns = np.stack([np.degrees(np.angle(np.exp(1j * np.radians(lon - lens)))) for lens in (middle, middle + 180)])
    away = np.take_along_axis(turns, np.abs(turns).argmin(axis=0)[None], 0)[0]  # from the nearer lens's middle
    inner = slice(30, width - 30)  # the ramp falls at the seam
    for channel, sign in ((0, 1), (2, -1)):
        expected = (np.arange(width) + sign * most * away / 90) / 2
        assert np.abs(fringed[1, inner, channel] - expected[inner]).max() <= 1  # half a grey value of the ramp, half of rounding


def test_a_tilted_lens_shows_the_rows_above_or_below(scene):
    lower = processed.shift_down(scene, 180 / len(scene) * 3, np.random.default_rng(0))
    assert (lower[10:-10] == scene[7:-13]).all() or (lower[10:-10] == scene[13:-7]).all()


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_does_more_at_every_strength(name, scene):
    fault = FAULTS[name]
    if name in ("ghost", "step"):  # their angles are pixels only where there are enough of them
        scene = np.repeat(np.repeat(scene, 3, axis=0), 3, axis=1)
    harm = [np.abs(Happening(name, strength, fault.places[0], 7).apply(scene).astype(float) - scene).mean()
            for strength in range(1, len(fault.strengths) + 1)]
    assert harm[0] > 0
    assert all(b > a for a, b in pairwise(harm)), harm


@pytest.mark.parametrize("place, lenses", ((ONE_OF_TWO, 2), (ONE_OF_SIX, 6)))
def test_one_lens_is_hit_and_the_others_are_not(place, lenses, scene):
    hit = (Happening("haze", 3, place, 11).apply(scene) != scene).any(axis=(0, 2))
    whole = Happening("haze", 3, WHOLE, 11).apply(scene)
    one = Happening("haze", 3, place, 11).apply(scene)
    assert abs(hit.mean() - 1 / lenses) < 0.06
    assert (one == whole).all(axis=(0, 2)).mean() > 1 / lenses - 0.06
    assert (Happening("haze", 4, place, 11).apply(scene) != scene).any(axis=(0, 2)).tolist() == hit.tolist()


def test_choices_are_the_scenes_own_and_spread_over_faults():
    others = sorted(set(FAULTS) - set(ONE_LENS))
    count = len(ONE_LENS) + 2 * len(others)
    chosen = happenings("a", count, 0)
    assert chosen == happenings("a", count, 0)
    assert chosen != happenings("b", count, 0)
    assert chosen != happenings("a", count, 1)
    first, rest = chosen[:len(ONE_LENS)], chosen[len(ONE_LENS):]
    assert [each.fault for each in first] == list(ONE_LENS)
    assert all(each.place in (ONE_OF_TWO, ONE_OF_SIX) or each.fault == "lenses" for each in first)
    assert sorted(each.fault for each in rest) == sorted([*others, *others])
    assert all(each.place in FAULTS[each.fault].places for each in chosen)
    assert {each.strength for each in chosen} == {1, 2, 3, 4}


STRENGTHS = {
    "over": (0.7, 1.3, 2.0, 2.8), "under": (-0.75, -1.5, -2.5, -3.5), "white": (0.4, 0.8, 1.4, 2.0),
    "focus": (0.18, 0.35, 0.6, 1.0),
    "motion": (0.5, 1.0, 2.0, 3.5), "sensor": (1 / 1600, 1 / 500, 1 / 150, 1 / 50), "haze": (0.15, 0.3, 0.5, 0.7),
    "flare": (0.1, 0.25, 0.5, 0.8), "fringe": (0.12, 0.25, 0.5, 0.9), "smear": (12, 25, 45, 80), "halo": (1.0, 2.0, 3.5, 6.0),
    "lowrate": (34, 39, 44, 49), "webp": (31, 41, 48, 51), "avif": (26, 35, 42, 49), "heic": (34, 39, 44, 49),
    "upscaled": (1.5, 2.2, 3.2, 5.0), "ghost": (0.4, 0.8, 1.6, 3.0), "step": (0.4, 0.8, 1.6, 3.0),
    "lenses": (0.25, 0.5, 0.9, 1.4),
    "burnt": (1.5, 2.5, 4.0, 6.0), "crushed": (-1.5, -2.5, -4.0, -6.0),
}  # fmt: skip


def test_a_database_of_one_seed_is_the_same_in_every_version():
    assert {name: fault.strengths for name, fault in FAULTS.items()} == STRENGTHS
    chosen = happenings("a", 6, 0)
    assert [(each.fault, each.strength, each.place, each.seed) for each in chosen] == [
        ("over", 3, ONE_OF_TWO, 1668657838), ("under", 1, ONE_OF_SIX, 703575676), ("focus", 4, ONE_OF_TWO, 1048714899),
        ("lenses", 1, WHOLE, 1286374623), ("smear", 4, ONE_OF_TWO, 1416467531), ("step", 2, ONE_OF_TWO, 1543945666)]
    many = len(ONE_LENS) + 2 * (len(FAULTS) - len(ONE_LENS))  # as many as two rounds give: no third is drawn
    counts = [sum(each.fault == name for each in happenings("a", many, 0)) for name in FAULTS if name not in ONE_LENS]
    assert set(counts) == {2}
