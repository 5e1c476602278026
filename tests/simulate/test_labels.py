"""Simulated labels: anchored in the human table, ordered by the metric, falling with the level."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED

from mmifn.simulate.designs import DESIGNS
from mmifn.simulate.human_anchor import HUMAN_MOS
from mmifn.simulate.labels import simulated_mos

HUMAN_TABLE = SHARED / "mos" / "human_mos_by_level.csv"


def scores(scenes: int, levels: int, seed: int = 0) -> np.ndarray:
    """FSIM-like scores: a slope over levels, an offset per scene that grows with the level, some noise."""
    rng = np.random.default_rng(seed)
    level = np.arange(1, levels + 1)
    return 1 - 0.02 * level * (1 + 0.3 * rng.standard_normal((scenes, 1))) + 0.001 * rng.standard_normal((scenes, levels))


@pytest.mark.parametrize("like,kind", sorted(HUMAN_MOS))
def test_means_and_spreads_are_the_human_ones(like, kind):
    human = np.array(HUMAN_MOS[like, kind])
    mos = simulated_mos(like, kind, scores(16, len(human)), list(range(1, len(human) + 1)))
    assert mos.mean(axis=0) == pytest.approx(human[:, 0], abs=1e-9)
    assert mos.std(axis=0, ddof=1) == pytest.approx(human[:, 1], abs=1e-9)
    assert (np.diff(mos, axis=1) < 0).mean() >= 0.95


def test_a_scene_with_a_better_metric_gets_a_better_label():
    value = scores(16, 5)
    mos = simulated_mos("OIQA", "JPEG", value, [1, 2, 3, 4, 5])
    assert np.corrcoef(value[:, 2], mos[:, 2])[0, 1] > 0.9


def test_a_choice_of_levels_keeps_their_human_means():
    mos = simulated_mos("CVIQ", "HEVC", scores(4, 3), [1, 5, 11])
    assert mos.mean(axis=0) == pytest.approx([66.23, 55.77, 32.47])


def test_one_scene_or_a_constant_metric_gives_the_means():
    assert simulated_mos("OIQA", "GN", scores(1, 2), [1, 2]) == pytest.approx(np.array([[67.19, 61.96]]))
    assert simulated_mos("OIQA", "GN", np.ones((3, 2)), [1, 2]) == pytest.approx(np.array([[67.19, 61.96]] * 3))


def test_every_level_of_the_designs_is_anchored():
    for like, kinds in DESIGNS.items():
        for kind in kinds:
            assert len(HUMAN_MOS[like, kind.type]) == len(kind.values)


@pytest.mark.skipif(not HUMAN_TABLE.is_file(), reason="the shared human scores are not beside the repository")
def test_the_anchor_is_the_shared_table():
    table = pd.read_csv(HUMAN_TABLE)
    names = {"JPEG2000": "JP2K", "GB (or GN)": "GB"}
    for row in table[table["level"] > 0].itertuples():
        kind = names.get(row.type, "GN" if row.type.startswith("GN") else row.type)
        assert HUMAN_MOS[row.database, kind][row.level - 1] == (row.mean_mos, row.sd_over_scenes)
