"""Tables say what was measured: text, csv and markdown of one structure, and figures recomputed by hand."""

import csv
import dataclasses
from dataclasses import replace

import numpy as np
import pytest
from conftest import make_workspace
from scipy import stats

from mmifn import metrics
from mmifn.core import version as code_version
from mmifn.core.errors import UserError
from mmifn.data.splits import make_split, whole_database_split
from mmifn.experiment import intervals
from mmifn.experiment.runs import Outcome, Run
from mmifn.fusion.config import ModelConfig
from mmifn.fusion.inputs import load_database
from mmifn.metrics import agreement
from mmifn.report import claims, comparisons
from mmifn.report import evaluation as reporting
from mmifn.report.per_type import per_type_table
from mmifn.report.tables import Table, mean_sd, write_tables
from mmifn.training.configs import Config, TrainConfig

TABLE = Table("Title", ["what", "PLCC"], [["a", "0.9"], None, ["overall", "0.95 ± 0.01"]], ["One note, with a comma."])


def test_text_is_aligned():
    assert TABLE.as_text() == (
        "Title\n=====\nwhat            PLCC\n-------  -----------\na                0.9\n-------  -----------\n"
        "overall  0.95 ± 0.01\n\nOne note, with a comma.\n"
    )


def test_markdown():
    assert TABLE.as_markdown() == (
        "**Title**\n\n| what | PLCC |\n| --- | ---: |\n| a | 0.9 |\n| overall | 0.95 ± 0.01 |\n\n- One note, with a comma.\n"
    )


def test_csv():
    lines = TABLE.as_csv().splitlines()
    assert lines[:2] == ["# Title", "# One note, with a comma."]
    assert list(csv.reader(lines[2:])) == [["what", "PLCC"], ["a", "0.9"], ["overall", "0.95 ± 0.01"]]


def test_all_three_forms_are_written(tmp_path):
    write_tables([TABLE, TABLE], tmp_path / "new" / "r.txt")
    for suffix, form in ((".txt", TABLE.as_text()), (".md", TABLE.as_markdown()), (".csv", TABLE.as_csv())):
        assert (tmp_path / "new" / f"r{suffix}").read_text(encoding="utf-8") == form + "\n" + form


def test_mean_and_sd():
    assert mean_sd([0.9, 0.95, 0.94]) == "0.930 ± 0.026"  # sample SD: sqrt((.03² + .02² + .01²) / 2)
    assert mean_sd([0.9]) == "0.900" and mean_sd([]) == "–" and mean_sd([3, 4], 1) == "3.5 ± 0.7"


# Figures.


def outcome_of(database, seed, noise, split=None, source=None, variant="full"):
    """A run whose scores are the opinion scores, bent and with noise."""
    split = split or make_split(database.manifest.scenes(), seed)
    scores = np.tanh((database.mos - 50) / 40) + noise * np.random.default_rng(seed).normal(size=len(database.manifest))
    return Outcome(
        Run(source or database.name, split, Config(ModelConfig(variant=variant), TrainConfig()), seed), {database.name: scores}, 5
    )


@pytest.fixture
def runs(database):
    return [outcome_of(database, seed, 0.1) for seed in range(3)]


def test_test_scenes_are_measured_and_no_others(database, runs):
    rows = runs[0].run.split.rows(database.manifest.scenes(), "test")
    assert len(rows) == 6
    found = reporting.agreement_on_test(runs[0], database)
    assert found.images == 6 and found.srcc == pytest.approx(
        stats.spearmanr(runs[0].scores["OIQA"][rows], database.mos[rows]).statistic
    )
    runs[0].scores["OIQA"][[i for i in range(36) if i not in rows]] = 1e6  # of no account
    assert reporting.agreement_on_test(runs[0], database) == found
    assert reporting.agreement_on_test(runs[0], database, "JPEG") is None  # three images: a correlation says nothing


