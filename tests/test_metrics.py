"""Figures of agreement against scipy, closed forms and brute force."""

import itertools
import math

import numpy as np
import pytest
from scipy import optimize, stats

from mmifn import metrics
from mmifn.metrics import agreement, krcc, logistic_fit, plcc, rmse, srcc


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    mos = rng.uniform(10, 90, 40)
    return mos / 30 + rng.normal(size=40), mos


def ranks(values):
    return np.array(
        [sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2 for value in values]
    )


def tau_b(a, b):
    pairs = list(itertools.combinations(range(len(a)), 2))
    signs = [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i, j in pairs]
    return sum(x * y for x, y in signs) / math.sqrt(sum(x != 0 for x, _ in signs) * sum(y != 0 for _, y in signs))


def test_correlations_are_those_of_the_textbook(scores):
    pred, mos = scores
    tied = np.round(pred)
    for x in (pred, tied):
        assert plcc(x, mos) == pytest.approx(stats.pearsonr(x, mos).statistic, abs=1e-12)
        a, b = ranks(x), ranks(mos)
        assert srcc(x, mos) == pytest.approx(((a - a.mean()) * (b - b.mean())).sum() / (len(a) * a.std() * b.std()), abs=1e-12)
        assert krcc(x, mos) == pytest.approx(tau_b(x, mos), abs=1e-12)
    assert rmse(np.array([1.0, 2, 3]), np.array([1.0, 4, 7])) == pytest.approx(math.sqrt(20 / 3))


def test_ranks_ignore_monotone_rescaling(scores):
    pred, mos = scores
    for mapped in (np.exp(pred), pred**3, 5 * pred - 100):
        assert srcc(mapped, mos) == pytest.approx(srcc(pred, mos)) and krcc(mapped, mos) == pytest.approx(krcc(pred, mos))
    assert srcc(-pred, mos) == pytest.approx(-srcc(pred, mos))


@pytest.mark.parametrize("figure", [plcc, srcc, krcc])
def test_constant_predictions_correlate_with_nothing(figure, scores):
    _, mos = scores
    assert figure(np.full(40, 3.3), mos) == 0.0 and figure(mos, np.full(40, 1e6) + 1e-8) == 0.0


@pytest.mark.parametrize(
    ("pred", "mos", "words"),
    [
        ([1, 2, 3], [1, 2], "one length"),
        ([[1, 2, 3]], [[1, 2, 3]], "vectors"),
        ([1, 2], [1, 2], "at least 3"),
        ([1, 2, np.nan], [1, 2, 3], "finite"),
        ([1, 2, 3], [1, np.inf, 3], "finite"),
    ],
)
@pytest.mark.parametrize("figure", [plcc, srcc, krcc, rmse, logistic_fit, agreement])
def test_bad_vectors_are_refused(figure, pred, mos, words):
    with pytest.raises(ValueError, match=words):
        figure(np.array(pred, dtype=float), np.array(mos, dtype=float))


# --- the logistic ----------------------------------------------------------------------------------------------------


def four(x, b1, b2, b3, b4):
    return b2 + (b1 - b2) / (1 + np.exp(-(x - b3) / abs(b4)))


def five(x, b1, b2, b3, b4, b5):
    return b1 * (0.5 - 1 / (1 + np.exp(b2 * (x - b3)))) + b4 * x + b5


@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (1000, -5), (1e-4, 7)])
def test_four_known_parameters_are_recovered(scale, shift):
    x = np.linspace(0, 10, 60)
    mos = four(x, 80.0, 20.0, 5.5, 1.3)
    pred = scale * x + shift
    fit = logistic_fit(pred, mos)
    assert fit.converged
    np.testing.assert_allclose(fit.mapped, mos, atol=1e-5)
    top, bottom, middle, width = fit.parameters
    assert (top, bottom) == pytest.approx((80, 20), abs=1e-3)
    assert middle * pred.std() + pred.mean() == pytest.approx(scale * 5.5 + shift, rel=1e-5)
    assert abs(width) * pred.std() == pytest.approx(scale * 1.3, rel=1e-5)


