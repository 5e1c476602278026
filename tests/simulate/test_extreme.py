"""Distortions beyond what people judged: labels go on down, and half a sphere is better than the whole."""

import numpy as np
import pandas as pd
import pytest

from mmifn.data.images import read_image
from mmifn.data.workspace import Workspace
from mmifn.simulate.curves import curve_by_setting, mos_of_fsim
from mmifn.simulate.extreme import LIKE, OF_A_PART, RANGES, Extreme, extreme_mos, extremes, simulate_extreme
from mmifn.simulate.human_anchor import HUMAN_MOS
from mmifn.simulate.panoramas import SYNTHETIC
from mmifn.simulate.settings import CVIQ, Simulation


def test_the_curve_over_blur_goes_through_what_people_said_and_on_down():
    curve = curve_by_setting("GB")
    said = [mean for mean, _ in HUMAN_MOS["OIQA", "GB"]]
    assert [float(curve(sigma)) for sigma in (0.95, 1.4, 2.1, 2.85, 5.1)] == pytest.approx(said)
    further = np.array([float(curve(sigma)) for sigma in (5.1, 6, 8, 12, 16, 24, 32, 48)])
    assert np.all(np.diff(further) < 0) and 10 < further[-1] < 20


def test_a_blur_that_fsim_takes_for_milder_gets_no_more_than_its_strength_allows():
    # FSIM of 12 px at 2048 px on a photograph was .6223, that of 6 px .6066: by FSIM the stronger blur is the better one.
    labels = [extreme_mos("GB", sigma, 2048, fsim, 0.937) for sigma, fsim in ((6.0, 0.6066), (12.0, 0.6223))]
    assert labels == pytest.approx([float(curve_by_setting("GB")(12)), float(curve_by_setting("GB")(24))])
    assert extreme_mos("DS", 12.0, 2048, 0.6, 0.937) == pytest.approx(labels[0])  # reduced 12 times: as blurred by 6 px
    assert extreme_mos("EXP", -4.0, 2048, 0.73, 0.937) == mos_of_fsim(("EXP",), 0.73, 0.937)


def test_strengths_follow_the_size_and_each_range_is_drawn_once():
    small, large = extremes("a", 2048, 0), extremes("a", 4096, 0)
    for one, other, (kind, mild, severe) in zip(small, large, (*RANGES, *OF_A_PART), strict=True):
        assert one.kind == other.kind == kind and one.place == other.place
        assert min(mild, severe) <= other.parameter <= max(mild, severe)
        assert other.parameter / one.parameter == pytest.approx(2 if kind in ("GB", "DS") else 1)
    assert [what.place is None for what in small] == [True] * len(RANGES) + [False] * len(OF_A_PART)
    assert extremes("a", 4096, 1) != large != extremes("b", 4096, 0)


def test_half_a_sphere_is_what_it_says():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    half = Extreme("GB", 8.0, "front half").apply(pixels)
    assert np.array_equal(half[:, 64], Extreme("GB", 8.0, None).apply(pixels)[:, 64])
    assert np.array_equal(half[:, 0], pixels[:, 0])


def test_a_database_of_extremes(tmp_path):
    space, plan = Workspace(tmp_path), Simulation(LIKE, "FAR", "synthetic", 1, height=256, workers=1)
    table = simulate_extreme(plan, space)
    assert len(table) == len(RANGES) + len(OF_A_PART) and set(table["label_rule"]) == {"extreme/1"}
    mos = table["MOS"].astype(float)
    blurred = (table["distortion_type"] == "GB") & (table["place"] == "")
    assert mos[blurred].is_monotonic_decreasing and mos[blurred].max() < 28.7  # the severest blur that people judged
    assert (mos[table["place"] != ""] > mos[blurred].max()).all() and mos.max() < 71.5
    assert all(read_image(space.images_dir("FAR") / name).shape == (256, 512, 3) for name in table["image_name"])
    pd.testing.assert_frame_equal(simulate_extreme(plan, space), table)


def test_photographs_are_shown_in_peoples_headset_and_rendered_scenes_at_their_own_size():
    photographs, rendered = Simulation(CVIQ, "X", "folder"), Simulation(CVIQ, "X", SYNTHETIC)
    assert photographs.shown_at(2048) == photographs.shown_at(8192) == pytest.approx(4096 / 360)
    assert [rendered.shown_at(width) for width in (720, 3600)] == [2.0, 10.0]
    assert Simulation(CVIQ, "X", SYNTHETIC, ppd=20.0).shown_at(2048) == 20.0
