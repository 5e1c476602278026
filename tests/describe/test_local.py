"""Distortions of a part of the sphere are found, and named by kind and place; what covers all of it is left to the whole."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from mmifn.describe.measured import local
from mmifn.describe.measured.calibration import severity_of_points
from mmifn.describe.measured.describer import describe
from mmifn.describe.measured.fitting_local import fit_local, scene_samples
from mmifn.describe.measured.wording import strength_word
from mmifn.simulate.codecs import decode, encode_jpeg
from mmifn.simulate.distortions import add_noise, blur_sphere
from mmifn.simulate.rendered.panorama import render_scene

HEIGHT = 512
LAT = (90 - (np.arange(HEIGHT) + 0.5) * 180 / HEIGHT)[:, None, None]
LON = (-180 + (np.arange(2 * HEIGHT) + 0.5) * 180 / HEIGHT)[None, :, None]
DISTORTED = {"blur": partial(blur_sphere, sigma_px=2.0), "noise": lambda x: add_noise(x, 12.0, np.random.default_rng(0)),
             "compression": lambda x: decode(encode_jpeg(x, 15))}

REGIONS = ("in the left half", "below the horizon", "at the floor", "in the right half, above the horizon")


@pytest.fixture(scope="module")
def scene():
    return render_scene("street_01", HEIGHT)


@pytest.mark.parametrize(("kind", "where", "region"), [
    ("blur", (LON < 0) & (LAT < 99), "in the left half"), ("noise", (LAT < -30) & (LON < 999), "horizon|floor"),
    ("compression", (LON > 0) & (LAT > 0), "in the right half, above the horizon")])
def test_a_distorted_part_is_named_by_kind_and_place(scene, kind, where, region):
    told = describe(np.where(where, DISTORTED[kind](scene), scene))
    said = told.reading().told
    assert kind in said and any(place in said for place in region.split("|")) and "Overall" not in said
    inside = [i for i, view in enumerate(told.per_viewport) if kind in told.reading().views[i]]
    assert 0 < len(inside) < 20
    within = [i for i, view in enumerate(told.per_viewport) if any(
        place in said and local.covers(place, view["lon_deg"], view["lat_deg"]) for place in REGIONS)]
    assert set(within) <= set(inside)  # no view of a part that is told is called clean


def test_what_is_everywhere_or_nowhere_has_no_place(scene):
    for image in (scene, *(distort(scene) for distort in DISTORTED.values())):
        said = describe(image).reading().told
        assert "half" not in said and "the rest is clean" not in said


def test_a_part_is_told_only_where_the_model_scores_it_lower(scene):
    said = describe(np.where((LON < 0) & (LAT < 99), DISTORTED["blur"](scene), scene))
    centres = said.measured.centres_deg
    left = centres[:, 0] < 0
    for lower, told in ((20.0, True), (1.5, True), (0.5, False), (-5.0, False)):
        reading = said.reading(centres, np.where(left, 60 - lower, 60.0))
        assert ("in the left half" in reading.told) == told


@pytest.mark.parametrize(("kind", "amount", "still_told"), [
    ("blur", 0.7, False), ("blur", 2.5, True), ("noise", 4.0, False), ("noise", 25.0, True)])
def test_beside_a_flawless_score_slight_causes_are_not_told(scene, kind, amount, still_told):
    """blur_sphere(0.7) and noise of 4 are judged below NOTICEABLE, the others far above; the views follow the whole."""
    rng = np.random.default_rng(0)
    said = describe(blur_sphere(scene, amount) if kind == "blur" else add_noise(scene, amount, rng))
    names = {"blur": ("blur", "soft"), "noise": ("noise", "grain")}[kind]
    assert any(name in said.reading().told for name in names)
    assert any(name in said.reading(flawless=True).told for name in names) == still_told
    assert any(any(name in view for name in names) for view in said.reading(flawless=True).views) == still_told


def test_no_cause_is_called_stronger_than_the_score_allows(scene):
    """CVIQ's opinions fall by 52 points over the five steps of severity: 26 points are 2.5 ("clear"), 15.6 are 1.5 ("mild")."""
    assert [severity_of_points(points) for points in (-3.0, 0.0, 26.0, 52.0, 90.0)] == pytest.approx([0, 0, 2.5, 5, 5])
    said = describe(add_noise(scene, 50.0, np.random.default_rng(0)))
    centres, even = said.measured.centres_deg, np.full(20, 60.0)
    assert said.verdict.severity["noise"] > 3.3
    for lost, word in ((5.2, "slight"), (15.6, "mild"), (26.0, "clear"), (None, strength_word(said.verdict.severity["noise"]))):
        reading = said.reading(centres, even, lost=lost)
        assert reading.told.lower().startswith(f"{word} ") and reading.views[3].startswith(f"{word} ")
    assert said.reading(centres, even, flawless=True, lost=10.0).told.startswith(("Sharp and clean", "No visible", "Clean and"))


