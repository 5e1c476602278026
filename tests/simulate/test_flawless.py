"""Pristine panoramas alone: their labels are the ceilings of their sizes, and nothing is made twice."""

import numpy as np
import pandas as pd
import pytest

import simulate_dataset
from mmifn.data.images import read_image
from mmifn.data.manifest import read_manifest
from mmifn.data.workspace import Workspace
from mmifn.simulate.database import Simulation
from mmifn.simulate.flawless import simulate_flawless
from mmifn.simulate.settings import FLAWLESS as LIKE
from mmifn.simulate.settings import HARMLESS


def test_every_scene_once_with_the_ceiling_of_its_size(tmp_path):
    space, plan = Workspace(tmp_path), Simulation(LIKE, "CLEAN", "synthetic", 2, height=512, workers=1, ppd=4096 / 360)
    table = simulate_flawless(plan, space)
    assert len(table) == table["reference"].nunique() == 2
    assert set(table["distortion_type"]) == {"pristine"} and set(table["width"]) == {1024}
    assert [float(mos) for mos in table["MOS"]] == pytest.approx([48, 48], abs=0.6)  # docs/databases.md: 1024 px has 48
    paths = sorted(space.images_dir("CLEAN").iterdir())
    assert all(read_image(path).shape == (512, 1024, 3) for path in paths)
    before = [path.stat().st_mtime_ns for path in paths]
    pd.testing.assert_frame_equal(simulate_flawless(plan, space), table)
    assert [path.stat().st_mtime_ns for path in paths] == before


def test_copies_are_grey_or_half_a_stop_off_and_have_the_labels_of_their_selves(tmp_path):
    space = Workspace(tmp_path)
    plans = [Simulation(like, like, "synthetic", 1, height=64, workers=1) for like in (LIKE, HARMLESS)]
    own, copies = (simulate_flawless(plan, space) for plan in plans)
    stem = own["image_name"][0].removesuffix(".png")
    assert copies["image_name"].tolist() == [f"{stem}_{name}.png" for name in ("grey", "brighter", "darker")]
    for _, row in copies.drop(columns="image_name").iterrows():
        assert row.to_dict() == own.drop(columns="image_name").iloc[0].to_dict()
    pixels = read_image(space.images_dir(LIKE) / own["image_name"][0]).astype(int)
    grey, brighter, darker = (read_image(space.images_dir(HARMLESS) / name).astype(int) for name in copies["image_name"])
    luma = pixels @ [0.299, 0.587, 0.114]  # ITU-R BT.601
    assert np.abs(grey - luma[..., None]).max() <= 0.51 and np.ptp(pixels, axis=2).max() > 20
    light = np.array([((value / 255 + 0.055) / 1.055) ** 2.4 for value in range(256)])  # IEC 61966-2-1, its upper part
    for copy, gain in ((brighter, 2 ** 0.5), (darker, 2 ** -0.5)):
        wanted = np.minimum(1, gain * light[pixels])
        mid = (pixels > 40) & (pixels < 250)
        assert np.abs(copy - 255 * (1.055 * wanted ** (1 / 2.4) - 0.055))[mid].max() < 1.1


def test_the_script_makes_it_and_refuses_levels(tmp_path, capsys):
    argv = ["--root", str(tmp_path), "--like", LIKE, "--panoramas", "synthetic", "--scenes", "1"]
    argv += ["--height", "64", "--workers", "1"]
    assert simulate_dataset.main([*argv, "--levels", "1"]) == 2
    assert "--levels 1 has no meaning with --like FLAWLESS" in capsys.readouterr().err
    assert simulate_dataset.main(argv) == 0
    assert read_manifest(Workspace(tmp_path).manifest(LIKE), LIKE).mos.tolist() == [71.5]  # rendered scenes have no size
