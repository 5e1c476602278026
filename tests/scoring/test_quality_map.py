"""The map over the sphere: no seam, one value at a pole, each view speaking for what it saw; and how it is drawn."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmifn.scoring.prediction import Prediction, View
from mmifn.scoring.quality_map import (
    colour_range,
    colours,
    draw_map,
    enlarge,
    quality_field,
    reduced,
    view_pictures,
)
from mmifn.scoring.words import looking, score_line
from mmifn.sphere import dodecahedron

CENTRES = dodecahedron().tolist()
RED, YELLOW, BLUE = [215, 25, 28], [255, 255, 191], [44, 123, 182]  # RdYlBu, 5 classes: ends and middle


def views(scores):
    return tuple(View(lon, lat, float(score)) for (lon, lat), score in zip(CENTRES, scores, strict=True))


def prediction(scores, interval=(40.0, 60.0)):
    mean = float(np.mean(scores))
    return Prediction(mean, "fair", interval, 0.9 if interval else None, views(scores), 40.0, "", (), "m")


@pytest.fixture
def scores():
    return np.random.default_rng(0).uniform(10, 90, 20)


def at(field, lon_deg, lat_deg):
    """Return the field's value in the pixel that holds a direction."""
    height = len(field)
    row, column = int((90 - lat_deg) / 180 * height), int((lon_deg + 180) / 360 * 2 * height)
    return field[min(row, height - 1), column % (2 * height)]


# --- the field -------------------------------------------------------------------------------------------------------


def test_equal_views_make_an_even_field():
    field = quality_field(views(np.full(20, 37.0)), 40.0, 32)
    assert field.shape == (32, 64) and field.dtype == np.float64
    np.testing.assert_allclose(field, 37.0)


def test_no_step_at_the_seam(scores):
    field = quality_field(views(scores), 40.0, 128)
    inside = np.abs(np.diff(field, axis=1)).max(axis=1)
    across = np.abs(field[:, 0] - field[:, -1])
    assert (across <= inside * 1.01 + 1e-9).all() and across.max() > 0


def test_one_value_at_each_pole(scores):
    spread = [np.ptp(quality_field(views(scores), 40.0, height)[[0, -1]], axis=1).max() for height in (64, 128, 256)]
    # A row half a pixel from the pole: the spread halves with the height, towards one value.
    assert spread[1] / spread[0] == pytest.approx(0.5, abs=0.05) and spread[2] / spread[1] == pytest.approx(0.5, abs=0.05)
    assert spread[2] < 0.02 * np.ptp(scores)


def test_two_views_have_half_weight_where_their_footprints_end():
    """Opposite each other, only the near one has weight; one half at fov / 2 is relative to its own centre."""
    fov, apart = 40.0, 60.0
    pair = (View(0.0, 0.0, 100.0), View(apart, 0.0, 0.0))
    field = quality_field(pair, fov, 720)  # pixel centres at eighths of a degree
    sharpness = np.log(2) / (1 - np.cos(np.radians(20)))

    def weight(angle):  # 1 at the centre, 1/2 at 20 degrees
        return np.exp(sharpness * (np.cos(np.radians(angle)) - 1))

    assert weight(20.0) == pytest.approx(0.5)
    for lon in (0.125, 20.125, 29.875, 40.125):
        lat = 0.125
        near, far = (np.degrees(np.arccos(np.cos(np.radians(lat)) * np.cos(np.radians(lon - c)))) for c in (0.0, apart))
        assert at(field, lon, lat) == pytest.approx(100 * weight(near) / (weight(near) + weight(far)), abs=1e-6)
    assert at(field, 29.875, 0.125) > 50 > at(field, 30.125, 0.125)  # midway they agree


def test_a_wider_view_speaks_farther(scores):
    flat, peaked = (np.ptp(quality_field(views(scores), fov, 64)) for fov in (90.0, 40.0))
    assert flat < 0.8 * peaked


