"""Intervals: quantiles by hand, coverage on new scenes, and no promise that the number of scenes cannot keep."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from mmifn.core.errors import UserError
from mmifn.scoring.interval import (
    Calibration,
    calibrate,
    left_out,
    left_out_coverage,
    read_residuals,
    scene_quantile,
    widened,
)


def test_one_image_a_scene_is_the_usual_conformal_quantile():
    # Ten scenes weigh 1/11 each: 90 % is reached by the tenth (10/11 = .909), 80 % by the ninth (9/11 = .818), 50 % by
    # the sixth (6/11 = .545).
    residuals, scenes = np.arange(1.0, 11.0)[::-1], [f"s{i}" for i in range(10)]
    assert [scene_quantile(residuals, scenes, level) for level in (0.9, 0.8, 0.5)] == [10.0, 9.0, 6.0]


def test_every_scene_counts_the_same_however_many_images_it_has():
    # Weights: a 1/3 over four images (1/12 each), b 1/3 on one. Sorted: 1 2 3 4 (a) reach 1/12, 2/12, 3/12, 4/12; 9 (b)
    # reaches 8/12. Every image counting the same would give 3 at one half.
    residuals, scenes = np.array([9.0, 1.0, 2.0, 3.0, 4.0]), ["b", "a", "a", "a", "a"]
    assert scene_quantile(residuals, scenes, 2 / 12) == 2.0
    assert scene_quantile(residuals, scenes, 4 / 12) == 4.0
    assert scene_quantile(residuals, scenes, 0.5) == 9.0
    assert scene_quantile(residuals, scenes, 0.7) == math.inf  # above 8/12 the new scene's infinity begins


@pytest.mark.parametrize(("scenes", "finite"), [(8, False), (9, True)])
def test_nine_scenes_are_the_fewest_for_ninety_percent(scenes, finite):
    names = [f"s{i}" for i in range(scenes) for _ in range(100)]  # images of known scenes do not help
    assert math.isfinite(scene_quantile(np.ones(len(names)), names, 0.9)) == finite


def test_coverage_on_new_scenes_whose_images_resemble_each_other():
    """Residuals share a scale within a scene; scenes are exchangeable and of unequal size."""
    rng = np.random.default_rng(3)
    covered, pooled = [], []
    for _ in range(1500):
        sizes = rng.integers(1, 30, 20)
        scales = rng.lognormal(sigma=1.0, size=21)
        residuals = np.concatenate([np.abs(rng.normal(scale=s, size=n)) for s, n in zip(scales, sizes, strict=False)])
        names = [str(k) for k, n in enumerate(sizes) for _ in range(n)]
        new = np.abs(rng.normal(scale=scales[20], size=40))
        covered.append((new <= scene_quantile(residuals, names, 0.9)).mean())
        pooled.append((new <= np.quantile(residuals, 0.8)).mean())
    # At least the nominal level, at most 1/(K + 1) and a little more above it; the standard error is .006.
    assert 0.885 <= np.mean(covered) <= 0.96
    assert np.mean(pooled) < 0.85  # the measure tells another level


def test_the_interval_is_symmetric_and_clipped_to_the_scale():
    calibration = Calibration(0.9, 12.5, 20, 300, "simulated")
    assert calibration.interval(50.0, 0, 100) == (37.5, 62.5)
    assert calibration.interval(5.0, 0, 100) == (0, 17.5)
    assert calibration.interval(95.0, 0, 100) == (82.5, 100)
    assert Calibration(0.9, math.inf, 3, 30, "human").interval(4.0, 1, 10) == (1, 10)  # too few scenes: the whole scale


def test_calibrate_takes_absolute_errors_and_counts():
    table = pd.DataFrame({"scene": [str(i) for i in range(9)] + ["8"], "mos": [50.0] * 10,
                          "score": [50.0 + (-1) ** i * i for i in range(9)] + [50.0]})
    # Nine scenes at 1/10 each; scene 8 halves between errors 8 and 0. 90 % needs all of them: 8.
    assert calibrate(table, "human") == Calibration(0.9, 8.0, 9, 10, "human")
    assert calibrate(table, "human", level=0.8).half_width == 7.0


def banded(scenes):
    """Two images a scene: at score 20 scene i errs by i / 10, at score 60 by i."""
    numbers = np.arange(1.0, scenes + 1)
    return pd.DataFrame({"scene": [f"s{i}" for i in range(scenes)] * 2, "score": [20.0] * scenes + [60.0] * scenes,
                         "mos": [*(20 - numbers / 10), *(60 + numbers)]})


def test_every_band_of_scores_has_a_width_of_its_own():
    # 40 scenes at 1/41 each: 90 % is reached by the 37th. Over all scores they halve between two images: of the 80 sorted
    # errors, 73 / 82 = .890 and 74 / 82 = .902, so the 74th: 40 small ones and 34 of the large ones, which begin at 1. Of
    # these 80, 1, 2, 3 and 4 stand twice: 34 large ones end at 34.
    found = calibrate(banded(40), "human")
    assert found.edges == (40.0,) and found.half_widths == pytest.approx((3.7, 37.0)) and found.half_width == 34.0
    assert found.interval(25.0, 0, 100) == pytest.approx((21.3, 28.7)) and found.interval(60.0, 0, 100) == (23.0, 97.0)
    assert found.interval(40.0, 0, 100) == (3.0, 77.0)  # an edge belongs to the band above


def test_bands_need_twice_the_scenes_of_the_level():
    assert len(calibrate(banded(18), "human").half_widths) == 2
    assert calibrate(banded(17), "human").half_widths == calibrate(banded(17), "human").edges == ()


def test_bands_hold_what_one_width_for_all_does_not():
    """Errors ten times as large at high scores: each band holds 90 % on new scenes, one width for all nearly nothing between."""
    rng = np.random.default_rng(5)
    score = rng.uniform(10, 70, (60, 20))
    error = rng.normal(size=score.shape) * np.where(score < 40, 0.5, 5.0)
    table = pd.DataFrame({"scene": np.repeat([f"s{i}" for i in range(60)], 20), "score": score.ravel(),
                          "mos": (score + error).ravel()})
    held, low = left_out(table), table.score < 38
    assert 0.86 < held[low].mean() < 0.94 and 0.86 < held[~low & (table.score > 42)].mean() < 0.94
    one = np.abs(table.mos - table.score) <= calibrate(table, "human").half_width
    assert one[low].mean() == 1.0 and one[table.score > 42].mean() < 0.83
    assert left_out_coverage(table) == pytest.approx(held.mean())  # scenes of one size


def test_left_out_coverage_by_hand():
    # Level 1/2, three scenes; each interval rests on the other two at 1/3 each.
    table = pd.DataFrame({"scene": ["a", "b", "c", "c"], "mos": [0.0] * 4, "score": [-1.0, 2.0, 3.0, 1.5]})
    # Without a: b 1/3, c 1/6 + 1/6; sorted 1.5, 2, 3 reach 1/6, 1/2, 2/3: half width 2 holds a. Without b: 1, 1.5, 3 reach
    # 1/3, 1/2: 1.5 does not hold 2. Without c: 1, 2 reach 1/3, 2/3: 2 holds 1.5, not 3.
    assert left_out_coverage(table, level=0.5) == pytest.approx((1 + 0 + 0.5) / 3)


def write(path, **columns):
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


@pytest.fixture
def good():
    return {"scene": ["a", "b", "c"], "mos": [10.0, 20.0, 30.0], "score": [11.0, 22.0, 33.0]}


def test_only_unseen_images_of_the_wanted_source_and_variant_count(tmp_path, good):
    table = {key: value * 5 for key, value in good.items()}
    table |= {"source": ["OIQA"] * 12 + ["CVIQ"] * 3, "variant": ["full"] * 9 + ["w/o text"] * 3 + ["full"] * 3,
              "side": ["test"] * 3 + ["train"] * 3 + ["val"] * 3 + ["test"] * 6}
    table["score"] = [float(i) for i in range(15)]
    path = write(tmp_path / "p.csv", **table)
    assert read_residuals(path, "OIQA", "full")["score"].tolist() == [0, 1, 2]
    assert read_residuals(path, "OIQA", "w/o text")["score"].tolist() == [9, 10, 11]
    assert read_residuals(path, "CVIQ", "full")["score"].tolist() == [12, 13, 14]
    with pytest.raises(UserError, match="no rows of source CVIQ, variant w/o text"):
        read_residuals(path, "CVIQ", "w/o text")


def test_a_plain_table_is_taken_whole(tmp_path, good):
    assert len(read_residuals(write(tmp_path / "p.csv", **good), "OIQA", "full")) == 3


@pytest.mark.parametrize("missing", ["scene", "mos", "score"])
def test_missing_columns_are_named(tmp_path, good, missing):
    good.pop(missing)
    with pytest.raises(UserError, match=rf"lacks the column\(s\) {missing}; found"):
        read_residuals(write(tmp_path / "p.csv", **good), "OIQA", "full")


@pytest.mark.parametrize("column", ["mos", "score"])
@pytest.mark.parametrize("value", [None, float("inf"), "good"])
def test_values_that_are_no_numbers_are_refused(tmp_path, good, column, value):
    good[column] = [1.0, value, 2.0]
    with pytest.raises(UserError, match=f"line 3: {column} '.*' is not a finite number"):
        read_residuals(write(tmp_path / "p.csv", **good), "OIQA", "full")


def test_files_that_are_no_tables_are_refused(tmp_path):
    path = tmp_path / "p.csv"
    with pytest.raises(UserError, match="does not exist"):
        read_residuals(path, "OIQA", "full")
    for content in (b"", b"\x89PNG\r\n\x1a\n\0\xff\xfe", b'a,b\n"1,2\n3,4,5\n6'):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"is empty|not a readable csv table|lacks the column"):
            read_residuals(path, "OIQA", "full")
    path.write_text("scene,mos,score\n")
    with pytest.raises(UserError, match="is empty"):
        read_residuals(path, "OIQA", "full")


def test_what_a_correction_moved_far_has_a_width_of_its_own():
    """Twenty scenes are moved by half a point, with errors of up to .8 of the width: they keep it. Twenty are moved by five, with
    errors of .1, .2 … 2 times the width; scenes weigh 1/21, so that 90 % is reached by the nineteenth, 1.9 times."""
    known = Calibration(0.9, 4.0, 30, 300, "simulated", edges=(50.0,), half_widths=(3.0, 5.0))
    scores = np.array([40.0, 60.0] * 20)
    share = np.concatenate([np.linspace(0.1, 0.8, 20), 0.1 * np.arange(1, 21)])
    moved = np.where(np.arange(40) < 20, 0.5, 5.0) * np.where(np.arange(40) % 2, 1, -1)
    table = pd.DataFrame({"scene": [f"s{i}" for i in range(40)], "score": scores, "before": scores - moved,
                          "mos": scores - share * np.where(scores < 50, 3.0, 5.0)})
    wider = widened(known, table)
    assert wider.moves == (2.75,) and wider.factors == pytest.approx((1.0, 1.9))
    assert (wider.width_at(40), wider.width_at(40, -2.7), wider.width_at(60, 2.8)) == pytest.approx((3.0, 3.0, 9.5))
    assert wider.interval(40, 0, 100, -6) == pytest.approx((34.3, 45.7))
    assert (wider.half_width, wider.half_widths, wider.edges) == (known.half_width, known.half_widths, known.edges)


def test_one_factor_is_for_all_where_scenes_are_few():
    """Ten scenes: weights 1/11, so that 90 % is reached by the tenth, twice the width."""
    known = Calibration(0.9, 4.0, 30, 300, "simulated")
    scores = np.linspace(20, 65, 10)
    table = pd.DataFrame({"scene": [f"s{i}" for i in range(10)], "score": scores, "before": scores - np.arange(10),
                          "mos": scores - 0.8 * np.arange(1, 11)})
    assert widened(known, table) == dataclasses.replace(known, factors=(pytest.approx(2.0),))
    assert widened(known, table.assign(mos=table.score - 0.1)).width_at(30, 9) == 4.0  # never narrower
