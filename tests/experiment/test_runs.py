"""Runs are kept and found again, repeated exactly, and independent of how many are computed at a time."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import make_workspace

from mmifn.core.artefact import load_torch, save_torch
from mmifn.core.errors import ArtefactError, UserError
from mmifn.data.splits import make_split
from mmifn.experiment import runs as protocol
from mmifn.experiment.controls import CONTROLS
from mmifn.experiment.predictions import prediction_rows, write_predictions
from mmifn.experiment.runs import Experiments, ablation_runs, cross_runs, published_run, split_runs
from mmifn.fusion.config import ModelConfig
from mmifn.metrics import selection_quality
from mmifn.training.configs import Config, TrainConfig

CPU = torch.device("cpu")
MODEL = ModelConfig(level_widths=(4, 4, 4), lit_hidden=6, width=6, heads=2)
TRAIN = TrainConfig(epochs=2, branch_epochs=1, learning_rate=0.01, batch_size=16)
CONFIG = Config(MODEL, TRAIN)


@pytest.fixture
def both(tmp_path):
    make_workspace(tmp_path)
    return make_workspace(tmp_path, "CVIQ", types=("JPEG", "AVC", "HEVC"), seed=1)


def open_both(space, workers=1):
    return Experiments(space, ["OIQA", "CVIQ"], CPU, workers)


def runs_of(experiments, count=2):
    return [
        *split_runs(experiments, "OIQA", count, CONFIG, "reference"),
        *cross_runs(experiments, "CVIQ", "OIQA", 1, CONFIG, "reference"),
    ]


def outcomes_of(experiments, runs):
    """Compute one group of runs."""
    return experiments.run({"x": runs}, "x")["x"]


def scores_of(outcomes):
    return [{name: scores.tolist() for name, scores in outcome.scores.items()} for outcome in outcomes]


@pytest.fixture
def counted(monkeypatch):
    """Count the trainings; `fuse` makes the one after that many raise, as a killed script would stop."""

    class Count:
        made, fuse = 0, None

    real = protocol.train_and_score

    def counting(*args):
        if Count.made == Count.fuse:
            raise KeyboardInterrupt
        Count.made += 1
        return real(*args)

    monkeypatch.setattr(protocol, "train_and_score", counting)
    return Count


def test_every_image_of_every_database_is_scored_once(both):
    experiments = open_both(both)
    split, _, cross = outcomes_of(experiments, runs_of(experiments))
    assert {name: len(scores) for name, scores in split.scores.items()} == {"OIQA": 36}
    assert {name: len(scores) for name, scores in cross.scores.items()} == {"CVIQ": 54, "OIQA": 36}
    assert all(np.isfinite(scores).all() for scores in cross.scores.values())


def test_a_killed_script_goes_on_where_it_was(both, counted):
    experiments = open_both(both)
    runs = runs_of(experiments)
    whole = scores_of(outcomes_of(experiments, runs))
    for path in (both.results / "runs").iterdir():
        path.unlink()
    counted.made, counted.fuse = 0, 1
    with pytest.raises(KeyboardInterrupt):
        outcomes_of(experiments, runs)
    assert len(list((both.results / "runs").iterdir())) == 1  # what was done is there, and nothing half-written
    counted.fuse = None
    assert scores_of(outcomes_of(open_both(both), runs)) == whole and counted.made == 3
    assert scores_of(outcomes_of(open_both(both), runs[::-1])) == whole[::-1] and counted.made == 3  # scripts share runs


@pytest.mark.parametrize("damage", ["half", "junk", "other", "fewer", "bit"])
def test_a_damaged_run_is_made_again(both, counted, damage):
    experiments = open_both(both)
    runs = runs_of(experiments, 1)[:1]
    whole = scores_of(outcomes_of(experiments, runs))
    path = experiments.path(runs[0])
    content, plain = path.read_bytes(), load_torch(path)
    if damage == "half":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "junk":
        path.write_bytes(b"junk")
    elif damage == "other":
        save_torch([1, 2], path)
    elif damage == "fewer":
        save_torch({**plain, "scores": {"OIQA": plain["scores"]["OIQA"][:-1]}}, path)
    else:
        at = content.find(plain["scores"]["OIQA"].numpy().tobytes())
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    assert scores_of(outcomes_of(open_both(both), runs)) == whole and counted.made == 2
    assert path.read_bytes() == content


def test_two_workers_give_exactly_what_one_gives(both):
    alone = open_both(both)
    runs = runs_of(alone, 1)
    wanted = outcomes_of(alone, runs)
    for path in (both.results / "runs").iterdir():
        path.unlink()
    torch.set_num_threads(2)  # the caller's threads do not matter either
    found = outcomes_of(open_both(both, workers=2), runs)
    assert scores_of(found) == scores_of(wanted)
    assert [(one.epoch, one.curve) for one in found] == [(one.epoch, one.curve) for one in wanted]


def test_a_run_is_identified_by_all_that_it_depends_on(both):
    experiments = open_both(both)
    run = split_runs(experiments, "OIQA", 1, CONFIG, "reference")[0]
    others = [
        replace(run, seed=1),
        replace(run, split=make_split(experiments.scenes("OIQA"), 1)),
        replace(run, config=replace(CONFIG, model=replace(MODEL, variant="w/o LFF"))),
        replace(run, config=replace(CONFIG, train=replace(TRAIN, schedule="cosine"))),
        replace(run, targets=("CVIQ",)),
        replace(run, source="CVIQ"),
        replace(run, split=replace(run.split, unit="image")),
        replace(run, control="text only"),
    ]
    keys = {experiments.key(each) for each in [run, *others]}
    assert len(keys) == 9 and experiments.key(replace(run)) in keys
    table = both.manifest("OIQA")
    table.write_text(table.read_text().replace("JPEG,s0,1", "GN,s0,1"))
    assert open_both(both).key(run) not in keys


def test_jobs_are_the_protocol(both):
    experiments = open_both(both)
    runs = split_runs(experiments, "OIQA", 3, CONFIG, "reference")
    assert [(run.seed, run.split, run.targets) for run in runs] == [
        (i, make_split(experiments.scenes("OIQA"), i), ()) for i in range(3)
    ]
    cross = cross_runs(experiments, "OIQA", "CVIQ", 2, CONFIG, "reference")
    assert all(
        run.split.test == () and len(run.split.train) == 5 and len(run.split.val) == 1 and run.targets == ("CVIQ",)
        for run in cross
    )
    by_image = split_runs(experiments, "OIQA", 1, CONFIG, "image")[0]
    assert by_image.split.unit == "image" and len(by_image.split.train) == 27


def test_a_file_of_splits_takes_the_place_of_their_number(both):
    experiments = open_both(both)
    entry = {"train": ["s0", "s1", "s4", "s5"], "val": ["s2"], "test": ["s3"]}
    (both.root / "splits").mkdir()
    (both.root / "splits" / "THEIRS.json").write_text(json.dumps({"OIQA-7": entry, "OIQA-9": entry, "CVIQ-7": entry}))
    found = split_runs(experiments, "OIQA", "THEIRS", CONFIG, "reference")
    assert [(run.seed, run.split.test) for run in found] == [(7, ("s3",)), (9, ("s3",))]
    assert len(cross_runs(experiments, "CVIQ", "OIQA", "THEIRS", CONFIG, "reference")) == 1
    drawn = split_runs(experiments, "OIQA", 2, CONFIG, "reference")
    assert experiments.key(found[0]) not in map(experiments.key, drawn)


def test_nothing_is_chosen_on_the_target(both):
    """The target's scores change neither weights nor epoch nor its own predictions."""
    experiments = open_both(both)
    run = cross_runs(experiments, "CVIQ", "OIQA", 1, CONFIG, "reference")[0]
    before = protocol.train_and_score(run, experiments.databases, CPU)
    target = experiments.databases["OIQA"]
    experiments.databases["OIQA"] = replace(target, manifest=replace(target.manifest, mos=-3 * target.mos[::-1]))
    after = protocol.train_and_score(run, experiments.databases, CPU)
    assert scores_of([before]) == scores_of([after]) and (before.epoch, before.curve) == (after.epoch, after.curve)