def test_a_part_is_called_as_strong_as_its_own_views_allow(scene):
    said = describe(np.where((LON < 0) & (LAT < 99), DISTORTED["blur"](scene), scene))
    centres = said.measured.centres_deg
    scores = np.where(centres[:, 0] < 0, 50.0, 60.0)
    mean = float(scores.mean())
    for lost in (1.0, 8.0):
        word = strength_word(5 / 52 * (lost + mean - 50))
        reading = said.reading(centres, scores, lost=lost)
        assert reading.told.startswith(f"{word.capitalize()} blur in the left half")
        assert reading.of_view(-90, 0) == f"{word} blur."


@pytest.mark.parametrize(("kind", "told"), [("noise", True), ("compression", True), ("blur", False)])
def test_what_no_flawless_scene_shows_is_told_of_a_part_that_the_model_does_not_feel(scene, kind, told):
    """8 points are .77 of severity ("slight"). Soft surfaces are the scene's own as often as a blur."""
    said = describe(np.where((LAT < 0) & (LON < 181), DISTORTED[kind](scene), scene))
    centres, even = said.measured.centres_deg, np.full(20, 64.0)
    assert f"{kind} below the horizon" in said.reading().told.lower()
    for flawless in (False, True):
        reading = said.reading(centres, even, flawless=flawless, lost=8.0)
        assert (f"slight {kind} below the horizon" in reading.told.lower()) == told
        below = [words for words, (_, lat) in zip(reading.views, centres, strict=True) if lat < -30]
        assert below and all(words.startswith(f"slight {kind}.") for words in below) == told


def test_a_part_of_which_blur_left_nothing_is_told_where_the_model_scores_it_far_lower(scene):
    left = np.arange(scene.shape[1])[None, :, None] < scene.shape[1] // 2
    said = describe(np.where(left, blur_sphere(scene, 8), scene))
    centres = said.measured.centres_deg
    lower = np.where(centres[:, 0] < 0, 30.0, 60.0)
    told = said.reading(centres, lower, low=True)
    assert told.told.startswith("Extreme blur in the left half; the rest is clean.")
    assert told.of_view(-90, 0).startswith("extreme blur.")
    slightly = np.where(centres[:, 0] < 0, 50.0, 60.0)
    assert "xtreme" not in said.reading(centres, slightly, low=True).told  # a little lower is no evidence
    assert "xtreme" not in said.reading(centres, lower).told  # nor are views, where the panorama scores well: a white sky
    sky = describe(scene)  # without texture above, and scored alike
    assert sky.reading(centres, np.full(len(centres), 60.0)).told == sky.reading().told


def test_nothing_of_a_noisy_panorama_is_lost_to_blur(scene):
    """Noise hides the texture of a sky too, and blur would have taken the noise away."""
    noisy, fine = describe(DISTORTED["noise"](scene)), local.FEATURES.index(("fine", 0.5, None))
    patches, centres = noisy.measured.patches.copy(), noisy.measured.centres_deg
    patches[local.directions()[:, 1] > 0, fine] = np.nan
    noisy, above = replace(noisy, measured=replace(noisy.measured, patches=patches)), np.where(centres[:, 1] > 0, 30.0, 60.0)
    assert local.lost_texture(patches, centres, above).sum() >= 4 and noisy.dominant == "noise"
    assert "blur" not in noisy.reading(centres, above, low=True).told.lower()
    blurry = replace(noisy, verdict=replace(noisy.verdict, dominant="none"))
    assert "extreme blur" in blurry.reading(centres, above, low=True).told.lower()


def test_what_is_scored_low_is_not_called_clean(scene):
    said = describe(scene)
    assert said.dominant == "none"
    assert said.reading(low=True).told.startswith("Scored low for what words do not tell.")
    assert not said.reading(low=False).told.startswith("Scored low")


def test_patches_cover_the_sphere_evenly():
    assert np.allclose(local.directions().sum(axis=0), 0) and len(local.directions()) == 32
    rays, lat, _ = local.rays_of(30, 60)
    nearest = np.degrees(np.arccos(np.clip((rays @ local.directions().T).max(axis=1), -1, 1)))
    assert nearest.max() < local.RADIUS_DEG + 10  # so there is a patch near every view
    shares = local.shares_of(lat > 0, 30, 60)
    assert np.allclose(shares + local.shares_of(lat < 0, 30, 60), 1) and shares[local.directions()[:, 1] > 0.5].min() == 1


def test_regions_are_what_they_are_called():
    masks = {name: bool(mask) for (name, _), mask in local.region_masks(np.float64(-60), np.float64(-100)).items()}
    assert sorted(name for name, there in masks.items() if there) == sorted([
        "in the left half", "in the rear half", "below the horizon", "at the floor", "in the left half, below the horizon",
        "in the rear half, below the horizon", "to the left, from the zenith to the floor", "to the left, below the horizon"])


def test_constants_can_be_made_again():
    class Made:
        name = "street_01"

        def load(self):
            return render_scene("street_01", 256)

    samples = scene_samples(Made(), (256,))
    assert len(samples) == 2 * (1 + 6 * 7) and {int(kind) for _, kinds, _ in samples for kind in kinds} == {-1, 0, 1, 2, 3}
    made, there = fit_local([Made()], 1, (256,)), json.loads(local.FILE.read_text())
    assert made.keys() == there.keys() and np.shape(made["weights"]) == np.shape(there["weights"])
    assert made["scenes"] == ["street_01"] and len(there["scenes"]) >= 15 and len(local.revision()) == 12
