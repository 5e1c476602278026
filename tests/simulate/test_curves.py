"""Human curves of metric, setting and size: anchors, order, smoothness, ceilings."""

import csv
import math

import numpy as np
import pytest

from mmifn.simulate import curves
from mmifn.simulate.curves import (
    HEADSET_WIDTH,
    PRISTINE_MOS,
    WORST_MOS,
    Curve,
    ceiling,
    charge_size,
    curve,
    judged_kinds,
    mos_of_fsim,
    mos_of_gmsd,
    setting_loss,
    setting_mos,
    size_loss,
)
from mmifn.simulate.designs import DESIGNS
from mmifn.simulate.human_anchor import HUMAN_MOS
from mmifn.sphere import HEADSET_PPD

JUDGED_BY = {"JPEG": "CVIQ", "AVC": "CVIQ", "HEVC": "CVIQ", "JP2K": "OIQA", "GN": "OIQA", "GB": "OIQA"}
SETTINGS = [(like, kind.type, value, HUMAN_MOS[like, kind.type][level][0]) for like, kinds in DESIGNS.items()
            for kind in kinds if JUDGED_BY[kind.type] == like for level, value in enumerate(kind.values)]
WIDTHS = (1024, 2048, 3000, 4096, 8192)


def test_every_setting_that_people_judged_has_their_mean_at_their_size():
    assert set(judged_kinds()) == set(JUDGED_BY)
    for _, kind, value, mean in SETTINGS:
        assert setting_mos(kind, value, 4096) == pytest.approx(mean, abs=1e-6), (kind, value)
        assert mos_of_fsim((kind,), 1 - setting_loss(kind, value, 4096)) == pytest.approx(mean, abs=1e-6)
        assert mos_of_gmsd((kind,), setting_loss(kind, value, 4096, metric="gmsd")) == pytest.approx(mean, abs=1e-6)


def test_one_setting_is_better_on_a_larger_panorama():
    for _, kind, value, _ in SETTINGS:
        small, own, large = (setting_mos(kind, value, width) for width in (2048, 4096, 8192))
        assert small < own - 0.3 and own + 0.3 < large, (kind, value, small, own, large)


def test_strong_noise_loses_no_less_on_a_smaller_panorama():
    for kind in JUDGED_BY:
        for value in curves.measured_parameters(kind, 30):
            least = 1 - (1 - setting_loss(kind, value, 4096)) * (1 - size_loss(1024))
            assert setting_loss(kind, value, 1024) >= least - 1e-9
    with open(curves._TABLE, newline="", encoding="utf-8") as file:
        measured = next(float(row["fsim_loss"]) for row in csv.DictReader(file)
                        if (row["kind"], row["parameter"], row["width"]) == ("GN", "40", "1024"))
    assert setting_loss("GN", 40, 1024) > measured + 0.01  # FSIM alone would have it milder than it is


@pytest.mark.parametrize("width", WIDTHS)
def test_scores_fall_with_strength_and_stay_between_the_ceiling_and_the_worst(width):
    for kind in JUDGED_BY:
        scores = [setting_mos(kind, value, width) for value in curves.measured_parameters(kind, 40)]
        assert (np.diff(scores) <= 0.05).all(), (kind, width)  # the measured means of a few scenes are not quite smooth
        assert WORST_MOS < scores[-1] < scores[0] <= ceiling(width) + 1e-9


@pytest.mark.parametrize("kinds", [("JPEG",), ("HEVC",), ("GB",), ("DS",), ("GN", "AVC"), ("EXP",), ()])
def test_scores_fall_smoothly_with_the_metric(kinds):
    losses = np.geomspace(1e-4, 0.9, 400)
    scores = np.array([mos_of_fsim(kinds, 1 - loss) for loss in losses])
    steps = np.diff(scores)
    assert (steps < 0).all() and (np.abs(np.diff(steps)) < 0.35).all()  # no kink
    assert mos_of_fsim(kinds, 1.0) == pytest.approx(PRISTINE_MOS) and scores[-1] > WORST_MOS


