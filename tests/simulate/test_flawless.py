"""Pristine panoramas alone: their labels are the ceilings of their sizes, and nothing is made twice."""

import pandas as pd
import pytest

import simulate_dataset
from mmifn.data.images import read_image
from mmifn.data.manifest import read_manifest
from mmifn.data.workspace import Workspace
from mmifn.simulate.database import Simulation
from mmifn.simulate.flawless import LIKE, simulate_flawless


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


def test_the_script_makes_it_and_refuses_levels(tmp_path, capsys):
    argv = ["--root", str(tmp_path), "--like", LIKE, "--panoramas", "synthetic", "--scenes", "1"]
    argv += ["--height", "64", "--workers", "1"]
    assert simulate_dataset.main([*argv, "--levels", "1"]) == 2
    assert "--levels 1 has no meaning with --like FLAWLESS" in capsys.readouterr().err
    assert simulate_dataset.main(argv) == 0
    assert read_manifest(Workspace(tmp_path).manifest(LIKE), LIKE).mos.tolist() == [71.5]  # rendered scenes have no size