def test_impossible_requests_are_refused(both, tmp_path):
    experiments = open_both(both)
    with pytest.raises(UserError, match="--splits must be at least 1, got 0"):
        cross_runs(experiments, "OIQA", "CVIQ", 0, CONFIG, "reference")
    with pytest.raises(UserError, match="OIQA was given twice"):
        cross_runs(experiments, "OIQA", "OIQA", 1, CONFIG, "reference")
    for workers in (0, -1):
        with pytest.raises(UserError, match="--workers must be at least 1"):
            open_both(both, workers)
    make_workspace(tmp_path, "CVIQ", encoder="another")
    experiments = open_both(both)
    with pytest.raises(ArtefactError, match="encoded differently"):
        outcomes_of(experiments, cross_runs(experiments, "OIQA", "CVIQ", 1, CONFIG, "reference"))


def test_the_callers_threads_come_back(both):
    experiments = open_both(both)
    torch.set_num_threads(2)
    protocol.train_and_score(runs_of(experiments, 1)[0], experiments.databases, CPU)
    assert torch.get_num_threads() == 2


def test_predictions_tell_every_image_and_its_side(both, tmp_path):
    experiments = open_both(both)
    outcomes = outcomes_of(experiments, runs_of(experiments, 1))
    rows = prediction_rows(outcomes, experiments.databases)
    assert len(rows) == 36 + 54 + 36 and list(rows["side"].value_counts().items()) == [
        ("train", 24 + 45),
        ("target", 36),
        ("val", 6 + 9),
        ("test", 6),
    ]
    own = rows[(rows.source == "OIQA")]
    manifest = experiments.databases["OIQA"].manifest
    assert (
        own.image_name.tolist() == manifest.names
        and np.array_equal(own.score, outcomes[0].scores["OIQA"])
        and np.array_equal(own.mos, manifest.mos)
    )
    test = {name for name in own[own.side == "test"].image_name}
    assert {name.split("_")[0] for name in test} == set(outcomes[0].run.split.test)
    write_predictions(outcomes, experiments.databases, tmp_path / "predictions.pt")
    table = pd.read_csv(tmp_path / "predictions.csv")
    np.testing.assert_allclose(table.score, rows.score, atol=5.1e-5)
    content = load_torch(tmp_path / "predictions.pt")
    assert content["columns"]["score"] == rows.score.tolist() and content["runs"][0]["split"] == outcomes[0].run.split.as_dict()


