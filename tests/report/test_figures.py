"""Figures show the numbers they say: their csv and what is drawn against figures computed here, and the same bytes again."""

import numpy as np
import pandas as pd
import pytest
from made_predictions import ablated, crossed, evaluated, predictions_of, run_of
from PIL import Image
from scipy import stats

from mmifn.metrics import logistic_fit
from mmifn.report import figures
from mmifn.report.figures import draw_ablation, draw_all, draw_cross, draw_scatter, draw_splits, draw_training, remark_on


def measured(rows, **run):
    """(PLCC after the fit, SRCC) of one run's rows on its test scenes or target."""
    some = rows[rows["side"].isin(["test", "target"])]
    for key, value in run.items():
        some = some[some[key] == value]
    pred, mos = some["score"].to_numpy(), some["mos"].to_numpy()
    return stats.pearsonr(logistic_fit(pred, mos).mapped, mos).statistic, stats.spearmanr(pred, mos).statistic


def words_of(figure):
    """A figure's titles and labels, and what stands below it."""
    found = [text.get_text() for place in figure.axes for text in (place.title, place.xaxis.label, place.yaxis.label)]
    return found + ([figure.get_supxlabel()] if figure.get_supxlabel() else [])


def dots_of(place):
    """The (x, y) of every line of markers."""
    return [np.array(line.get_xydata()) for line in place.lines if line.get_marker() in list(figures.MARKERS)]


def changed(run, **values):
    """A run as (rows, run) with other values in every row."""
    return [{**row, **values} for row in run[0]], run[1] | {key: value for key, value in values.items() if key in run[1]}


def saved(drawing, folder):
    paths = drawing.save(folder)
    assert [path.name for path in paths] == [f"{drawing.name}.{suffix}" for suffix in ("png", "pdf", "csv")]
    return pd.read_csv(paths[2], keep_default_na=False)


# Numbers.


def test_splits_are_the_agreement_of_every_run(tmp_path):
    predictions = evaluated("OIQA", "CVIQ")
    drawing = draw_splits(predictions)
    table = saved(drawing, tmp_path)
    assert list(table.columns) == ["dataset", "seed", "images", "plcc", "srcc", "rmse"]
    assert table["images"].tolist() == [12] * 3 + [18] * 3 and table["seed"].tolist() == [0, 1, 2] * 2
    for one in table.itertuples():
        wanted = measured(predictions.rows, dataset=one.dataset, seed=one.seed)
        assert (one.plcc, one.srcc) == pytest.approx(wanted, abs=1e-6)
    for place, key in zip(drawing.figure.axes, ("plcc", "srcc"), strict=True):
        shown = [dots[:, 1] for dots in dots_of(place)]
        np.testing.assert_allclose(np.concatenate(shown), table[key], atol=1e-6)
        medians = [line.get_ydata()[0] for line in place.lines if line.get_linewidth() == 1.6]
        np.testing.assert_allclose(medians, [table[key][:3].median(), table[key][3:].median()], atol=1e-6)
        assert place.get_ylabel() == key.upper()


def test_the_scatter_holds_every_test_image_of_every_split(tmp_path):
    predictions = evaluated("OIQA", "CVIQ")
    drawing = draw_scatter(predictions)
    table = saved(drawing, tmp_path)
    rows = predictions.rows[predictions.rows["side"] == "test"]
    assert len(table) == len(rows) == 3 * 12 + 3 * 18 and table["image_name"].tolist() == rows["image_name"].tolist()
    np.testing.assert_allclose(table[["score", "mos"]], rows[["score", "mos"]], rtol=1e-5)
    for place, name, kinds in zip(drawing.figure.axes, ("OIQA", "CVIQ"), (["JPEG", "GN"], ["AVC", "HEVC", "zoom"]), strict=True):
        mine = rows[rows["dataset"] == name]
        shown = np.vstack(dots_of(place))
        assert sorted(map(tuple, shown)) == sorted(zip(mine["score"], mine["mos"], strict=True))
        assert [text.get_text() for text in place.get_legend().get_texts()] == [*kinds, "logistic fit"]
        plcc, srcc = np.array([measured(rows, dataset=name, seed=seed) for seed in range(3)]).T
        assert place.get_title() == (f"{name}: PLCC {plcc.mean():.3f} ± {plcc.std(ddof=1):.3f}\n"
                                     f"SRCC {srcc.mean():.3f} ± {srcc.std(ddof=1):.3f}")


def test_a_constant_score_has_a_line_and_says_so():
    place = draw_scatter(predictions_of(changed(run_of(), score=50.0))).figure.axes[0]
    assert place.get_legend().get_texts()[-1].get_text() == "straight line (logistic fit failed)"