def test_the_evaluation_table_by_hand(database, runs):
    table = reporting.evaluation_table("I", database, runs)
    assert table.title == "Table I. MMIFN (full) on OIQA" and table.columns[1:] == [
        "PLCC",
        "SRCC",
        "KRCC",
        "RMSE",
        "PLCC raw",
        "RMSE from PLCC",
    ]
    assert [row and row[0] for row in table.rows] == ["overall", "3 runs pooled", "95% interval"]
    assert "Types with fewer than 5 test images, in the overall figures only: JPEG, GN." in table.notes
    figures = []
    for run in runs:
        rows = run.run.split.rows(database.manifest.scenes(), "test")
        figures.append(metrics.agreement(run.scores["OIQA"][rows], database.mos[rows]))
    plcc = np.array([one.plcc for one in figures])
    assert table.rows[-3][1] == f"{plcc.mean():.3f} ± {plcc.std(ddof=1):.3f}"
    rmse = np.array([one.rmse for one in figures])
    assert table.rows[-3][4] == f"{rmse.mean():.2f} ± {rmse.std(ddof=1):.2f}"
    rows = [(run, i) for run in runs for i in run.run.split.rows(database.manifest.scenes(), "test")]
    pred, mos = np.array([run.scores["OIQA"][i] for run, i in rows]), database.mos[[i for _, i in rows]]
    assert table.rows[-2][1:3] == [f"{metrics.agreement(pred, mos).plcc:.3f}", f"{stats.spearmanr(pred, mos).statistic:.3f}"]
    assert table.rows[-1][1:] == ["–"] * 6  # of three scenes or fewer
    notes = "\n".join(table.notes)
    assert f"bootstrap of the pooled figure over the {len({database.manifest.references[i] for _, i in rows})} scenes" in notes
    assert (
        "OIQA: 36 images, 6 scenes, MOS scale 0-100; OIQA split 4 train / 1 validation / 1 test scenes; 3 runs, seeds 0, 1, 2."
        in notes
    )
    medians = [f"{np.median([getattr(one, name) for one in figures]):.{digits}f}"
               for name, digits in (("plcc", 3), ("srcc", 3), ("krcc", 3), ("rmse", 2))]
    assert "Median over runs: PLCC {}, SRCC {}, KRCC {}, RMSE {}.".format(*medians) in notes and "SIMULATED" not in notes
    # sigma 14.39 and PLCC .986 imply 14.39 sqrt(1 - .986²) = 2.40, not the 3.253 claimed
    assert "PLCC 0.986, SRCC 0.982, RMSE 3.253 (its PLCC implies RMSE 2.40 at SD(MOS) 14.39)" in notes


def test_every_distortion_type_has_a_row(database, runs, monkeypatch):
    monkeypatch.setattr(reporting, "MIN_PER_TYPE", 3)
    table = reporting.evaluation_table("I", database, runs)
    assert [row and row[0] for row in table.rows][:4] == ["JPEG", "GN", None, "overall"]
    rows = [[i for i in run.run.split.rows(database.manifest.scenes(), "test") if database.manifest.types[i] == "GN"]
            for run in runs]
    wanted = [stats.spearmanr(run.scores["OIQA"][mine], database.mos[mine]).statistic
              for run, mine in zip(runs, rows, strict=True)]
    assert table.rows[1][2] == mean_sd(wanted) and not [note for note in table.notes if note.startswith("Types with fewer")]


def test_the_interval_is_that_of_the_pooled_figure(database):
    runs = [outcome_of(database, seed, 0.3) for seed in range(16)]
    rows = [(run, i) for run in runs for i in run.run.split.rows(database.manifest.scenes(), "test")]
    pred, mos = np.array([run.scores["OIQA"][i] for run, i in rows]), database.mos[[i for _, i in rows]]
    scenes = [database.manifest.references[i] for _, i in rows]
    assert len(set(scenes)) >= 5 and len(rows) == 16 * 6
    table = reporting.evaluation_table("I", database, runs)
    draws = intervals.resampled_figures(intervals.Scored(pred, mos, scenes))
    for column, name in ((1, "plcc"), (2, "srcc")):
        low, high = np.quantile(draws[name], [0.025, 0.975])
        assert table.rows[-1][column] == f"{low:.3f} to {high:.3f}" and low < float(table.rows[-2][column]) < high


