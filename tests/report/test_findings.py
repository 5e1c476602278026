"""What predictions say: every run measured as scipy measures it, and the images worth looking at picked by hand."""

import numpy as np
import pandas as pd
import pytest
from made_predictions import ablated, crossed, evaluated, predictions_of, run_of
from scipy import optimize, stats

from mmifn.report import findings
from mmifn.report.findings import Example, pick_examples, run_agreements


def logistic_agreement(pred, mos):
    """PLCC and RMSE after a 4-parameter logistic, fitted by scipy from a start of its own."""
    def curve(x, top, bottom, middle, width):
        return bottom + (top - bottom) / (1 + np.exp(-(x - middle) / width))

    start = (mos.max() + 5, mos.min() - 5, pred.mean(), pred.std())
    mapped = curve(pred, *optimize.curve_fit(curve, pred, mos, p0=start, maxfev=50000)[0])
    return stats.pearsonr(mapped, mos).statistic, np.sqrt(np.mean((mapped - mos) ** 2))


def test_every_run_is_measured_on_its_test_scenes_as_scipy_measures_them():
    rows = evaluated("OIQA", "CVIQ").rows
    found = run_agreements(rows)
    assert found["dataset"].tolist() == ["OIQA"] * 3 + ["CVIQ"] * 3 and found["seed"].tolist() == [0, 1, 2] * 2
    assert found["images"].tolist() == [2 * 2 * 3] * 3 + [2 * 3 * 3] * 3
    for one in found.itertuples():
        some = rows[(rows["dataset"] == one.dataset) & (rows["seed"] == one.seed) & (rows["side"] == "test")]
        pred, mos = some["score"].to_numpy(), some["mos"].to_numpy()
        assert one.srcc == pytest.approx(stats.spearmanr(pred, mos).statistic, abs=1e-12)
        assert (one.plcc, one.rmse) == pytest.approx(logistic_agreement(pred, mos), abs=2e-3)
    other = rows.copy()
    other.loc[other["side"] != "test", "score"] = -1e6  # of no account
    pd.testing.assert_frame_equal(run_agreements(other), found)


def test_a_target_is_measured_whole_and_its_source_not_at_all():
    rows = crossed().rows
    found = run_agreements(rows)
    assert list(zip(found["source"], found["dataset"], found["images"], strict=True)) == [
        ("CVIQ", "OIQA", 48)] * 2 + [("OIQA", "CVIQ", 72)] * 2
    some = rows[(rows["source"] == "CVIQ") & (rows["dataset"] == "OIQA") & (rows["seed"] == 1)]
    assert found["srcc"][1] == pytest.approx(stats.spearmanr(some["score"], some["mos"]).statistic)


def test_variants_and_controls_are_runs_of_their_own():
    found = run_agreements(ablated().rows)
    assert list(zip(found["variant"], found["control"], strict=True)) == [
        (variant, control) for variant, control in (("full", ""), ("w/o text", ""), ("w/o AFM", ""), ("full", "shuffled text"))
        for _ in range(3)]


def test_too_few_images_are_no_figure():
    rows, run = run_of()
    few = [row for row in rows if row["side"] == "test"][:4]
    assert run_agreements(predictions_of((few, run)).rows).empty
    assert len(run_agreements(predictions_of(([*few, {**few[0], "image_name": "fifth.png", "mos": 7.0}], run)).rows)) == 1


def test_runs_under_the_published_protocol_are_not_measured():
    rows, run = run_of(control="published protocol")
    habit = [{**row, "side": "val" if row["side"] == "test" else "train"} for row in rows]
    both = predictions_of(run_of(), (habit, run)).rows
    assert run_agreements(both)["control"].tolist() == [""]


# Examples.


def example(name, *scores, mos=50.0):
    return Example("OIQA", name, "JPEG", mos, scores)


def names(examples):
    return [one.image_name for one in examples]


def test_an_example_by_hand():
    one = example("a.png", 40, 52, 61)
    assert (one.score, one.error) == (51, 1) and one.spread == pytest.approx(np.sqrt((121 + 1 + 100) / 2))
    assert example("b.png", 47).spread == 0 and example("b.png", 47).error == -3


def test_best_worst_and_most_disputed_by_hand():
    examples = [example("a", 53, 55), example("b", 50, 51), example("c", 20, 90), example("d", 30, 34), example("e", 48, 46),
                example("f", 10)]
    picked = pick_examples(examples, 2)  # mean errors: 4, .5, 5, -18, -3, -40; spreads over two: c 49.5, d 2.8, a and e 1.4
    assert {kind: names(some) for kind, some in picked.items()} == {
        "Best predicted": ["b", "e"], "Worst predicted": ["f", "d"], "Most disputed": ["c", "d"]}


def test_ties_stay_in_the_order_of_names():
    examples = [example(name, 45, 57) for name in "abcdef"]
    assert all(names(some) == ["a", "b", "c"] for some in pick_examples(examples, 3).values())
    signs = [example("a", 60), example("b", 40), example("c", 55)]
    assert names(pick_examples(signs, 2)["Worst predicted"]) == ["a", "b"]


def test_nothing_is_disputed_in_a_single_split():
    picked = pick_examples([example("a", 53), example("b", 51)], 3)
    assert picked["Most disputed"] == [] and names(picked["Best predicted"]) == ["b", "a"]


def test_examples_are_the_test_images_with_the_scores_of_the_runs_that_tested_them():
    rows = evaluated("OIQA", "CVIQ").rows  # of three splits: scenes 0 1, 1 2, 2 3
    found = {one.image_name: one for one in findings.examples_tested(rows.sample(frac=1, random_state=0), "OIQA")}
    assert list(found) == sorted(f"s{scene}_{kind}_{level}.png" for scene in range(4) for kind in ("JPEG", "GN")
                                 for level in (1, 2, 3))
    assert {name[:2]: len(one.scores) for name, one in found.items()} == {"s0": 1, "s1": 2, "s2": 2, "s3": 1}
    some = rows[(rows["dataset"] == "OIQA") & (rows["image_name"] == "s1_GN_2.png")].set_index("seed")
    assert found["s1_GN_2.png"] == Example("OIQA", "s1_GN_2.png", "GN", 48.0, (some.score[0], some.score[1]))
