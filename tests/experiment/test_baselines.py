"""Baselines by closed forms, blind to test scenes, on the very splits of MMIFN; the tables that hold them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_workspace, write_csv
from PIL import Image
from scipy import stats

from mmifn.cli.evaluation import Comparison, evaluate_databases
from mmifn.core.artefact import load
from mmifn.core.errors import UserError
from mmifn.data import measurements as cached
from mmifn.data.images import read_image
from mmifn.data.manifest import read_manifest
from mmifn.data.measurements import Measurements
from mmifn.data.splits import make_split
from mmifn.data.workspace import Workspace
from mmifn.describe.measured.statistics import NAMES
from mmifn.describe.measured.statistics import measure as measure_image
from mmifn.experiment import baselines, measurements
from mmifn.experiment.baselines import RIDGES, baseline_outcomes, gather_baselines, group_means, ridge, svr
from mmifn.experiment.measurements import measure_full_reference, measure_statistics
from mmifn.experiment.runs import Experiments, Outcome, Run
from mmifn.fullref import database as fullref
from mmifn.fullref.metrics import measure
from mmifn.fusion.config import ModelConfig
from mmifn.metrics import agreement, holm, selection_quality
from mmifn.report import comparisons
from mmifn.report.evaluation import overall_agreement
from mmifn.report.tables import mean_sd
from mmifn.training.configs import Config, TrainConfig

CPU = torch.device("cpu")
MODEL = ModelConfig(level_widths=(4, 4, 4), lit_hidden=6, width=6, heads=2)
TRAIN, VAL, TEST = list(range(0, 30)), list(range(30, 38)), list(range(38, 60))


@pytest.fixture
def points():
    """60 images of 9 features, of which two make the score."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 9)) * 10.0 ** np.arange(-4, 5)
    return x, 50 + 8 * x[:, 0] * 1e4 - 5 * x[:, 8] * 1e-4 + rng.normal(size=60)


def test_ridge_is_the_closed_form_with_the_best_strength_on_validation(points):
    x, mos = points
    z = (x - x[TRAIN].mean(axis=0)) / x[TRAIN].std(axis=0)
    solved = {}
    for alpha in RIDGES:  # (Z'Z + aI) b = Z'y, intercept the training mean
        b = np.linalg.solve(z[TRAIN].T @ z[TRAIN] + alpha * np.eye(9), z[TRAIN].T @ (mos[TRAIN] - mos[TRAIN].mean()))
        solved[alpha] = mos[TRAIN].mean() + z @ b
    best = max(RIDGES, key=lambda alpha: selection_quality(solved[alpha][VAL], mos[VAL]))
    np.testing.assert_allclose(ridge(x, mos)(TRAIN, VAL), solved[best], rtol=1e-6)
    assert sorted(RIDGES, reverse=True) == RIDGES and best < RIDGES[0]


@pytest.mark.parametrize("method", [ridge, svr])
def test_learnt_baselines_never_see_test_rows_and_choose_on_validation_alone(points, method):
    x, mos = points
    scores = method(x, mos)(TRAIN, VAL)
    assert stats.pearsonr(scores[TEST], mos[TEST]).statistic > 0.8
    other, other_mos = x.copy(), mos.copy()
    other[TEST], other_mos[TEST] = -3 * other[TEST], np.nan
    again = method(other, other_mos)(TRAIN, VAL)
    assert np.array_equal(again[TRAIN + VAL], scores[TRAIN + VAL]) and not np.array_equal(again[TEST], scores[TEST])
    turned = mos.copy()
    turned[VAL] = -mos[VAL]
    assert not np.array_equal(method(x, turned)(TRAIN, VAL), scores)  # another strength: validation has a say


def test_a_constant_feature_is_of_no_account(points):
    x, mos = points
    padded = np.hstack([x, np.full((60, 1), 7.0)])
    np.testing.assert_allclose(ridge(padded, mos)(TRAIN, VAL), ridge(x, mos)(TRAIN, VAL), rtol=1e-9)


def test_group_means_by_hand():
    types, levels = ["a", "a", "b", "b", "a", "c"], [1, 2, 1, 1, 3, 1]
    both = list(zip(types, levels, strict=True))
    mos = np.array([10.0, 20, 30, 50, 99, 99])
    found = group_means([both, types], mos)([0, 1, 2, 3], [])
    # (a, 3) is not in training: the mean of a; c is not at all: the mean of all
    assert found.tolist() == [10, 20, 40, 40, 15, 27.5]
    assert group_means([types], mos)([0, 1, 2, 3], []).tolist() == [15, 15, 40, 40, 15, 27.5]