def test_a_type_looks_the_same_in_every_database():
    looks = []
    for kinds in (("AVC", "GB"), ("GB", "zoom")):
        rows, run = run_of()
        rows = [{**row, "distortion_type": kind} for row, kind in zip(rows, kinds * 24, strict=True)]
        lines = draw_scatter(predictions_of((rows, run))).figure.axes[0].lines
        looks.append({line.get_label(): (line.get_color(), line.get_marker()) for line in lines})
    assert looks[0]["GB"] == looks[1]["GB"] and len({looks[0]["AVC"], looks[0]["GB"], looks[1]["zoom"]}) == 3


def test_the_ablation_shows_means_and_gaps_to_the_full_model_of_the_same_split(tmp_path):
    predictions = ablated()
    drawing = draw_ablation(predictions)
    table = saved(drawing, tmp_path).set_index(["label", "seed"])
    labels = ["full", "w/o text", "w/o AFM", "shuffled text"]
    assert list(dict.fromkeys(table.index.get_level_values(0))) == labels
    found = {label: np.array([measured(predictions.rows, seed=seed, **({"variant": label, "control": ""} if label != labels[-1]
                                                                       else {"control": label}))[0] for seed in range(3)])
             for label in labels}
    bars, gaps = drawing.figure.axes
    for i, label in enumerate(labels):
        np.testing.assert_allclose(table.loc[label, "plcc"], found[label], atol=1e-6)
        np.testing.assert_allclose(table.loc[label, "gap"], found[label] - found["full"], atol=1e-6)
        for place, values in ((bars, found[label]), (gaps, found[label] - found["full"])):
            assert place.patches[i].get_width() == pytest.approx(values.mean(), abs=1e-12)
            np.testing.assert_allclose(dots_of(place)[i][:, 0], values)
            low, high = place.collections[i].get_segments()[0][:, 0]
            assert (high - low) / 2 == pytest.approx(values.std(ddof=1), abs=1e-9)
    assert [text.get_text() for text in bars.get_yticklabels()] == labels
    low, high = gaps.get_xlim()  # of the variants; the control is further away, which is said in numbers
    variants = np.concatenate([found[label] - found["full"] for label in labels[:3]])
    assert low < variants.min() and variants.max() < high and high - low < 1.2 * np.ptp(variants)
    mean = (found[labels[-1]] - found["full"]).mean()
    assert mean < low and [text.get_text() for text in gaps.texts] == [f"◂ {mean:.3f}"]
    assert [bool(patch.get_hatch()) for patch in bars.patches] == [False] * 3 + [True]


def test_the_matrix_has_sources_in_rows_and_targets_in_columns(tmp_path):
    within, across = evaluated("OIQA", "CVIQ"), crossed()
    drawing = draw_cross(within, across)
    table = saved(drawing, tmp_path)
    assert table.groupby(["source", "dataset"]).size().to_dict() == {
        ("OIQA", "OIQA"): 3, ("CVIQ", "CVIQ"): 3, ("CVIQ", "OIQA"): 2, ("OIQA", "CVIQ"): 2}
    for place, column in zip(drawing.figure.axes, (0, 1), strict=True):
        cells = iter(text.get_text() for text in place.texts)
        for source in ("OIQA", "CVIQ"):
            for target in ("OIQA", "CVIQ"):
                rows = (within if source == target else across).rows
                values = np.array([measured(rows, source=source, dataset=target, seed=seed)[column]
                                   for seed in range(3 if source == target else 2)])
                assert next(cells) == f"{values.mean():.3f}\n± {values.std(ddof=1):.3f}"
        assert place.get_xlabel() == "tested on" and place.get_ylabel() == "trained on"


def test_the_matrix_without_runs_within_a_database():
    drawing = draw_cross(None, crossed())
    assert [text.get_text()[0] for text in drawing.figure.axes[0].texts] == ["–", "0", "0", "–"]
    assert "Diagonal: not there yet (evaluate.py)." in drawing.caption
    other = draw_cross(predictions_of(changed(run_of(), source="X", dataset="X")), crossed())
    assert "Diagonal: not there yet" in other.caption  # evaluated, but on another database


def test_training_curves_with_the_chosen_epoch(tmp_path):
    predictions = evaluated("OIQA", "CVIQ")
    drawing = draw_training(predictions)
    table = saved(drawing, tmp_path)
    wanted = [(run["source"], run["seed"], point["epoch"], point["loss"], point["validation"], point["epoch"] == run["epoch"])
              for run in predictions.runs for point in run["curve"]]
    assert list(table.columns) == ["dataset", "seed", "epoch", "loss", "validation", "chosen"] and len(wanted) == 2 * 3 * 3
    for found, row in zip(table.itertuples(index=False), wanted, strict=True):
        assert tuple(found)[:3] == row[:3] and found.chosen == row[5]
        assert (found.loss, found.validation) == pytest.approx(row[3:5], rel=1e-5)
    loss = drawing.figure.axes[0]
    chosen = np.vstack([dots for dots in dots_of(loss) if len(dots) == 1])
    np.testing.assert_allclose(chosen, [(2, 0.5), (3, 1 / 3 + 0.1), (1, 1.2)])


