"""The database of authentic faults: those of one lens in every scene, labels below the ceiling, and what each rests on."""

import pandas as pd
import pytest

from mmifn.adapt.authentic import VERSIONS, simulate_authentic
from mmifn.adapt.opinion_labels import RULE
from mmifn.core.errors import UserError
from mmifn.data.manifest import read_manifest
from mmifn.data.workspace import Workspace
from mmifn.simulate.authentic import FAULTS, ONE_LENS
from mmifn.simulate.curves import ceiling
from mmifn.simulate.database import Simulation
from mmifn.simulate.panoramas import SYNTHETIC
from mmifn.simulate.settings import AUTHENTIC, LENSES


def test_a_database_of_one_scene_has_lens_faults_and_others_and_says_what_labels_rest_on(tmp_path):
    plan, space = Simulation(AUTHENTIC, "FAULTY", SYNTHETIC, scenes=1, height=128, workers=1), Workspace(tmp_path)
    table = simulate_authentic(plan, space)
    rows = pd.read_csv(space.manifest("FAULTY"))
    assert len(rows) == VERSIONS + 1
    kinds = set(rows["distortion_type"])
    assert len(kinds) == len(rows)
    assert {*ONE_LENS, "pristine"} <= kinds <= {*FAULTS, "pristine"}
    best = ceiling(256, 256 / 360)
    assert rows["MOS"][rows["distortion_type"] == "pristine"].item() == pytest.approx(best, abs=1e-3)
    assert (rows["MOS"] <= best + 1e-3).all()
    assert rows["MOS"].min() < best - 10
    assert set(rows["label_rule"]) == {RULE}
    assert set(rows["mos_source"]) == {"simulated"}
    stitched = rows[rows["distortion_type"].isin(("step", "ghost"))]
    assert stitched["basis"].str.contains("stitching").all()
    assert not rows["basis"][rows["distortion_type"].isin(("webp", "halo"))].str.contains("light|stitching").any()
    assert read_manifest(space.manifest("FAULTY"), "FAULTY").mos_source == "simulated"
    images = sorted((tmp_path / "datasets" / "FAULTY" / "images").iterdir())
    images[3].unlink()
    assert simulate_authentic(plan, space).equals(table)  # the lost image is made again, the same


def test_levels_have_no_meaning_here(tmp_path):
    plan = Simulation(AUTHENTIC, "FAULTY", SYNTHETIC, scenes=1, height=128, levels=(1,))
    with pytest.raises(UserError, match="--levels 1 has no meaning"):
        simulate_authentic(plan, Workspace(tmp_path))


def test_slightly_unlike_lenses_each_once_and_worse_where_stronger(tmp_path):
    space = Workspace(tmp_path)
    rows = simulate_authentic(Simulation(LENSES, "LENSES", SYNTHETIC, scenes=1, height=256, workers=1), space)
    mos = rows.assign(MOS=rows["MOS"].astype(float)).set_index(["distortion_type", "place", "level"])["MOS"]
    assert len(mos) == 12 and mos.index.is_unique
    flawless = mos["pristine"].item()
    for fault in ("over", "under"):
        for place in ("one of two lenses", "one of six lenses"):
            assert flawless > mos[fault, place, 1] > mos[fault, place, 2]
    assert flawless > mos["lenses", "whole", 1] > mos["lenses", "whole", 2] > mos["lenses", "whole", 3]
    assert not rows["basis"].str.contains("stitching").any()
