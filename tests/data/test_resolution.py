"""How much detail a panorama holds, and huge pictures reduced as they are decoded."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from mmifn.data import placement
from mmifn.data.placement import read_spheres
from mmifn.data.resolution import detail_width, resolution_note
from mmifn.simulate.rendered.panorama import render_scene


@pytest.fixture(scope="module")
def scene():
    return render_scene("plaza_01", 256)


def test_waves_tell_their_own_width():
    """Twelve waves around take 24 pixels; white noise takes all that there are."""
    waves = (128 + 100 * np.sin(2 * np.pi * 12 * np.arange(512) / 512)).astype(np.uint8)
    assert detail_width(np.broadcast_to(waves[None, :, None], (256, 512, 3))) == 24
    noise = np.random.default_rng(0).integers(0, 256, (256, 512, 1), dtype=np.uint8).repeat(3, axis=2)
    assert detail_width(noise) > 480 and detail_width(np.full((256, 512, 3), 9, np.uint8)) is None


@pytest.mark.parametrize("method", [cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4])
def test_an_enlarged_panorama_is_told(method, scene):
    large = cv2.resize(scene, (5120, 2560), interpolation=method)
    (note,) = resolution_note(large, 4096)
    assert note.startswith("its 5120 pixels across hold no more detail than about ") and "enlarged or blurred" in note
    assert 440 <= detail_width(large) < 0.28 * 5120  # 90 % of the energy lies a little below the old resolution


def test_sharp_ones_and_small_ones_are_not(scene):
    assert resolution_note(scene, 512) == [] == resolution_note(cv2.resize(scene, (1024, 512)), 100)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_huge_pictures_are_reduced(kind, scene, monkeypatch):
    monkeypatch.setattr(placement, "_AT_ONCE_PX", 40_000)  # 131072 pixels are 3.3 times that: half of each side
    file = io.BytesIO()
    Image.fromarray(scene).save(file, kind, quality=95)
    (sphere,) = read_spheres(file.getvalue(), "x", projection="equirectangular")
    assert sphere.erp.shape == (128, 256, 3)
    assert np.abs(sphere.erp.astype(int) - cv2.resize(scene, (256, 128), interpolation=cv2.INTER_AREA)).mean() < 3


def test_what_is_transparent_of_a_huge_picture_is_not_covered(scene, monkeypatch):
    """The lower quarter of the rows is: (1 - cos 45 degrees) / 2 of the sphere."""
    monkeypatch.setattr(placement, "_AT_ONCE_PX", 40_000)
    alpha = np.full((*scene.shape[:2], 1), 255, np.uint8)
    alpha[3 * len(scene) // 4:] = 0
    file = io.BytesIO()
    Image.fromarray(np.concatenate([scene, alpha], axis=2)).save(file, "PNG")
    (sphere,) = read_spheres(file.getvalue(), "x", projection="equirectangular")
    assert sphere.erp.shape == (128, 256, 3) and sphere.covered.shape == (128, 256)
    assert sphere.share == pytest.approx(1 - (1 - np.cos(np.pi / 4)) / 2, abs=2e-3)
