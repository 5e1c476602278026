"""Bootstrap over scenes against the same thing done the slow way: lists of images written out, scipy's correlations."""

import numpy as np
import pytest
from scipy import stats

from mmifn.experiment import intervals
from mmifn.experiment.intervals import (
    RESAMPLES,
    SEED,
    Scored,
    interval,
    interval_text,
    resampled_figures,
    weighted_ranks,
    with_interval,
)
from mmifn.metrics import logistic_fit


def scored(scenes, each=6, seed=0, noise=8.0, rounded=False):
    """A run whose predictions are the opinion scores with noise, some of it common to a scene."""
    rng = np.random.default_rng(seed)
    mos = rng.uniform(20, 80, scenes * each)
    pred = mos + rng.normal(size=len(mos)) * noise + np.repeat(rng.normal(size=scenes), each) * noise
    return Scored(np.round(pred, -1) if rounded else pred, mos, [f"s{i}" for i in range(scenes) for _ in range(each)])


def written_out(run, counts, units):
    """PLCC and SRCC of one draw, every image standing in the list as often as its scene was drawn."""
    times = [counts[units.index(scene)] for scene in run.scenes]
    mapped = np.repeat(logistic_fit(run.pred, run.mos).mapped, times)
    pred, mos = np.repeat(run.pred, times), np.repeat(run.mos, times)
    return stats.pearsonr(mapped, mos).statistic, stats.spearmanr(pred, mos).statistic


@pytest.mark.parametrize("rounded", [False, True])
def test_draws_are_lists_of_images_written_out(rounded):
    run = scored(5, seed=1, rounded=rounded)
    found = resampled_figures(run)
    draws = np.random.default_rng(SEED).multinomial(5, [0.2] * 5, size=RESAMPLES)
    for r in (0, 1, 2, 77, RESAMPLES - 1):
        wanted = written_out(run, draws[r], [f"s{i}" for i in range(5)])
        assert (found["plcc"][r], found["srcc"][r]) == pytest.approx(wanted, abs=1e-9)


def test_methods_tested_on_the_same_scenes_get_the_same_draws():
    """So a better method is better in nearly every draw, although the intervals of the two overlap."""
    good, bad = scored(12, noise=6.0), scored(12, noise=8.0)
    (_, high), (low, _) = interval(resampled_figures(bad)["plcc"]), interval(resampled_figures(good)["plcc"])
    gap = interval(resampled_figures(good)["plcc"] - resampled_figures(bad)["plcc"])
    assert np.array_equal(good.mos, bad.mos) and high > low and gap[0] > 0


def test_scenes_are_drawn_not_images():
    """Ten copies of every image tell nothing new: an interval over images would shrink by the root of ten."""
    once = scored(8)
    tenfold = Scored(np.repeat(once.pred, 10), np.repeat(once.mos, 10), [scene for scene in once.scenes for _ in range(10)])
    np.testing.assert_allclose(resampled_figures(tenfold)["srcc"], resampled_figures(once)["srcc"], atol=2e-3)
    low, high = interval(resampled_figures(once)["plcc"])
    by_image = Scored(tenfold.pred, tenfold.mos, [str(i) for i in range(480)])
    near, far = interval(resampled_figures(by_image)["plcc"])
    assert high - low > 2 * (far - near) > 0


def test_ranks_with_counts():
    values, counts = np.array([3.0, 1.0, 3.0, 2.0]), np.array([[1, 1, 1, 1], [2, 0, 1, 3]])
    assert weighted_ranks(values, counts).tolist()[0] == stats.rankdata(values).tolist()
    times = stats.rankdata(np.repeat(values, counts[1]))  # 3 3 3 2 2 2
    assert weighted_ranks(values, counts)[1][[0, 2, 3]].tolist() == [times[0], times[2], times[3]] == [5, 5, 2]


def test_an_interval_is_the_central_95_percent():
    assert interval(np.arange(2001.0)) == pytest.approx((50, 1950))
    assert interval_text(np.array([0.5, 0.6, np.nan])) == "0.502 to 0.598"
    assert with_interval(0.55, np.array([0.5, 0.6])) == "0.550 [0.502, 0.598]" and with_interval(0.55, np.array([])) == "0.550"


def test_a_draw_without_two_different_scores_is_no_figure():
    mos = np.repeat([30.0, 30, 30, 60, 60], 6)  # one score in each scene
    run = Scored(np.arange(30.0), mos, [scene for scene in "abcde" for _ in range(6)])
    draws = np.random.default_rng(SEED).multinomial(5, [0.2] * 5, size=RESAMPLES)
    alike = (draws[:, :3].sum(axis=1) == 0) | (draws[:, 3:].sum(axis=1) == 0)
    assert 0.05 < alike.mean() < 0.15
    for values in resampled_figures(run).values():
        assert np.array_equal(np.isnan(values), alike) and values[~alike].min() > 0.3


def test_where_an_interval_says_nothing_there_is_none():
    assert [interval_text(resampled_figures(scored(n))["plcc"]) == "–" for n in (1, 2, 4, 5)] == [True, True, True, False]
    assert interval_text(np.array([])) == interval_text(np.full(9, np.nan)) == "–"
    flat = scored(6)
    assert interval_text(resampled_figures(Scored(np.zeros(36), flat.mos, flat.scenes))["srcc"]) == "–"  # 0 in every draw


def test_the_logistic_is_the_one_asked_for(monkeypatch):
    asked = []
    real = intervals.logistic_fit
    monkeypatch.setattr(intervals, "logistic_fit", lambda *args: asked.append(args[2]) or real(*args))
    resampled_figures(scored(5), 5)
    assert asked == [5]


def test_the_interval_covers_about_as_often_as_it_says():
    """Scenes with errors of their own, 16 of them; the true SRCC is taken from a thousand."""
    truth = stats.spearmanr(scored(1000, seed=99).pred, scored(1000, seed=99).mos).statistic
    found = [interval(resampled_figures(scored(16, seed=seed))["srcc"]) for seed in range(60)]
    assert 0.83 <= np.mean([low <= truth <= high for low, high in found]) <= 1.0