def test_beyond_its_ends_a_curve_goes_on_with_its_slope():
    straight = Curve((0.01, 0.1), (60.0, 20.0))
    slope = 40 / math.log(10)
    assert float(straight(0.0316227766)) == pytest.approx(40, abs=1e-4)
    for end, step in ((0.01, -1e-3), (0.1, 1e-3)):
        assert (float(straight(end * math.exp(step))) - float(straight(end))) / -step == pytest.approx(slope, rel=1e-2)
    lacking = PRISTINE_MOS - 60
    assert float(straight(0.001)) == pytest.approx(PRISTINE_MOS - lacking * 0.1 ** (slope / lacking))
    assert float(straight(1.0)) == pytest.approx(WORST_MOS + (20 - WORST_MOS) * 0.1 ** (slope / (20 - WORST_MOS)))


def test_the_ceiling_grows_up_to_the_headsets_own_width():
    scores = [ceiling(width) for width in range(512, 8193, 128)]
    assert (np.diff(scores) >= 0).all() and ceiling(2048) < ceiling(3072) < ceiling(4090) < PRISTINE_MOS
    assert ceiling(HEADSET_WIDTH) == ceiling(8192) == PRISTINE_MOS
    assert PRISTINE_MOS - ceiling(HEADSET_WIDTH - 1) < 0.5  # no step there
    assert 45 < ceiling(2048) < 70


def test_a_headset_of_more_pixels_asks_for_a_wider_panorama():
    assert ceiling(4096, 2 * HEADSET_PPD) == pytest.approx(ceiling(2048))
    assert ceiling(8192, 2 * HEADSET_PPD) == PRISTINE_MOS
    assert setting_mos("JPEG", 40, 4096, 2 * HEADSET_PPD) == pytest.approx(setting_mos("JPEG", 40, 2048))


def test_what_distortion_and_size_leave_is_multiplied_and_blur_is_one_with_size():
    size = size_loss(2048)
    assert mos_of_fsim(("JPEG",), 1 - size, 1 - size) == pytest.approx(ceiling(2048)) == pytest.approx(mos_of_fsim((), 1 - size))
    assert float(curve("size")(size)) == float(curve("GB")(size))
    left = (ceiling(2048) - WORST_MOS) / (PRISTINE_MOS - WORST_MOS)
    both = mos_of_fsim(("JPEG",), (1 - size) * 0.9, 1 - size)
    assert both - WORST_MOS == pytest.approx(left * (mos_of_fsim(("JPEG",), 0.9) - WORST_MOS))
    assert mos_of_fsim(("GB",), 0.8, 1 - size) == mos_of_fsim(("DS",), 0.8) == pytest.approx(float(curve("GB")(0.2)))


def test_kinds_count_equally_and_unjudged_ones_as_the_mean_of_all():
    each = {kind: mos_of_fsim((kind,), 0.9) for kind in judged_kinds()}
    assert mos_of_fsim(("GB", "JPEG"), 0.9) == pytest.approx((each["GB"] + each["JPEG"]) / 2)
    assert mos_of_fsim(("EXP",), 0.9) == pytest.approx(np.mean(list(each.values())))
    assert mos_of_fsim(("DS",), 0.9) == each["GB"]


def test_a_source_without_the_headsets_size_is_charged_for_it():
    assert charge_size(0.0, 2048) == pytest.approx(size_loss(2048)) and charge_size(0.1, 4096) == pytest.approx(0.1)
    assert charge_size(0.1, 2048) == pytest.approx(1 - 0.9 * (1 - size_loss(2048)))


def test_the_table_holds_the_designs_own_settings_and_scores():
    with open(curves._TABLE, newline="", encoding="utf-8") as file:
        judged = {(row["kind"], float(row["parameter"])): float(row["mos"]) for row in csv.DictReader(file) if row["mos"]}
    assert judged == {(kind, float(value)): mean for _, kind, value, mean in SETTINGS}
