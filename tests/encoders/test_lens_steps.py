"""Steps between lenses: a made one is found with its size and its place, and a smooth or busy world has none."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmifn.encoders.lens_steps import lens_steps
from mmifn.encoders.presets import PRESETS
from mmifn.simulate.authentic import ONE_OF_TWO, Happening
from mmifn.simulate.distortions import blur_sphere
from mmifn.simulate.light import lens_weights, mix, to_light, to_pixels
from mmifn.simulate.rendered.panorama import render_scene
from mmifn.sphere import dodecahedron, equator

FRONT = torch.tensor([[0.0, 0.0], [90.0, 0.0], [180.0, 0.0], [-90.0, 0.0], [90.0, 60.0]])


def textured(height: int, sigma_px: float, contrast: float) -> np.ndarray:
    """A world of random texture without an edge: (height, 2 height, 3) uint8."""
    noise = np.random.default_rng(0).integers(0, 256, (height, 2 * height, 3), dtype=np.uint8)
    soft = blur_sphere(noise, sigma_px).astype(float)
    return np.clip((soft - soft.mean()) * contrast + 110, 30, 200).round().astype(np.uint8)


@pytest.fixture(scope="module")
def world() -> np.ndarray:
    return textured(360, 2.0, 1.2)


def test_a_brighter_lens_is_found_by_its_stops_at_its_seams_only(world):
    lens = lens_weights(720, 2, 6.0, first_deg=0.0)[0]  # from -90 to 90
    brighter = to_pixels(to_light(world) * mix(lens, np.float32(2 ** 0.8), np.float32(1)))
    light, colour, sharpness, contours = lens_steps(brighter, FRONT).T
    assert 0.6 < light[1] < 0.8  # seven tenths of the rows, whose texture adds to 0.8 or takes from it, step as far
    assert light[3] == light[1]
    assert light[[0, 2]].max() < 0.15
    assert colour.max() < 0.15
    assert sharpness.max() < 0.35
    assert contours.max() < 0.1


def test_a_view_near_a_pole_hears_of_a_seam_at_its_own_distance(world):
    """At 60 degrees of latitude 30 degrees of longitude are 15 on the sphere: within a view's 20. At the equator 40 are too many,
    and of 30 it hears by half."""
    lens = lens_weights(720, 2, 6.0, first_deg=30.0)[0]
    brighter = to_pixels(to_light(world) * mix(lens, np.float32(2 ** 0.8), np.float32(1)))
    steps = lens_steps(brighter, torch.tensor([[90.0, 60.0], [80.0, 0.0], [90.0, 0.0]]))[:, 0]
    assert steps[0] > 0.6
    assert steps[1] < 0.2
    assert float(steps[2]) == pytest.approx(float(steps[0]) / 2, abs=0.05)


def test_contours_are_told_doubled_by_the_views_at_their_seams():
    """A copy two degrees on, in a band about two seams; the textures of the other tests are too even to tell it by."""
    scene = render_scene("street_01", 1024)
    band = np.zeros(2048, np.float32)
    band[[*range(440, 584), *range(1464, 1608)]] = 0.5  # about longitudes -90 and 90
    doubled = mix(band, np.roll(scene, 11, axis=1).astype(np.float32), scene.astype(np.float32)).round().astype(np.uint8)
    contours, before = lens_steps(doubled, FRONT)[:, 3], lens_steps(scene, FRONT)[:, 3]
    assert contours[[1, 3]].min() > 0.14
    assert contours[[0, 2]].max() < 0.07
    assert before.max() < 0.14


def test_a_coloured_lens_and_a_blurred_one_show_in_their_own_columns(world):
    plain = lens_steps(world, equator(8)).amax(dim=0)
    white = lens_steps(Happening("white", 3, ONE_OF_TWO, 4).apply(world), equator(8)).amax(dim=0)
    assert white[1] > plain[1] + 0.4
    busy = textured(720, 0.8, 2.0)
    plain = lens_steps(busy, equator(8)).amax(dim=0)
    focus = lens_steps(Happening("focus", 3, ONE_OF_TWO, 4).apply(busy), equator(8)).amax(dim=0)
    assert focus[2] > plain[2] + 0.7
    assert focus[0] < plain[0] + 0.2


def test_the_whole_sphere_brighter_has_no_step(world):
    half_a_stop = to_pixels(to_light(world) * np.float32(2 ** 0.5))
    change = lens_steps(half_a_stop, dodecahedron()) - lens_steps(world, dodecahedron())
    assert change[:, :2].abs().max() < 0.02


def test_a_preset_adds_what_people_say_and_the_steps_to_every_direction(world):
    from mmifn.encoders.encode import beside, render_preset, viewport_provenance
    from mmifn.encoders.networks import load_view_encoder
    from mmifn.encoders.people import open_people

    cpu = torch.device("cpu")
    plain = replace(PRESETS["offline"], fovs_deg=(70.0,), sizes_px=(64,), with_people=False, with_steps=False)
    views = render_preset(world, plain)
    told = beside(world, views, replace(plain, with_people=True, with_steps=True), cpu)
    assert beside(world, views, plain, cpu).shape == (20, 0)
    assert told[:, 0] == pytest.approx(open_people("cpu")(views[0]) / 100)
    assert torch.equal(told[:, 1:], lens_steps(world, dodecahedron()))
    encoder = load_view_encoder("lite0_adapted", cpu)
    methods = [viewport_provenance(preset, encoder, {}).method_digest()
               for preset in (plain, replace(plain, with_people=True), replace(plain, with_steps=True))]
    assert len(set(methods)) == 3