# What is measured on pixels.


@pytest.fixture
def pictures(tmp_path):
    """A database of 2 scenes x 3 noisy images with their pristine ones."""
    space, rng = Workspace(tmp_path), np.random.default_rng(0)
    rows = []
    for folder in (space.images_dir("DS"), space.references_dir("DS")):
        folder.mkdir(parents=True)
    for scene in ("one", "two"):
        clean = rng.integers(60, 200, (8, 16, 3)).repeat(16, axis=0).repeat(16, axis=1)
        Image.fromarray(clean.astype(np.uint8)).save(space.references_dir("DS") / f"{scene}.png")
        for level in (1, 2, 3):
            noisy = (clean + rng.normal(size=clean.shape) * 8 * level).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(space.images_dir("DS") / f"{scene}{level}.png")
            rows.append((f"{scene}{level}.png", 80 - 20 * level, "GN", scene, "simulated"))
    write_csv(space.manifest("DS"), ["image_name", "MOS", "distortion_type", "reference", "mos_source"], rows)
    return space, read_manifest(space.manifest("DS"), "DS")


def test_measurements_are_those_of_the_functions_and_labels_metric_is_left_out(pictures, monkeypatch):
    space, manifest = pictures
    scores, found = measure_full_reference(space, manifest, 1), measure_statistics(space, manifest, 1)
    assert scores.columns == ["ws_psnr", "ws_ssim", "vp_ms_ssim", "vp_gmsd"]  # FSIM made the labels
    picture = read_image(space.images_dir("DS") / "two3.png")
    wanted = measure(read_image(space.references_dir("DS") / "two.png"), picture, tuple(scores.columns))
    assert scores.values[5].tolist() == pytest.approx([wanted[name] for name in scores.columns], rel=1e-5)
    assert found.columns == list(NAMES) and found.values[5].tolist() == measure_image(picture).vector().tolist()
    human = measure_full_reference(space, replace(manifest, mos_source="human"), 1)
    assert human.columns == [*scores.columns, "vp_fsim"]


