"""Simulated labels: anchored in the human table, ordered by the metric, falling with the level."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from skips import SHARED, needs_shared

from mmifn.simulate.curves import setting_loss, setting_mos
from mmifn.simulate.designs import DESIGNS
from mmifn.simulate.human_anchor import HUMAN_MOS
from mmifn.simulate.labels import design_mos, human_sd

HUMAN_TABLE = SHARED / "mos" / "human_mos_by_level.csv"


def scores(scenes: int, levels: int, seed: int = 0) -> np.ndarray:
    """FSIM-like scores: a slope over levels, an offset per scene that grows with the level, some noise."""
    rng = np.random.default_rng(seed)
    level = np.arange(1, levels + 1)
    return 1 - 0.02 * level * (1 + 0.3 * rng.standard_normal((scenes, 1))) + 0.001 * rng.standard_normal((scenes, levels))


KINDS = {(like, kind.type): kind for like, kinds in DESIGNS.items() for kind in kinds}
PEOPLES_PPD = 4096 / 360


def made(like: str, kind: str, fsim: np.ndarray, levels: tuple[int, ...] | None = None, width: int = 4096) -> np.ndarray:
    return design_mos(like, KINDS[like, kind], fsim, levels or tuple(range(1, fsim.shape[1] + 1)), [width] * len(fsim),
                      [PEOPLES_PPD] * len(fsim))


@pytest.mark.parametrize("like,kind", sorted(HUMAN_MOS))
def test_means_and_spreads_are_the_human_ones(like, kind):
    human = np.array(HUMAN_MOS[like, kind])
    mos = made(like, kind, scores(16, len(human)))
    assert mos.mean(axis=0) == pytest.approx(human[:, 0], abs=1e-6)
    assert mos.std(axis=0, ddof=1) == pytest.approx(human[:, 1], abs=1e-6)
    assert (np.diff(mos, axis=1) < 0).mean() >= 0.95


def test_at_another_size_the_means_move_as_the_curve_does():
    whole, small, large = (made("CVIQ", "JPEG", scores(16, 11), width=width).mean(axis=0) for width in (4096, 2048, 8192))
    values = KINDS["CVIQ", "JPEG"].values
    assert small == pytest.approx([setting_mos("JPEG", value, 2048) for value in values])
    assert (small < whole - 0.3).all() and (whole < large).all()
    value = KINDS["OIQA", "JPEG"].values[2]  # a design whose people were others than the curve's: moved by the same
    assert made("OIQA", "JPEG", scores(3, 1), (3,), 2048).mean() == pytest.approx(
        HUMAN_MOS["OIQA", "JPEG"][2][0] + setting_mos("JPEG", value, 2048) - setting_mos("JPEG", value, 4096))


def test_scenes_of_two_sizes_deviate_from_what_their_own_size_expects():
    kind = KINDS["CVIQ", "AVC"]
    expected = [[setting_loss("AVC", value, width) for value in kind.values] for width in (2048, 4096)]
    fsim = 1 - np.array([expected[0], expected[0], expected[1], expected[1]]) * [[0.8], [1.25], [0.8], [1.25]]
    mos = design_mos("CVIQ", kind, fsim, tuple(range(1, 12)), [2048, 2048, 4096, 4096], [PEOPLES_PPD] * 4)
    human = np.array(HUMAN_MOS["CVIQ", "AVC"])
    assert mos[2:].mean(axis=0) == pytest.approx(human[:, 0]) and (mos[0] > mos[1]).all() and (mos[2] > mos[3]).all()


def test_the_spread_between_levels_is_between_theirs():
    assert human_sd("CVIQ", "JPEG", np.array([64.93, (64.93 + 63.62) / 2, 5.0])) == pytest.approx([3.20, (3.20 + 4.21) / 2, 1.35])


def test_a_scene_with_a_better_metric_gets_a_better_label():
    value = scores(16, 5)
    assert np.corrcoef(value[:, 2], made("OIQA", "JPEG", value)[:, 2])[0, 1] > 0.9


def test_a_choice_of_levels_keeps_their_human_means():
    assert made("CVIQ", "HEVC", scores(4, 3), (1, 5, 11)).mean(axis=0) == pytest.approx([66.23, 55.77, 32.47])


def test_one_scene_or_a_constant_metric_gives_the_means():
    assert made("OIQA", "GN", scores(1, 2)) == pytest.approx(np.array([[67.19, 61.96]]))
    assert made("OIQA", "GN", np.ones((3, 2))) == pytest.approx(np.array([[67.19, 61.96]] * 3))


def test_every_level_of_the_designs_is_anchored():
    for like, kinds in DESIGNS.items():
        for kind in kinds:
            assert len(HUMAN_MOS[like, kind.type]) == len(kind.values)


@needs_shared("mos")
def test_the_anchor_is_the_shared_table():
    table = pd.read_csv(HUMAN_TABLE)
    names = {"JPEG2000": "JP2K", "GB (or GN)": "GB"}
    for row in table[table["level"] > 0].itertuples():
        kind = names.get(row.type, "GN" if row.type.startswith("GN") else row.type)
        assert HUMAN_MOS[row.database, kind][row.level - 1] == (row.mean_mos, row.sd_over_scenes)