def test_five_known_parameters_are_recovered():
    x = np.linspace(-3, 3, 80)
    mos = five(x, 40.0, 2.0, 0.4, 3.0, 55.0)
    fit = logistic_fit(x, mos, 5)
    assert fit.converged and len(fit.parameters) == 5
    np.testing.assert_allclose(fit.mapped, mos, atol=1e-5)
    b1, b2, b3, b4, b5 = fit.parameters
    s, m = x.std(), x.mean()
    assert (b1, b2 / s, b3 * s + m, b4 / s, b5 - b4 * m / s) == pytest.approx((40, 2, 0.4, 3, 55), abs=1e-3)


@pytest.mark.parametrize("parameters", [4, 5])
def test_a_scale_of_the_predictions_changes_nothing_after_the_fit(scores, parameters):
    pred, mos = scores
    wanted = agreement(pred, mos, parameters)
    for scale, shift in ((250, 3), (1e-5, 0), (1, -1e4)):
        found = agreement(scale * pred + shift, mos, parameters)
        assert (found.plcc, found.rmse, found.srcc) == pytest.approx((wanted.plcc, wanted.rmse, wanted.srcc), abs=1e-5)


def test_falling_predictions_are_fitted_falling(scores):
    pred, mos = scores
    assert agreement(-pred, mos).plcc == pytest.approx(agreement(pred, mos).plcc, abs=1e-4)
    assert agreement(-pred, mos).srcc < -0.3


def test_the_fit_is_never_worse_than_a_straight_line(scores):
    pred, mos = scores
    line = np.polyval(np.polyfit(pred, mos, 1), pred)
    for parameters in (4, 5):
        fit = logistic_fit(pred, mos, parameters)
        assert fit.converged and rmse(fit.mapped, mos) <= rmse(line, mos) + 1e-6
        np.testing.assert_allclose(fit(pred), fit.mapped)


def test_rmse_follows_from_plcc_after_a_least_squares_fit(scores):
    found = agreement(*scores)
    assert found.converged and found.rmse == pytest.approx(found.rmse_from_plcc, rel=1e-4)
    assert found.mos_sd == pytest.approx(scores[1].std()) and found.images == 40
    assert found.plcc_raw == pytest.approx(plcc(*scores)) and found.plcc >= found.plcc_raw


def test_a_failed_fit_is_a_straight_line_and_says_so(scores, monkeypatch):
    pred, mos = scores
    few = logistic_fit(pred[:4], mos[:4])  # as many points as parameters
    assert not few.converged
    np.testing.assert_allclose(few.mapped, np.polyval(np.polyfit(pred[:4], mos[:4], 1), pred[:4]))

    def fail(*args, **kwargs):
        raise RuntimeError("Optimal parameters not found")

    monkeypatch.setattr(optimize, "curve_fit", fail)
    found = agreement(pred, mos)
    assert not found.converged and found.plcc == pytest.approx(plcc(pred, mos))
    np.testing.assert_allclose(logistic_fit(pred, mos)(pred[:5]), np.polyval(np.polyfit(pred, mos, 1), pred[:5]))


def test_a_fit_that_ends_badly_is_not_used(scores, monkeypatch):
    monkeypatch.setattr(optimize, "curve_fit", lambda *args, **kwargs: ([90.0, 10.0, 50.0, 1.0], None))
    assert not logistic_fit(*scores).converged


def test_constant_predictions_give_figures_not_errors(scores):
    found = agreement(np.full(40, 2.0), scores[1])
    assert (found.plcc, found.srcc, found.krcc, found.converged) == (0, 0, 0, False)
    assert found.rmse == pytest.approx(scores[1].std())


def test_only_the_two_known_logistics():
    with pytest.raises(ValueError, match="4 or 5"):
        logistic_fit(np.arange(9.0), np.arange(9.0), 3)


def test_holm_by_the_worked_example_and_by_its_definition():
    """.01, .04, .03, .005 of four: x4, x3, x2, x1 in order of size, never falling."""
    assert metrics.holm([0.01, None, 0.04, 0.03, 0.005]) == pytest.approx([0.03, None, 0.06, 0.06, 0.02], abs=1e-12)
    assert metrics.holm([0.4, 0.9]) == [0.8, 0.9] and metrics.holm([0.6, 0.9]) == [1.0, 1.0] and metrics.holm([]) == []