@pytest.mark.parametrize("bad", range(20))
def test_the_field_is_lowest_in_the_view_that_is_bad(bad):
    values = np.full(20, 80.0)
    values[bad] = 20.0
    field = quality_field(views(values), 40.0, 180)
    lon, lat = CENTRES[bad]
    row, column = np.unravel_index(field.argmin(), field.shape)
    there = torch.deg2rad(torch.tensor([(column + 0.5) - 180, lon, 90 - (row + 0.5), lat], dtype=torch.float64))
    cosine = there[2].sin() * there[3].sin() + there[2].cos() * there[3].cos() * (there[0] - there[1]).cos()
    assert np.degrees(np.arccos(min(1.0, float(cosine)))) < 3
    # At its own centre a view has most of the weight: neighbours are 41.8 degrees away, three of them.
    sharpness = np.log(2) / (1 - np.cos(np.radians(20)))
    neighbour = np.exp(sharpness * (np.cos(np.radians(41.81)) - 1))
    share = 1 / (1 + 3 * neighbour)
    assert share > 0.5 and at(field, lon, lat) == pytest.approx(80 - 60 * share, abs=1.5)
    assert at(field, (lon + 360) % 360 - 180, -lat) == pytest.approx(80, abs=0.1)  # the other side of the sphere


def test_the_field_turns_with_the_views(scores):
    field = quality_field(views(scores), 40.0, 90)
    turned = tuple(View((view.lon_deg + 90 + 180) % 360 - 180, view.lat_deg, view.score) for view in views(scores))
    np.testing.assert_allclose(quality_field(turned, 40.0, 90), np.roll(field, 45, axis=1), atol=1e-4)


def test_enlarging_is_smooth_and_keeps_places(scores):
    small, large = quality_field(views(scores), 40.0, 64), quality_field(views(scores), 40.0, 256)
    grown = enlarge(small, 256)
    assert grown.shape == (256, 512)
    assert np.abs(grown - large)[8:-8].max() < 0.02 * np.ptp(large)  # off by half a pixel would be ten times that
    assert np.abs(grown[:, 0] - grown[:, -1]).max() <= np.abs(np.diff(grown, axis=1)).max() + 1e-3


# --- colours ---------------------------------------------------------------------------------------------------------


def test_colours_run_from_red_over_yellow_to_blue():
    assert colours(np.array([30.0, 50.0, 70.0]), 30, 70).tolist() == [RED, YELLOW, BLUE]
    assert colours(np.array([-5.0, 200.0]), 30, 70).tolist() == [RED, BLUE]  # beyond the ends
    assert colours(np.array([40.0]), 30, 70).tolist() == [[253, 174, 97]]
    assert colours(np.zeros((3, 4)), 0, 1).shape == (3, 4, 3) and colours(np.zeros(1), 0, 1).dtype == np.uint8
    # halfway between two colours: (215 + 253) / 2, (25 + 174) / 2, (28 + 97) / 2
    assert np.abs(colours(np.array([35.0]), 30, 70)[0].astype(int) - [234, 99.5, 62.5]).max() <= 0.5


def test_the_range_holds_all_views_and_is_never_narrow():
    assert colour_range(prediction([50.0] * 20)) == (40.0, 60.0)
    assert colour_range(prediction([30.0] + [50.0] * 18 + [70.0])) == (30.0, 70.0)
    low, high = colour_range(prediction([10.0] + [50.0] * 19))  # mean 48: 38 to either side
    assert (low, high) == (pytest.approx(10), pytest.approx(86))


