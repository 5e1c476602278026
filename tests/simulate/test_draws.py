"""Random distortions: strengths follow the human scores of the designs' levels, and each draw can be made."""

import numpy as np
import pytest

from mmifn.simulate.designs import DESIGNS
from mmifn.simulate.draws import KINDS, ORDER, draw, parameter_at
from mmifn.simulate.human_anchor import HUMAN_MOS
from mmifn.simulate.rendered.panorama import render_scene, scene_names


@pytest.mark.parametrize(("like", "kind"), [("CVIQ", "JPEG"), ("OIQA", "JP2K"), ("OIQA", "GN"), ("OIQA", "GB"), ("CVIQ", "HEVC")])
def test_the_mean_human_score_of_a_level_leads_to_its_parameter(like, kind):
    values = next(each.values for each in DESIGNS[like] if each.type == kind)
    for value, (mean, _) in zip(values, HUMAN_MOS[like, kind], strict=True):
        assert parameter_at(kind, mean) == pytest.approx(value, rel=1e-9, abs=1e-9)


def test_between_two_levels_the_parameter_lies_between_theirs():
    assert parameter_at("AVC", (65.88 + 63.27) / 2) == pytest.approx(31)  # QP 30 and 32
    assert parameter_at("GN", (67.19 + 61.96) / 2) == pytest.approx((8 * 11) ** 0.5)  # by ratio


def test_draws_cover_every_kind_and_say_what_people_would_say_only_where_they_were_asked():
    rng = np.random.default_rng(0)
    draws = [draw(rng) for _ in range(2000)]
    assert {kind for each in draws for kind in each.kinds} == set(KINDS)
    lengths = np.bincount([len(each.parts) for each in draws]) / len(draws)
    assert lengths == pytest.approx([0.05, 0.75, 0.20], abs=0.03)
    for each in draws:
        assert (each.mos is None) == (len(each.parts) == 2 or bool({"EXP", "DS", "BAND"} & set(each.kinds)))
        assert list(each.kinds) == sorted(each.kinds, key=ORDER.index)
    scores = [each.mos for each in draws if each.kinds == ("GB",)]
    assert np.mean(scores) == pytest.approx((73.51 + 28.70) / 2, abs=3)  # evenly from the pristine to the worst


def test_every_draw_can_be_made():
    pixels = render_scene(scene_names()[0], 64)
    rng, seen = np.random.default_rng(1), set()
    while seen < set(KINDS):
        each = draw(rng)
        distorted = each.apply(pixels, rng)
        assert distorted.shape == pixels.shape and distorted.dtype == np.uint8
        assert (each.parts == ()) == np.array_equal(distorted, pixels)
        seen |= set(each.kinds)
