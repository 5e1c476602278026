"""Random distortions: strengths follow the human scores of the designs' levels, and each draw can be made."""

import numpy as np
import pytest

from mmifn.simulate.curves import ceiling, setting_mos
from mmifn.simulate.designs import DESIGNS
from mmifn.simulate.draws import KINDS, ORDER, draw, parameter_at
from mmifn.simulate.human_anchor import HUMAN_MOS
from mmifn.simulate.rendered.panorama import render_scene, scene_names


@pytest.mark.parametrize(("like", "kind"), [("CVIQ", "JPEG"), ("OIQA", "JP2K"), ("OIQA", "GN"), ("OIQA", "GB"), ("CVIQ", "HEVC")])
def test_the_mean_human_score_of_a_level_leads_to_its_parameter(like, kind):
    values = next(each.values for each in DESIGNS[like] if each.type == kind)
    for value, (mean, _) in zip(values, HUMAN_MOS[like, kind], strict=True):
        assert parameter_at(kind, mean, 4096) == pytest.approx(value, rel=0.02, abs=0.5)


def test_the_same_score_needs_a_weaker_distortion_on_a_smaller_panorama():
    assert parameter_at("JPEG", 45, 2048) > parameter_at("JPEG", 45, 4096) + 3 > parameter_at("JPEG", 45, 8192) + 6
    for kind in ("AVC", "HEVC", "JP2K", "GN", "GB"):
        assert parameter_at(kind, 40, 2048) < parameter_at(kind, 40, 4096) < parameter_at(kind, 40, 8192)


def test_draws_cover_every_kind_and_say_what_people_would_say_only_where_they_were_asked():
    rng = np.random.default_rng(0)
    draws = [draw(rng, 4096) for _ in range(2000)]
    assert {kind for each in draws for kind in each.kinds} == set(KINDS)
    lengths = np.bincount([len(each.parts) for each in draws]) / len(draws)
    assert lengths == pytest.approx([0.05, 0.75, 0.20], abs=0.03)
    unjudged = np.mean([len(each.parts) == 1 and each.kinds[0] in ("EXP", "DS", "BAND") for each in draws])
    assert unjudged == pytest.approx(0.15, abs=0.03)
    for each in draws:
        assert (each.mos is None) == (len(each.parts) == 2 or bool({"EXP", "BAND"} & set(each.kinds)))
        assert each.in_a_design == (len(each.parts) < 2 and not {"EXP", "DS", "BAND"} & set(each.kinds))
        assert list(each.kinds) == sorted(each.kinds, key=ORDER.index)
    scores = [each.mos for each in draws if each.kinds == ("GB",)]
    severest = setting_mos("GB", 8.0, 4096)
    assert np.mean(scores) == pytest.approx((setting_mos("GB", 0.5, 4096) + severest) / 2, abs=3)  # evenly
    for each in draws:
        if each.kinds == ("DS",):
            assert each.mos == ceiling(4096 / each.parts[0][1])
    flawless = [each.mos for each in (draw(rng, 2048) for _ in range(100)) if not each.parts]
    assert set(flawless) == {ceiling(2048)}


def test_every_draw_can_be_made():
    pixels = render_scene(scene_names()[0], 64)
    rng, seen = np.random.default_rng(1), set()
    while seen < set(KINDS):
        each = draw(rng, 128)
        distorted = each.apply(pixels, rng)
        assert distorted.shape == pixels.shape and distorted.dtype == np.uint8
        assert (each.parts == ()) == np.array_equal(distorted, pixels)
        seen |= set(each.kinds)
