"""Measurements against numbers known beforehand, and words that follow from them."""

import io
import json
import math

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from skimage.measure import blur_effect as skimage_blur_effect
from skips import SHARED, needs_shared

import generate_text
from mmifn.core.errors import UserError
from mmifn.describe.generation import Item
from mmifn.describe.measured import calibration, pixels, views
from mmifn.describe.measured.describer import MeasuredDescriber, describe
from mmifn.describe.measured.grid import _scores, find_grid, profiles
from mmifn.describe.measured.places import worst_region
from mmifn.describe.measured.statistics import NAMES, measure, weighted_quantile
from mmifn.describe.measured.wording import overall_word, strength_word
from mmifn.describe.table import read_rows
from mmifn.simulate.codecs import decode, encode_jpeg, encode_jpeg2000
from mmifn.simulate.distortions import add_noise, blur_sphere
from mmifn.simulate.rendered.panorama import render_scene

PHOTOGRAPHS = SHARED / "panoramas"
LUMA_GAIN = math.sqrt(0.299 ** 2 + 0.587 ** 2 + 0.114 ** 2)  # of independent noise in R, G and B


@pytest.fixture(scope="module")
def scene():
    """A rendered street, 1024x512; none of the calibration's scenes is rendered."""
    return render_scene("street_01", 512)


def test_blur_is_that_of_skimage():
    picture = np.random.default_rng(0).random((90, 70), dtype=np.float32)
    for soft in (picture, cv2.GaussianBlur(picture, (0, 0), 1.5), cv2.GaussianBlur(picture, (0, 0), 4)):
        assert views.blur_effect(soft) == pytest.approx(skimage_blur_effect(soft, h_size=11), abs=1e-6)
    assert views.measure_view(np.full((64, 64, 3), 90, np.float32))["blur"] == 1.0


def grey(value=128, height=256):
    return np.full((height, 2 * height, 3), value, np.uint8)


def test_noise_is_measured_in_grey_levels():
    noisy = add_noise(grey(), 10.0, np.random.default_rng(0))
    assert measure(noisy).values["noise"] == pytest.approx(10 * LUMA_GAIN, rel=0.03)
    assert measure(grey()).values["noise"] == 0


def test_noise_ignores_slopes_and_is_not_told_where_it_is_clipped():
    ramp = np.tile(np.arange(256, dtype=np.uint8), (128, 1))
    inner = pixels.noise_residual(ramp)[:, 2:-2]  # the ramp's ends meet at the seam, and are an edge there
    assert (inner == 0).all()
    assert np.isnan(measure(grey(255)).per_viewport[0]["noise"])