def test_simulated_labels_and_leaking_splits_are_said(database, runs):
    simulated = replace(database, manifest=replace(database.manifest, mos_source="simulated"))
    notes = reporting.evaluation_table("I", simulated, runs).notes
    assert notes[0].startswith("SIMULATED: distortions and labels of this database are simulated")
    for run in runs:
        run.run = replace(run.run, split=make_split(database.manifest.names, run.run.seed, unit="image"))
    assert any(
        "IMAGES (--split-by image: scenes leak into the test)" in note
        for note in reporting.evaluation_table("I", database, runs).notes
    )


def test_types_come_in_the_fields_order(database):
    odd = replace(database, manifest=replace(database.manifest, types=["zoom", "HEVC", "GB", "JPEG"] * 9))
    assert reporting.types_in_order(odd.manifest.types) == ["JPEG", "GB", "HEVC", "zoom"]


def test_failed_fits_are_counted(database, runs):
    runs[1].scores["OIQA"][:] = 3.0
    assert any(
        "logistic fits that failed (a straight line used): 1 of 3." in note
        for note in reporting.evaluation_table("I", database, runs).notes
    )


def test_the_cross_table_scores_the_whole_target(tmp_path, database):
    target = load_database(make_workspace(tmp_path, "CVIQ", types=("JPEG", "AVC"), seed=4), "CVIQ")
    split = whole_database_split(database.manifest.scenes(), 0)
    run = outcome_of(target, 0, 0.2, split=split, source="OIQA")
    table = reporting.cross_table({("OIQA", "CVIQ"): [run]}, {"OIQA": database, "CVIQ": target})
    wanted = metrics.agreement(run.scores["CVIQ"], target.mos)
    assert (
        wanted.images == 36
        and table.rows[0] == reporting.summary_row("OIQA → CVIQ", [wanted])
        and table.rows[0][1] == f"{wanted.plcc:.3f}"
    )
    notes = "\n".join(table.notes)
    assert f"OIQA → CVIQ, median over runs: PLCC {wanted.plcc:.3f}, SRCC" in notes
    assert "OIQA split 5 train / 1 validation / 0 test scenes" in notes and "Nothing is chosen on the target" in notes
    assert "OIQA → CVIQ: As claimed by the paper on the real CVIQ: PLCC 0.941, SRCC 0.945, RMSE 4.591" in notes


def test_the_ablation_is_paired(database):
    by_variant = {
        "full": [outcome_of(database, seed, 0.05) for seed in range(16)],
        "w/o text": [outcome_of(database, seed, 0.5) for seed in range(16)],
        "shuffled text": [outcome_of(database, seed, 0.05) for seed in range(16)],
    }
    for full, other in zip(by_variant["full"], by_variant["w/o text"], strict=True):
        assert full.run.split == other.run.split
    table = comparisons.ablation_table(database, by_variant)
    plcc = {
        variant: np.array([reporting.agreement_on_test(outcome, database).plcc for outcome in outcomes])
        for variant, outcomes in by_variant.items()
    }
    gap = plcc["w/o text"] - plcc["full"]
    assert [row and row[0] for row in table.rows] == ["1 full", "3 w/o text", None, "– shuffled text"]
    assert table.rows[0][4:] == ["–", "–", "–", "–", "0.986"]
    assert table.rows[3][4:] == ["0.000 ± 0.000", "–", "–", "0.000", "–"] and table.rows[1][6] == table.rows[1][5]  # of one row
    assert table.rows[1][4] == f"{gap.mean():.3f} ± {gap.std(ddof=1):.3f}"
    assert table.rows[1][5] == f"{stats.wilcoxon(plcc['w/o text'], plcc['full']).pvalue:.3f}" and table.rows[1][8] == "0.942"
    found = {}
    for variant in ("full", "w/o text"):  # the same draws of scenes for both
        scored = reporting.pooled(by_variant[variant], database)
        found[variant] = metrics.agreement(scored.pred, scored.mos).plcc, intervals.resampled_figures(scored)["plcc"]
    low, high = np.quantile(found["w/o text"][1] - found["full"][1], [0.025, 0.975])
    assert table.rows[1][7] == f"{found['w/o text'][0] - found['full'][0]:.3f} [{low:.3f}, {high:.3f}]"
    medians = {variant: f"{np.median(values):.3f}" for variant, values in plcc.items()}
    assert "Median PLCC over runs: " + "; ".join(f"{variant} {value}" for variant, value in medians.items()) + "." in table.notes