def test_a_control_cannot_reach_a_model_that_does_not_read_it(both):
    experiments = open_both(both)
    own = split_runs(experiments, "OIQA", 1, CONFIG, "reference")
    groups = ablation_runs(experiments, "OIQA", 1, CONFIG, "reference")
    assert groups["full"] == own and set(CONTROLS) < set(groups)
    assert all(replace(groups[name][0], control="") == own[0] for name in CONTROLS)
    control = groups["shuffled text"][0]
    blind = [replace(run, config=replace(CONFIG, model=replace(MODEL, variant="w/o text"))) for run in (own[0], control)]
    results = scores_of(outcomes_of(experiments, [own[0], control, *blind]))
    assert results[0] != results[1] and results[2] == results[3]


# The field's habit beside the honest protocol.


def poisoned(experiments, split):
    """Make features and scores of every image of the test scenes of a split not a number: whoever reads one is found out."""
    database = experiments.databases["OIQA"]
    rows = split.rows(database.manifest.scenes(), "test")
    mos, inputs = database.mos.copy(), database.inputs
    mos[rows] = np.nan
    parts = {name: getattr(inputs, name).clone() for name in ("text", "pooled", "views")}
    levels = tuple(level.clone() for level in inputs.levels)
    for part in [*parts.values(), *levels]:
        part[rows] = torch.nan
    return replace(database, manifest=replace(database.manifest, mos=mos), inputs=replace(inputs, **parts, levels=levels)), rows


def test_honest_runs_never_see_test_rows_and_the_published_protocol_does(both):
    experiments = open_both(both)
    honest = split_runs(experiments, "OIQA", 1, CONFIG, "reference")[0]
    clean = protocol.train_and_score(honest, experiments.databases, CPU)
    database, rows = poisoned(experiments, honest.split)
    found = protocol.train_and_score(honest, {"OIQA": database}, CPU)
    rest = [i for i in range(36) if i not in rows]
    assert len(rows) == 6 and np.isnan(found.scores["OIQA"][rows]).all()
    assert (found.curve, found.epoch) == (clean.curve, clean.epoch)
    assert np.array_equal(found.scores["OIQA"][rest], clean.scores["OIQA"][rest])
    habit = published_run(experiments, "OIQA", CONFIG, "reference")
    with pytest.raises(UserError, match="validation images are not finite"):
        protocol.train_and_score(habit, {"OIQA": database}, CPU)


def test_the_published_protocol_tests_the_same_scenes_and_is_never_taken_for_an_honest_run(both):
    experiments = open_both(both)
    honest = split_runs(experiments, "OIQA", 1, CONFIG, "reference")[0]
    habit = published_run(experiments, "OIQA", CONFIG, "reference")
    assert habit.split.val == honest.split.test and habit.split.test == () and habit.seed == honest.seed == 0
    assert set(habit.split.train) == {*honest.split.train, *honest.split.val}
    assert (honest.measured_side, habit.measured_side) == ("test", "val")
    assert experiments.key(habit) not in {experiments.key(honest), experiments.key(replace(habit, protocol="honest"))}
    for wrong in ({"protocol": "published"}, {"protocol": "other"}, {"control": "text only", "targets": ("CVIQ",)}):
        with pytest.raises(ValueError, match=r"protocol|controls"):
            replace(honest, **wrong)
    outcome = outcomes_of(experiments, [habit])[0]
    val = habit.split.rows(experiments.scenes("OIQA"), "val")
    mos = experiments.databases["OIQA"].mos
    assert max(row["validation"] for row in outcome.curve) == pytest.approx(
        selection_quality(outcome.scores["OIQA"][val], mos[val]), abs=1e-6
    )  # the very figure that is reported was maximised
    assert set(prediction_rows([outcome], experiments.databases).control) == {"published protocol"}