@pytest.mark.parametrize(("period", "phase"), [(8, 7), (8, 2), (10, 9), (16, 3), (4, 1), (12, 5)])
def test_the_block_grid_is_found_not_assumed(period, phase):
    rng = np.random.default_rng(1)
    luma = cv2.GaussianBlur(rng.normal(128, 200, (320, 640)).astype(np.float32), (0, 0), 6)
    blocks = rng.normal(0, 3, (400 // period + 2, 720 // period + 2)).astype(np.float32)
    offset = period - 1 - phase  # edges between pixels phase and phase + 1
    pattern = np.kron(blocks, np.ones((period, period), np.float32))[offset:offset + 320, offset:offset + 640]
    whole = pixels.strips(*luma.shape)
    marked, plain = ((plane.round().clip(0, 255).astype(np.uint8)) for plane in (luma + pattern, luma))
    with_grid = profiles([(whole[0], marked)], len(luma))
    without = profiles([(whole[0], plain)], len(luma))
    for axis in (0, 1):
        grid, lines = find_grid(with_grid[axis], axis)
        assert (grid.period_px, grid.phase_px) == (period, phase)
        assert grid.strength > 1 and np.nanmean(lines.tiles(marked)) > 1
        assert find_grid(without[axis], axis)[0].strength < 0.2


def test_periods_are_scored_by_power():
    profile = np.random.default_rng(4).normal(size=512) + np.where(np.arange(512) % 8 == 3, 5, 0)
    assert _scores(2 * profile) == pytest.approx(4 * _scores(profile), rel=1e-6)  # power goes with the square


def test_the_grid_of_a_scaled_jpeg_is_found_at_its_new_size(scene):
    scaled = cv2.resize(decode(encode_jpeg(scene, 10)), (1280, 640), interpolation=cv2.INTER_LINEAR)
    assert [grid.period_px for grid in measure(scaled).grids] == [10.0, 10.0]  # 8 px x 1.25
    assert "10x10 blocking" in describe(scaled).text and "8x8" not in describe(scaled).text


def test_banding_and_flat_colours_are_seen():
    ramp = np.tile(np.linspace(60, 120, 512).round().astype(np.uint8), (256, 1))
    assert pixels.banding_tiles(ramp).mean() == 0  # steps of one level cannot be seen
    coarse = (ramp // 6 * 6)
    assert pixels.banding_tiles(coarse).mean() == pytest.approx(10 / 512, rel=0.3)  # ten contours in 512 columns
    assert measure(grey()).values["constant"] == 1


def test_sharpness_falls_with_blur(scene):
    measured = [measure(blur_sphere(scene, sigma)).values for sigma in (0.0, 1.0, 2.0, 4.0)]
    for name, sign in (("middle_q50", -1), ("blur", 1), ("blur_sharpest", 1)):
        steps = np.diff([values[name] for values in measured]) * sign
        assert (steps > 0).all(), name
    # The finest octave holds more than the next in a sharp picture and less in a blurred one.
    assert measured[0]["fine_q98"] > 0.5 and measured[1]["fine_q98"] < 0 and measured[2]["fine_q98"] < 0


def test_turning_the_panorama_by_whole_tiles_changes_nothing_on_the_sphere(scene):
    here, there = measure(scene).values, measure(np.roll(scene, 16 * 20, axis=1)).values
    for name in NAMES[:NAMES.index("brightness")]:
        if name not in ("blur", "grid_px"):  # views look at other places; no grid, so no period
            loose = name.startswith("blocking")  # without a grid it is chance, below what counts as one
            assert there[name] == pytest.approx(here[name], abs=0.06 if loose else 0.02), name


def test_strips_measure_what_the_whole_measures(scene, monkeypatch):
    image = decode(encode_jpeg(scene, 20))
    whole = measure(image)
    monkeypatch.setattr(pixels, "STRIP_PIXELS", 1024 * 144)
    assert [strip.top for strip in pixels.strips(512, 1024)] == [0, 144, 288, 432]
    cut = measure(image)
    assert cut.values == pytest.approx(whole.values, abs=1e-5) and cut.grids[0].period_px == 8
    assert measure(image, threads=3).values == cut.values


def test_views_of_a_large_panorama_are_cut_from_it_without_a_copy(scene, monkeypatch):
    centres = torch.tensor([[0.0, 52.6], [-179.0, 10.8], [36.0, -52.6]])
    usual = views.measure_views(scene, centres)
    monkeypatch.setattr(views, "view_geometry", lambda width: (60.0001, 188))  # any but the usual angle takes that way
    for mine, theirs in zip(views.measure_views(scene, centres), usual, strict=True):
        assert mine == pytest.approx(theirs, abs=0.5, rel=0.1)
    monkeypatch.undo()
    fov_deg, size_px = views.view_geometry(13320)
    assert size_px == 640 and 640 / fov_deg == pytest.approx(13320 / 360, rel=0.02)  # native resolution all the same


CASES = {"none": lambda x: x, "blur": lambda x: blur_sphere(x, 2.0),
         "noise": lambda x: add_noise(x, 20.0, np.random.default_rng(0)), "compression": lambda x: decode(encode_jpeg(x, 12))}


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("name", ["street_01", "meadow_03"])
def test_distortions_are_named_right_on_rendered_scenes(name, kind):
    told = describe(CASES[kind](render_scene(name, 512)))
    assert told.dominant == kind
    sign = {"none": "Overall: ", "blur": "blur", "noise": "noise", "compression": "8x8 blocking"}[kind]
    assert sign in told.text or (kind == "blur" and "softness" in told.text)


def test_stronger_is_called_stronger(scene):
    losses = [[calibration.judge(measure(image).values).loss for image in images] for images in (
        [decode(encode_jpeg(scene, quality)) for quality in (50, 20, 8)],
        [decode(encode_jpeg2000(scene, ratio)) for ratio in (30, 100, 400)],
        [blur_sphere(scene, sigma) for sigma in (0.7, 1.5, 4.0)],
        [add_noise(scene, sigma, np.random.default_rng(0)) for sigma in (4, 15, 50)])]
    for row in losses:
        assert row[0] < row[1] < row[2] and row[2] > 2.5
    assert [strength_word(x) for x in (0.5, 2.0, 5.0)] == ["slight", "noticeable", "extreme"]
    assert [overall_word(x) for x in (0.0, 1.0, 3.0, 5.0)] == ["excellent", "good", "poor", "very bad"]


def test_blur_that_leaves_no_texture_to_measure_is_the_most_severe(scene):
    verdicts = [describe(blur_sphere(scene, sigma)).verdict for sigma in (2, 12)]
    assert [verdict.dominant for verdict in verdicts] == ["blur", "blur"]
    assert verdicts[0].severity["blur"] < verdicts[1].severity["blur"] == calibration.MAX_SEVERITY
    assert verdicts[0].loss < verdicts[1].loss


def test_of_two_distortions_the_far_more_severe_one_comes_first(scene):
    both = decode(encode_jpeg(add_noise(scene, 45.0, np.random.default_rng(0)), 75))
    assert describe(both).dominant == "noise"


def test_the_worst_region_is_named(scene):
    noisy = add_noise(scene, 25.0, np.random.default_rng(0))
    grainy = add_noise(scene, 8.0, np.random.default_rng(1))
    below = np.concatenate([grainy[:330], noisy[330:]])
    assert "most visible below the horizon" in describe(below).text
    assert "most visible" not in describe(noisy).text
    measured = measure(np.concatenate([scene[:, :512], noisy[:, 512:]], axis=1))  # longitudes 0..180
    assert worst_region("noise", measured.per_viewport, measured.centres_deg) == "to the right"


def test_the_same_pixels_get_the_same_words_in_any_process(tmp_path, scene):
    text = describe(scene).text
    names = ["a_JPEG_5.png", "b_pristine.png"]  # the same pixels under telling names
    for name in names:
        Image.fromarray(scene).save(tmp_path / name)
    items = [Item(name, tmp_path / name) for name in names]
    assert [answer.text for answer in MeasuredDescriber(workers=1).describe(items)] == [text, text]
    assert [answer.text for answer in MeasuredDescriber(workers=2).describe(items)] == [text, text]


def test_a_reader_is_told_causes_and_no_verdict(scene):
    told = describe(CASES["noise"](scene))
    assert told.text == f"{told.reading().told} Overall: {overall_word(calibration.judge(told.statistics).loss)}."
    there = told.per_viewport[7]
    reading = told.reading()
    assert reading.of_view(there["lon_deg"] + 3, there["lat_deg"] - 2) == reading.views[7] and "noise" in reading.views[7]


def test_the_vector_has_a_fixed_order(scene):
    told = describe(scene)
    vector = measure(scene).vector()
    assert vector.shape == (len(NAMES),) and np.isfinite(vector).all() and len(told.per_viewport) == 20
    assert vector[NAMES.index("brightness")] == told.statistics["brightness"]


@pytest.mark.parametrize("image", [grey(0), grey(128), grey(255)])
def test_an_empty_picture_still_gets_words(image):
    told = describe(image)
    assert np.isfinite(list(told.statistics.values())).all() and told.text.endswith(".")


def test_bad_arrays_are_refused():
    with pytest.raises(UserError, match="too small"):
        describe(grey(height=64))
    with pytest.raises(ValueError, match="uint8"):
        describe(grey().astype(np.float32))


def test_weighted_quantile():
    values, weights = np.array([1.0, np.nan, 3.0, 2.0]), np.array([1.0, 9.0, 1.0, 2.0])
    assert weighted_quantile(values, weights, (0.5,)) == [2.0]
    assert math.isnan(weighted_quantile(np.array([np.nan]), np.ones(1), (0.5,))[0])


def test_viewport_rows_and_a_damaged_file(tmp_path, scene, capsys):
    images = tmp_path / "datasets" / "DS" / "images"
    images.mkdir(parents=True)
    file = io.BytesIO()
    Image.fromarray(scene).save(file, "PNG")
    (images / "good.png").write_bytes(file.getvalue())
    (images / "half.png").write_bytes(file.getvalue()[:5000])
    (images.parent / "des.csv").write_text("image_name,MOS,distortion_type\ngood.png,3,GN\nhalf.png,3,GN\n")
    argv = ["--root", str(tmp_path), "--dataset", "DS", "--preset", "offline", "--workers", "1", "--per-viewport"]
    assert generate_text.main(argv) == 2
    rows = read_rows(tmp_path / "text" / "des.csv")
    assert [row.viewport for row in rows] == ["", *(f"{i:02d}" for i in range(20))]
    assert rows[1].description.startswith("View towards longitude 0°, latitude +53°: clean")
    message = capsys.readouterr().err
    assert "[1/10] generate_text" in message and "half.png: " in message and "no usable text for 21 of 42" in message
    assert generate_text.main([*argv, "--prompt", "x"]) == 2 and "--prompt has no meaning" in capsys.readouterr().err


def test_calibration_scenes_and_features_are_on_record():
    known = json.loads(calibration.FILE.read_text())
    assert known["features"] == list(calibration.FEATURES) and set(known["features"]) <= set(NAMES)
    assert len(known["scenes"]) >= 10 and len(calibration.revision()) == 12


@needs_shared("panoramas")
def test_a_photograph_beyond_the_calibration_is_named_right():
    used = set(calibration.constants()["scenes"])
    name = "canary_wharf"
    assert name not in used
    photo = np.asarray(Image.open(PHOTOGRAPHS / f"{name}.webp").convert("RGB"))
    assert {kind: describe(distort(photo)).dominant for kind, distort in CASES.items()} == {kind: kind for kind in CASES}