# --- the picture -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "width"), [((512, 1024), 1024), ((2000, 4000), 2048), ((100, 201), 200), ((500, 1008), 1008)])
def test_the_map_picture_is_the_panorama_with_a_legend_below(size, width):
    picture = draw_map(np.full((*size, 3), 128, np.uint8), prediction(np.full(20, 50.0)), "x.jpg")
    legend = 5 * max(10, width // 60)
    assert picture.shape == (width // 2 + legend, width, 3) and picture.dtype == np.uint8
    assert picture[width // 2 :, 0].mean() == 255  # paper


def test_the_map_is_red_where_views_are_bad_and_keeps_the_brightness_of_the_panorama():
    values = np.where(np.array(CENTRES)[:, 0] < 0, 20.0, 80.0)
    erp = np.full((512, 1024, 3), (180, 40, 90), np.uint8)
    erp[200:210] = 255
    picture = draw_map(erp, prediction(values), "x").astype(int)
    grey = 0.299 * 180 + 0.587 * 40 + 0.114 * 90
    # Numbers and outlines cover little: the median of a region is the mixture of grey and colour, half and half.
    left, right = picture[215:297, 200:300].reshape(-1, 3), picture[215:297, 724:824].reshape(-1, 3)
    assert np.abs(np.median(left, axis=0) - (0.5 * grey + 0.5 * np.array(RED))).max() < 12
    assert np.abs(np.median(right, axis=0) - (0.5 * grey + 0.5 * np.array(BLUE))).max() < 12
    assert np.median(picture[203:207]) > np.median(picture[215:297]) + 60


def test_three_worst_views_are_outlined_also_across_the_seam():
    values = np.full(20, 80.0)
    at_seam = next(i for i, (lon, lat) in enumerate(CENTRES) if lon == -180)
    values[at_seam] = 20.0
    erp = np.full((512, 1024, 3), 90, np.uint8)
    drawn, plain = draw_map(erp, prediction(values), "x"), draw_map(erp, prediction(np.full(20, 50.0)), "x")
    row = int((90 - CENTRES[at_seam][1]) / 180 * 512)
    white = (drawn[row - 40 : row + 40].min(axis=2) > 200).any(axis=0)
    assert white[:80].any() and white[-80:].any()  # 20 degrees to either side are 57 pixels
    streak = (drawn[row - 120 : row + 120].min(axis=2) > 200).sum(axis=1)
    assert streak.max() < 400 and plain.shape == drawn.shape  # no line drawn right across


def test_the_title_stands_below_and_changes_the_legend_only():
    erp = np.full((256, 512, 3), 90, np.uint8)
    a, b = (draw_map(erp, prediction(np.full(20, 50.0)), title) for title in ("a.jpg", "größe 图.jpg"))
    assert (a[:256] == b[:256]).all() and (a != b).any()


def test_reduced_is_never_enlarged_and_exactly_two_to_one():
    assert reduced(np.zeros((100, 201, 3), np.uint8), 2048).shape == (100, 200, 3)
    assert reduced(np.zeros((1500, 3010, 3), np.uint8), 1024).shape == (512, 1024, 3)


def test_pictures_of_views_show_what_is_there():
    erp = np.zeros((256, 512, 3), np.uint8)
    erp[:, 256:] = 200  # east of the middle
    said = prediction(np.full(20, 50.0))
    middle = next(i for i, (lon, lat) in enumerate(CENTRES) if lon == 0 and lat > 0 and lat < 20)
    east = next(i for i, (lon, lat) in enumerate(CENTRES) if lon == 72 and 0 < lat < 20)
    pictures = view_pictures(erp, said, [east, middle], 64)
    assert pictures.shape == (2, 64, 64, 3) and pictures.dtype == np.uint8
    assert (pictures[0] == 200).all()
    assert (pictures[1][:, :28] == 0).all() and (pictures[1][:, 36:] == 200).all()


@pytest.mark.parametrize(("lon", "lat", "words"), [
    (0, 0, "ahead"), (-36, 10.8, "ahead"), (44, 0, "ahead"), (46, 0, "to the right"), (90, -10.8, "to the right"),
    (-180, 0, "behind"), (144, 0, "behind"), (-90, 0, "to the left"), (-72, 52.6, "to the left, up"),
    (180, -52.6, "behind, down"),
])  # fmt: skip
def test_where_a_view_looks(lon, lat, words):
    assert looking(View(lon, lat, 0.0)) == words


def test_the_score_in_one_line():
    assert score_line(prediction(np.full(20, 49.6), (39.6, 59.4))) == "50 of 100, fair, 40 to 59 with 90 % confidence"
    assert score_line(prediction(np.full(20, 49.6), None)) == "50 of 100, fair"
    capped = replace(prediction(np.full(20, 49.6), None), ceiling=63.7)
    assert score_line(capped) == "50 of 100, fair (a flawless panorama of this size: 64)"
    whole = replace(capped, score=60.0)  # flawless panoramas differ by 3.74 points by their scenes
    assert score_line(whole) == "60 of 100, as good as a flawless panorama of this size (64)"
    assert "as good as" not in score_line(replace(capped, score=59.9))


def test_the_number_of_a_view_on_the_seam_is_whole():
    values = np.full(20, 50.0)
    at_seam = next(i for i, (lon, _) in enumerate(CENTRES) if lon == -180)
    erp = np.full((512, 1024, 3), 90, np.uint8)
    pictures = []
    for score in (50.0, 53.0):  # not among the worst three
        values[at_seam] = score
        pictures.append(draw_map(erp, Prediction(50.0, "fair", None, None, views(values), 40.0, "", (), "m"), "x").astype(int))
    row = round((90 - CENTRES[at_seam][1]) / 180 * 512)
    ink = (pictures[1][row - 12 : row + 12].max(axis=2) > 200).any(axis=0).nonzero()[0]
    ink = ink[ink < 60]
    assert ink.min() > 0 and 12 < np.ptp(ink) < 40  # two digits of 17 px, none cut off
