"""Rendered scenes: no seam, no pinched pole, fine detail, all different, reproducible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmifn.simulate.panoramas import find_scenes
from mmifn.simulate.rendered.panorama import CATALOGUE, KINDS, RENDERER, render_scene, scene_names

HEIGHT = 96
GROUNDS = ("meadow_01", "wood_01", "wood_02")  # the woods: a green one and a brown one
MEANS = Path(__file__).with_name("rendered_means.npz")  # of 6 x 6 pixels, made by save_means() with RENDERER 1


@pytest.fixture(scope="module")
def pictures() -> dict[str, np.ndarray]:
    return {name: render_scene(name, HEIGHT) for name in scene_names(len(KINDS) + 2)}


def test_the_catalogue_is_large_and_its_scenes_differ(pictures):
    assert CATALOGUE >= 16 and len(set(scene_names())) == CATALOGUE
    assert [scene.name for scene in find_scenes("synthetic")] == scene_names()
    small = [picture.mean(axis=2) for picture in pictures.values()]
    for i, a in enumerate(small):
        for b in small[:i]:
            assert np.abs(a - b).mean() > 5


def means(pictures):
    """Return the mean of every 6 x 6 pixels of each picture: (N, 16, 32, 3)."""
    return np.stack([picture.reshape(16, 6, 32, 6, 3).mean(axis=(1, 3)) for picture in pictures.values()])


def save_means() -> None:
    """Make MEANS anew, where RENDERER was raised."""
    made = means({name: render_scene(name, HEIGHT) for name in scene_names(len(KINDS) + 2)})
    np.savez_compressed(MEANS, means=(made * 256).round().astype(np.uint16), renderer=RENDERER,
                        fine=(fine_means() * 256).round().astype(np.uint16))  # fmt: skip


def fine_means():
    """Return the means of 8 x 8 pixels of the ground of three scenes, large enough for what is small: (N, 10, 60, 3)."""
    return np.stack([render_scene(name, 240)[160:].reshape(10, 8, 60, 8, 3).mean(axis=(1, 3)) for name in GROUNDS])


def test_pictures_change_with_the_renderer_only(pictures):
    """Databases that were made of these scenes can be made again; a change of theirs raises RENDERER."""
    stored = np.load(MEANS)
    for made, wanted in ((means(pictures), stored["means"]), (fine_means(), stored["fine"])):
        apart = np.abs(made - wanted / 256)
        assert apart.max() < 0.5 and (apart > 0.02).mean() < 0.002  # but for rounding
    assert stored["renderer"] == RENDERER


def test_rendering_is_reproducible(pictures):
    name = next(iter(pictures))
    assert (render_scene(name, HEIGHT) == pictures[name]).all()


def test_the_seam_is_no_edge(pictures):
    """Columns on both sides of ±180° differ no more than neighbours elsewhere do."""
    for name, picture in pictures.items():
        steps = np.abs(np.diff(picture.astype(float), axis=1)).mean(axis=(0, 2))
        seam = np.abs(picture[:, 0].astype(float) - picture[:, -1]).mean()
        assert seam < 3 * np.percentile(steps, 95), name


def test_the_poles_are_smooth_along_their_rows(pictures):
    """Neighbours in the outermost rows are 1/60 of a pixel apart: a function of direction hardly changes there."""
    for name, picture in pictures.items():
        for row in (picture[0], picture[-1]):
            assert np.abs(np.diff(row.astype(float), axis=0)).mean() < 2, name


def test_there_is_contrast_and_fine_detail(pictures):
    for name, picture in pictures.items():
        grey = picture[HEIGHT // 4:3 * HEIGHT // 4].mean(axis=2)
        laplacian = grey[1:-1, 1:-1] * 4 - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
        assert grey.std() > 15 and laplacian.std() > 12, name


def test_unknown_scenes_are_refused():
    with pytest.raises(ValueError, match="no synthetic scene"):
        render_scene("castle_01", 32)
