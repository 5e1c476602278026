"""Distortions of a part of the sphere: which pixels change, what labels rest on, and a database made once."""

import numpy as np
import pandas as pd
import pytest

import simulate_dataset
from mmifn.data.images import read_image
from mmifn.data.manifest import read_manifest
from mmifn.data.workspace import Workspace
from mmifn.simulate import regional
from mmifn.simulate.comparison import POWER, SceneComparison
from mmifn.simulate.curves import judged_kinds, mos_of_loss
from mmifn.simulate.regional import FEATHER_DEG, LIKE, VERSIONS, Part, parts, places, regional_mos, simulate_regional, view_mos
from mmifn.simulate.rendered.panorama import render_scene, scene_names
from mmifn.simulate.settings import Simulation

HEIGHT = 90  # a row is two degrees, a column too
LAT = 89.0 - 2 * np.arange(HEIGHT)[:, None] + np.zeros((1, 2 * HEIGHT))
LON = -179.0 + 2 * np.arange(2 * HEIGHT)[None] + np.zeros((HEIGHT, 1))


def _near(middle: float, reach: float) -> np.ndarray:
    return np.abs((LON - middle + 180) % 360 - 180) - reach


@pytest.mark.parametrize(("sort", "place", "beyond"), [  # degrees beyond the edge, negative within
    ("half", "left half", _near(-90, 90)), ("half", "rear half", _near(180, 90)), ("lens", "right lens", _near(90, 30)),
    ("sky", "sky", 20 - LAT), ("floor", "floor", LAT + 30), ("pole", "zenith", 45 - LAT), ("pole", "nadir", LAT + 45),
    ("quarter", "upper front quarter", np.maximum(_near(0, 90), -LAT)),
    ("quarter", "lower right quarter", np.maximum(_near(90, 90), LAT))])
def test_a_part_covers_what_its_name_says(sort, place, beyond):
    weights = np.broadcast_to(places()[sort][place](HEIGHT), beyond.shape)
    assert (weights[beyond < -FEATHER_DEG / 2] > 1 - 1e-6).all() and (weights[beyond > FEATHER_DEG / 2] < 1e-6).all()
    assert weights.min() >= 0 and weights.max() <= 1


def test_only_the_part_is_distorted():
    pixels = render_scene(scene_names()[0], HEIGHT)
    got = Part("GN", 30.0, "floor", "floor").apply(pixels, np.random.default_rng(0))
    assert (got[LAT > -27] == pixels[LAT > -27]).all()
    change = got[LAT < -33].astype(float) - pixels[LAT < -33]
    assert 20 < change[(got[LAT < -33] > 0) & (got[LAT < -33] < 255)].std() < 31  # sigma 30, less what clips
    assert (got != Part("GN", 30.0, "floor", "floor").apply(pixels, np.random.default_rng(1))).any()


def test_every_sort_and_kind_befalls_a_scene_and_another_seed_chooses_others():
    chosen = parts("street", 4096, 0)
    assert len(chosen) == VERSIONS and {part.sort for part in chosen} == set(places())
    assert {part.kind for part in chosen} == set(judged_kinds())
    assert chosen == parts("street", 4096, 0) != parts("street", 4096, 1)
    assert all(part.place in places()[part.sort] for part in chosen)


def test_the_label_pools_what_the_views_lose():
    """A quarter of the views counts (1/4)^(1/1.6) = 0.42 of the whole, by hand."""
    flawless, losses = np.zeros(20), np.zeros(20)
    losses[:5] = 0.2
    lost = 71.5 - float(mos_of_loss(("GB",), 0.2))
    assert lost > 5 and regional_mos("GB", losses, flawless) == pytest.approx(71.5 - lost * 0.25 ** (1 / 1.6), abs=1e-6)
    assert POWER == 1.6 and regional_mos("GB", flawless, flawless) == pytest.approx(71.5)
    everywhere = regional_mos("GB", np.full(20, 0.2), flawless)
    assert everywhere == pytest.approx(71.5 - lost) and everywhere < regional_mos("GB", losses, flawless)


def test_a_view_is_worth_what_the_whole_would_be_if_it_looked_like_that_and_no_more_than_its_flawless_self():
    losses, flawless = np.array([0.0, 0.2, 0.05]), np.array([0.0, 0.0, 0.08])  # the last is better than it was
    got = view_mos("GB", losses, flawless)
    assert got[:2] == pytest.approx([71.5, float(mos_of_loss(("GB",), 0.2))]) and got[1] < 66
    assert got[2] == pytest.approx(float(mos_of_loss((), 0.08))) and got[2] < 71.5


def test_views_are_compared_one_by_one_and_their_mean_is_the_whole():
    source = render_scene(scene_names()[1], HEIGHT)
    compare = SceneComparison(source, 180 / 360)
    blurred = Part("GB", 4.0, "pole", "zenith").apply(source, np.random.default_rng(0))
    losses = compare.view_losses(blurred)
    assert losses.shape == (20,) and losses.mean() == pytest.approx(1 - compare.fsim(blurred), abs=1e-6)
    assert compare.view_losses(source).max() < 1e-5 and losses.min() < 1e-5 < 0.01 < losses.max()


def test_a_regional_database_is_whole_and_made_once(tmp_path, capsys):
    argv = ["--root", str(tmp_path), "--like", LIKE, "--dataset", "PARTS", "--panoramas", "synthetic", "--scenes", "1"]
    argv += ["--height", "64", "--workers", "1"]
    assert simulate_dataset.main([*argv, "--levels", "1"]) == 2
    assert "--levels 1 has no meaning with --like REGIONAL" in capsys.readouterr().err
    assert simulate_dataset.main(argv) == 0
    space = Workspace(tmp_path)
    manifest, table = read_manifest(space.manifest("PARTS"), "PARTS"), pd.read_csv(space.manifest("PARTS"))
    assert len(manifest) == 1 + VERSIONS and manifest.mos_source == "simulated"
    assert set(table.label_rule) == {regional.RULE} and table.place.isna().tolist() == [True] + [False] * VERSIONS
    assert table.level.tolist() == [0] + [1] * VERSIONS
    assert table.MOS[0] == 71.5 and table.MOS[1:].between(10, 71.4).all()
    views = np.array([text.split() for text in table.view_MOS], float)
    assert views.shape == (1 + VERSIONS, 20) and (views[0] == 71.5).all() and views.min() > 5
    lost = np.mean((71.5 - views[1:]) ** 1.6, axis=1) ** (1 / 1.6)  # the label is theirs, pooled
    np.testing.assert_allclose(table.MOS[1:], 71.5 - lost, atol=0.02)
    scene, *others = (read_image(space.images_dir("PARTS") / name) for name in table.image_name)
    assert all(0 < (other != scene).any(axis=2).mean() < 0.8 for other in others)
    before = {path: path.stat().st_mtime_ns for path in space.images_dir("PARTS").iterdir()}
    again = simulate_regional(Simulation(LIKE, "PARTS", "synthetic", 1, height=64, workers=1), space)
    assert again.MOS.astype(float).tolist() == table.MOS.tolist()
    assert before == {path: path.stat().st_mtime_ns for path in space.images_dir("PARTS").iterdir()}