@pytest.mark.parametrize(("kind", "method"), [("full_reference", measure_full_reference), ("statistics", measure_statistics)])
def test_nothing_is_measured_twice_and_a_killed_run_goes_on(pictures, monkeypatch, kind, method):
    space, manifest = pictures
    module, name = (fullref, "score_scene") if kind == "full_reference" else (measurements, "_measure_files")
    real, done = getattr(module, name), []

    def counted(job):
        names = job[2] if kind == "full_reference" else job[1]
        if len(done) == counted.fuse:
            raise KeyboardInterrupt
        done.extend(names)
        return real(job)

    monkeypatch.setattr(cached, "_IMAGES_A_JOB", 1)
    monkeypatch.setattr(module, name, counted)
    counted.fuse = 4
    with pytest.raises(KeyboardInterrupt):
        method(space, manifest, 1)
    assert not space.features("DS", kind).exists()
    counted.fuse = None
    whole = method(space, manifest, 1)
    assert sorted(done) == sorted(manifest.names)
    assert load(space.features("DS", kind), Measurements).values.equal(whole.values)
    assert not list(space.features("DS", kind).parent.glob(".*"))
    folder = space.images_dir("DS")
    (folder / "one1.png").write_bytes((folder / "one3.png").read_bytes())  # known by its pixels
    Image.fromarray(read_image(folder / "one2.png")[:, ::-1] // 2).save(folder / "one2.png")
    again = method(space, manifest, 1)
    assert done[6:] == ["one2.png"] and not again.values[1].equal(whole.values[1])
    assert again.values[[0, 2, 3, 4, 5]].equal(whole.values[[2, 2, 3, 4, 5]])
    monkeypatch.setattr(Measurements, "SCHEMA", "measurements/0")  # as if the code had measured otherwise
    del done[:]
    method(space, manifest, 1)
    assert len(done) == 6


def test_another_reference_is_measured_anew(pictures):
    space, manifest = pictures
    before = measure_full_reference(space, manifest, 1).values
    path = space.references_dir("DS") / "two.png"
    Image.fromarray(255 - read_image(path)).save(path)
    after = measure_full_reference(space, manifest, 1).values
    assert after[:3].equal(before[:3]) and (after[3:, 0] < before[3:, 0]).all()


def test_two_workers_measure_what_one_does(pictures):
    space, manifest = pictures
    alone = measure_full_reference(space, manifest, 1)
    space.features("DS", "full_reference").unlink()
    assert measure_full_reference(space, manifest, 2).values.equal(alone.values)


# The tables.


@pytest.fixture
def experiments(space):
    return Experiments(space, ["OIQA"], CPU, 1)


def runs_of(database, count=6):
    rng = np.random.default_rng(5)
    return [Outcome(Run("OIQA", make_split(database.manifest.scenes(), seed), Config(MODEL, TrainConfig()), seed),
                    {"OIQA": database.mos + 3 * rng.normal(size=36)}, 1) for seed in range(count)]


def test_the_baseline_table_by_hand(experiments):
    database = experiments.databases["OIQA"]
    found, left_out = gather_baselines(experiments, "OIQA", full_reference=True)
    assert [each.name for each in found] == ["text features, ridge", "viewport features, ridge", "global features, ridge",
                                             "all three features, ridge", "type only (its training mean)",
                                             "ORACLE: type and level (their training mean)"]
    assert "statistics" in left_out[0] and "images lacks 36" in left_out[0] and "references lacks 6 of 6" in left_out[1]
    assert not any(str(experiments.space.root) in note for note in left_out)
    runs = runs_of(database, 16)
    scored = baseline_outcomes(found, database, runs)
    table = comparisons.baseline_table("I", database, runs, scored, left_out)
    rows = {row[0]: row for row in table.rows if row}
    views = database.inputs.views.mean(dim=1).double().numpy()
    plcc = {"own": [], "ridge": []}
    for outcome in runs:
        train, val, test = (outcome.run.split.rows(database.manifest.references, side) for side in ("train", "val", "test"))
        plcc["own"].append(agreement(outcome.scores["OIQA"][test], database.mos[test]).plcc)
        plcc["ridge"].append(agreement(ridge(views, database.mos)(train, val)[test], database.mos[test]).plcc)
    gap = np.array(plcc["ridge"]) - np.array(plcc["own"])
    row = rows["viewport features, ridge"]
    assert row[1] == f"{np.mean(plcc['ridge']):.3f} ± {np.std(plcc['ridge'], ddof=1):.3f}"
    assert row[6] == f"{gap.mean():.3f} ± {gap.std(ddof=1):.3f}" and row[7] == f"{stats.wilcoxon(gap).pvalue:.3f}"
    raw = [float(each[7]) if each[7] != "–" else None for each in rows.values()]
    corrected = [float(each[8]) if each[8] != "–" else None for each in rows.values()]
    assert table.columns[7:9] == ["p (Wilcoxon)", "p (Holm)"] and corrected == pytest.approx(holm(raw), abs=0.005)
    assert rows["MMIFN (full)"][6:] == ["–"] * 4 and "[" in rows["MMIFN (full)"][4] and "[" in row[9]
    assert any("--without-full-reference" in note for note in gather_baselines(experiments, "OIQA", full_reference=False)[1])


def test_rows_by_block_and_what_is_said_of_simulated_labels(pictures):
    space, manifest = pictures
    scores = measure_full_reference(space, manifest, 1)
    found = baselines._full_reference(scores)
    assert [each.name for each in found] == ["WS-PSNR", "WS-SSIM", "MS-SSIM, views", "GMSD, views"]
    for each in found:  # higher is better in all of them, GMSD turned
        assert stats.spearmanr(each.score([], []), manifest.mos).statistic > 0.8, each.name


def test_without_levels_there_is_no_oracle(experiments):
    database = experiments.databases["OIQA"]
    experiments.databases["OIQA"] = replace(database, manifest=replace(database.manifest, levels=[0] * 36))
    found, left_out = gather_baselines(experiments, "OIQA", full_reference=False)
    assert not any("ORACLE" in each.name for each in found) and any("no column `level`" in note for note in left_out)


def test_the_published_protocol_stands_beside_the_honest_one(experiments):
    database = experiments.databases["OIQA"]
    runs = runs_of(database, 3)
    split = runs[0].run.split
    habit_split = replace(split, train=(*split.train, *split.val), val=split.test, test=())
    habit = Outcome(replace(runs[0].run, split=habit_split, protocol="published"), {"OIQA": database.mos * 1.0}, 1)
    table = comparisons.published_protocol_table("I", database, runs, habit)
    assert "NOT AN HONEST ESTIMATE" in table.title
    test = split.rows(database.manifest.references, "test")
    own = agreement(runs[0].scores["OIQA"][test], database.mos[test])
    rows = {row[0]: row for row in table.rows if row}
    assert rows["honest, split 0 alone"][1] == f"{own.plcc:.3f}"
    assert rows["published: the same test scenes chose the epoch"][1:3] == ["1.000", "1.000"]
    assert rows["published - honest, same test scenes"][1] == f"{1 - own.plcc:+.3f}"


def test_evaluate_numbers_its_tables_and_adds_the_habit_only_when_asked(tmp_path):
    make_workspace(tmp_path)
    space = make_workspace(tmp_path, "CVIQ", types=("JPEG", "AVC"), seed=1)
    experiments = Experiments(space, ["OIQA", "CVIQ"], CPU, 1)
    config = Config(MODEL, TrainConfig(epochs=1, branch_epochs=0, batch_size=16))
    for published in (False, True):
        wanted = Comparison(config, 1, published=published, full_reference=False)
        found = evaluate_databases(experiments, ["OIQA", "CVIQ"], wanted)
        assert [table.title.partition(".")[0].partition(",")[0] for table in found.tables] == [
            number for number in ("Table I", "Table II") for _ in range(4 if published else 3)]
        assert [outcome.run.protocol for outcome in found.outcomes] == ["honest"] * 2 + ["published"] * 2 * published
        assert {outcome.run.control for outcome in found.baselines} >= {"text features, ridge"}


def test_another_configuration_is_a_row_on_the_same_splits(tmp_path):
    experiments = Experiments(make_workspace(tmp_path), ["OIQA"], CPU, 1)
    config = Config(MODEL, TrainConfig(epochs=2, branch_epochs=0, batch_size=16))
    other = replace(config, model=replace(MODEL, lit_residual=False, afm_residual=False))
    found = evaluate_databases(experiments, ["OIQA"], Comparison(config, 8, full_reference=False, statistics=False,
                                                                 also={"letter": other}))
    database, row = experiments.databases["OIQA"], next(row for row in found.tables[1].rows if row[0].startswith("MMIFN, conf"))
    again = experiments.run({"x": [replace(outcome.run, config=other) for outcome in found.outcomes]}, "x")["x"]
    gaps = [overall_agreement(a, database).plcc - overall_agreement(b, database).plcc
            for a, b in zip(again, found.outcomes, strict=True)]
    notes = found.tables[1].notes
    assert ("MMIFN, configuration letter: Eq. 13-19 to the letter, width 6, text dropout 0; 2 epochs after 0 of the branches "
            "alone, AdaMax 0.001 (constant), loss mse.") in notes
    assert any(note.startswith("Model: residual LIT and AFM, width 6") for note in notes)
    assert row[0] == "MMIFN, configuration letter" and row[6] == mean_sd(gaps) and np.ptp(gaps) > 0
    assert [outcome.run.control for outcome in found.baselines][:8] == ["configuration letter"] * 8
    assert all(outcome.run.control == "" for outcome in found.outcomes)
    median = np.median([overall_agreement(run, database).plcc for run in again])
    assert any(note.startswith("Median PLCC over runs: MMIFN (full) ") and f"; MMIFN, configuration letter {median:.3f}; " in note
               for note in notes)


def test_what_is_evaluated_already_is_no_other_configuration():
    config = Config(MODEL, TrainConfig())
    with pytest.raises(UserError, match="--also-config mine: that is what is evaluated already"):
        Comparison(config, 1, also={"mine": Config(MODEL, TrainConfig())})


def test_a_picture_too_small_to_measure_is_a_message(pictures):
    space, manifest = pictures
    Image.new("RGB", (64, 32)).save(space.images_dir("DS") / "one1.png")
    with pytest.raises(UserError, match="too small to be measured"):
        measure_statistics(space, manifest, 1)
    with pytest.raises(UserError, match="differ in size"):
        measure_full_reference(space, manifest, 1)