def test_runs_under_the_published_protocol_are_in_no_figure():
    rows, run = run_of(control="published protocol")
    habit = [{**row, "side": "val" if row["side"] == "test" else "train"} for row in rows]
    both = predictions_of(run_of(), (habit, {**run, "split": {**run["split"], "test": []}}))
    alone = predictions_of(run_of())
    for draw in (draw_scatter, draw_splits, draw_training):
        pd.testing.assert_frame_equal(draw(both).numbers, draw(alone).numbers)


# Words.


def test_captions_tell_images_splits_and_what_spreads_mean():
    drawings = draw_all(evaluated("OIQA", "CVIQ"), crossed(), ablated())
    assert list(drawings) == ["scatter", "splits", "training", "ablation", "cross_database"]
    sizes = "OIQA 12 images × 3 splits; CVIQ 18 images × 3 splits"
    wanted = {
        "scatter": ["OIQA 36 points of 3 splits; CVIQ 54 points of 3 splits", "mean ± SD over splits", "4-parameter logistic"],
        "splits": [sizes, "box: quartiles; line: median; whiskers", "4-parameter logistic"],
        "training": ["6 runs", "Dots: the chosen epoch"],
        "ablation": ["OIQA 12 images × 3 splits", "whiskers ± 1 SD", "same split and seed", "controls on the full model"],
        "cross_database": ["OIQA 48 images × 2 trainings; CVIQ 72 images × 2 trainings", "mean ± SD over runs",
                           "nothing chosen on it", "Diagonal: test images of the splits"],
    }
    for name, phrases in wanted.items():
        assert [phrase for phrase in phrases if phrase not in drawings[name].caption] == [], name
    assert "OIQA 12 images × 1 split)" in draw_splits(evaluated(seeds=1)).caption


def test_splits_of_different_sizes_are_a_range():
    rows, run = run_of(seed=1)
    small = [row for row in rows if row["image_name"] != "s1_GN_3.png"]
    assert "OIQA 11–12 images × 2 splits" in draw_splits(predictions_of(run_of(), (small, run))).caption


DRAW = [draw_scatter, draw_splits, draw_training, draw_ablation]


@pytest.mark.parametrize("draw", DRAW, ids=lambda draw: draw.__name__)
def test_simulated_labels_and_leaking_splits_stand_on_the_figure(draw):
    assert not any("imulated" in words or "leak" in words for words in words_of(draw(evaluated()).figure))
    assert "Labels simulated: OIQA" in words_of(draw(evaluated(OIQA="simulated")).figure)
    leaking = predictions_of(*[run_of(seed=seed, unit="image") for seed in range(2)], OIQA="simulated")
    assert "Labels simulated: OIQA. Split by image: scenes leak into the test" in words_of(draw(leaking).figure)


def test_only_databases_with_simulated_labels_are_named():
    across = crossed(CVIQ="simulated")
    assert "Labels simulated: CVIQ" in words_of(draw_cross(None, across).figure)
    assert remark_on(across, ["OIQA"]) == ""


# Files.


def test_a_rerun_gives_the_same_bytes(tmp_path):
    files = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        for drawing in draw_all(evaluated("OIQA", "CVIQ", OIQA="simulated"), crossed(), ablated()).values():
            drawing.save(folder)
        files.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    assert len(files[0]) == 5 * 3 and files[0] == files[1]


def test_a_picture_carries_its_caption_and_keeps_its_size(tmp_path):
    drawing = draw_splits(evaluated())
    png, pdf, _ = drawing.save(tmp_path)
    with Image.open(png) as image:
        assert image.width == figures.WIDTH_IN * figures.DPI and image.text["Description"] == drawing.caption
    assert pdf.read_bytes().startswith(b"%PDF") and b"CreationDate" not in pdf.read_bytes()


def test_what_has_not_run_is_not_drawn():
    assert draw_all(None, None, None) == {}
    assert list(draw_all(None, None, ablated())) == ["ablation"] and list(draw_all(None, crossed(), None)) == ["cross_database"]


@pytest.mark.parametrize("count", [1, 3])
def test_one_database_and_three_have_their_panels(count):
    parts = [changed(run_of(seed=seed), dataset=name, source=name) for name in "ABC"[:count] for seed in range(2)]
    drawings = draw_all(predictions_of(*parts), None, None)
    titles = [place.get_title() for place in drawings["scatter"].figure.axes if place.axison]
    assert [title[0] for title in titles] == list("ABC"[:count])
    assert len(drawings["training"].figure.axes) == 2 * count