def test_a_paired_p_by_counting():
    assert reporting.p_text(reporting.paired_p([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])) == "0.031"  # all six the same way: 2 / 2^6
    assert reporting.p_text(reporting.paired_p([0.1, 0.2, -0.3])) == "1.000"  # ranks 1 + 2 against 3
    assert reporting.p_text(reporting.paired_p([0.1])) == reporting.p_text(reporting.paired_p([0.0, 0.0])) == "–"


def test_too_few_images_are_a_message(database, tmp_path):
    tiny = load_database(make_workspace(tmp_path, "CVIQ", scenes=1, levels=2), "CVIQ")
    run = outcome_of(tiny, 0, 0.1, split=whole_database_split(database.manifest.scenes(), 0), source="OIQA")
    with pytest.raises(UserError, match="CVIQ: fewer than 5 images to score in split 0"):
        reporting.cross_table({("OIQA", "CVIQ"): [run]}, {"OIQA": database, "CVIQ": tiny})


def test_figures_of_the_literature_are_those_published():
    table = claims.literature_table(["OIQA", "CVIQ"])
    rows = {row[0]: row[1:] for row in table.rows}
    assert "not measured here" in table.title and len(rows) == 12
    assert rows["Assessor360"] == ["0.975/0.980", "0.977/0.964", "test-selected, one split"]
    newest = {row[0]: row[1:] for row in claims.literature_table(claims.LITERATURE_DATABASES).rows}
    assert newest["GAQC"][:4] == ["0.985/0.983", "0.959/0.957", "0.830/0.835", "0.837/0.842"]
    assert newest["MTAOIQA"] == ["0.972/0.960", "0.965/0.962", "0.822/0.821", "0.829/0.824", "as published"]
    assert newest["VGCN"][2:4] == ["–", "–"]
    assert rows["MMIFN"] == ["0.986/0.982", "0.984/0.983", "as claimed by the paper"]


def test_every_method_by_type_has_the_figures_of_its_images(tmp_path):
    database = load_database(make_workspace(tmp_path, scenes=11), "OIQA")  # two test scenes: six test images of a type
    runs = [outcome_of(database, seed, 0.3) for seed in (0, 1)]
    table = per_type_table("By type", database, {"MMIFN": runs, "again": runs}, 5)
    rows = [row for row in table.rows if row]
    assert [row[:2] for row in rows] == [[name, kind] for name in ("MMIFN", "again") for kind in ("JPEG", "GN", "overall")]
    noise = [i for i, kind in enumerate(database.manifest.types) if kind == "GN"]
    wanted = []
    for run in runs:
        at = [i for i in run.run.split.rows(database.manifest.references, "test") if i in noise]
        wanted.append(agreement(run.scores["OIQA"][at], database.mos[at], 5))
    assert rows[1][4] == mean_sd([each.krcc for each in wanted]) and rows[1][2] == mean_sd([each.plcc for each in wanted])


def test_how_the_epoch_was_chosen_stands_below_every_table(database, runs):
    config = Config(ModelConfig(), TrainConfig(last_epoch=True))
    last = [replace(outcome, run=replace(outcome.run, config=config)) for outcome in runs]
    for outcomes, words in ((runs, "Epoch chosen on validation scenes; "), (last, "Last epoch kept; ")):
        assert any(note.startswith(words) for note in reporting.common_notes(database, outcomes, []))


def test_a_partial_import_is_named_in_every_table(database, runs):
    human = replace(database, manifest=replace(database.manifest, mos_source="human"))
    note = "PARTIAL IMPORT: 36 of 320 images, 6 of 16 scenes of OIQA; not to be compared with figures of the whole."
    assert note in reporting.common_notes(human, runs, []) and note in reporting.evaluation_table("I", human, runs).notes
    simulated = replace(database, manifest=replace(database.manifest, mos_source="simulated"))
    assert not any("PARTIAL" in line for line in reporting.common_notes(simulated, runs, []))


# What every table states.


def test_encoders_preset_logistic_and_code_are_named(database, runs):
    notes = "\n".join(reporting.evaluation_table("I", database, runs, logistic=5).notes)
    text = database.method["text_features"]
    assert f"Encoders text made up text ({text}), viewport made up views (" in notes and "; no preset; mmifn 0.1.0" in notes
    assert "after a 5-parameter logistic fit" in notes
    assert ("Model: residual LIT and AFM, width 256, text dropout 0; 100 epochs after 30 of the branches alone, AdaMax 0.001 "
            "(constant), loss mse.") in notes
    names = {"text_features": "minilm", "viewport_features": "vit_nano", "global_features": "vmamba_nano"}
    assert reporting.preset_of(names) == "preset offline"
    before = {**names, "viewport_features": "lite0_adapted", "global_features": "lite0_adapted"}
    assert reporting.preset_of(before) == "preset offline-lite0"
    assert reporting.preset_of({**names, "text_features": "x"}) == "no preset"


def test_scenes_that_an_encoder_was_taught_are_told(database, runs):
    assert reporting.taught_note(database) == []
    other, own = (dataclasses.replace(database, taught=frozenset(names)) for names in (("pier", "hall"), ("pier", "s1", "s3")))
    assert reporting.taught_note(other) == ["Encoders were adapted to distortions on 2 other scenes, none of OIQA."]
    assert reporting.taught_note(own)[0].startswith("WARNING: encoders were adapted on 2 scene(s) of OIQA (s1, s3)")
    assert any("WARNING" in note for note in reporting.evaluation_table("I", own, runs).notes)


def test_the_logistic_asked_for_is_fitted(database, runs):
    four, five = (reporting.evaluation_table("I", database, runs, logistic=p).rows[-3:] for p in (4, 5))
    assert [row[2] for row in four] == [row[2] for row in five] and [row[4] for row in four[:2]] != [row[4] for row in five[:2]]


def test_the_commit_is_named_in_a_checkout_only(monkeypatch, tmp_path):
    git = {"rev-parse": "abc123", "status": ""}
    monkeypatch.setattr(code_version, "_git", lambda root, command, *args: git[command])
    monkeypatch.setattr(code_version, "__file__", str(tmp_path / "mmifn" / "core" / "version.py"))
    version = code_version.code_version.__wrapped__
    monkeypatch.delenv("MMIFN_COMMIT", raising=False)
    assert version() == "mmifn 0.1.0"
    monkeypatch.setenv("MMIFN_COMMIT", "0123456789abcdef")  # as a container image sets it
    assert version() == "mmifn 0.1.0, commit 0123456789"
    (tmp_path / ".git").mkdir()
    assert version() == "mmifn 0.1.0, commit abc123"
    git["status"] = " M x.py"
    assert version() == "mmifn 0.1.0, commit abc123 with local changes"
    git["rev-parse"] = ""  # no git, or not its own
    assert version() == "mmifn 0.1.0"
