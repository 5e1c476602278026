"""Training learns from training scenes only, chooses by validation, repeats exactly, and refuses what does not fit."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_workspace

from mmifn.core.artefact import load, load_torch, save, save_torch
from mmifn.core.errors import ArtefactError, UserError
from mmifn.data.features import FusedFeatures, TextFeatures
from mmifn.data.splits import Split, make_split
from mmifn.experiment.runs import Run, train_and_score
from mmifn.fusion.config import ModelConfig
from mmifn.fusion.inputs import load_database
from mmifn.metrics import plcc, srcc
from mmifn.training import fit as training
from mmifn.training.branches import CACHES, make_branch_cache, train_jointly
from mmifn.training.checkpoint import Checkpoint, load_checkpoint, require_method, save_checkpoint
from mmifn.training.configs import Config, TrainConfig
from mmifn.training.fit import MosScale, fit_all, fit_joint, image_scores, seeded, viewport_scores
from mmifn.training.trial import Trial

CPU = torch.device("cpu")
MODEL = ModelConfig(level_widths=(6, 8, 10), lit_hidden=8, width=8, heads=2)
TRAIN = TrainConfig(epochs=4, branch_epochs=3, learning_rate=0.01, batch_size=8)
SLOW = replace(TRAIN, learning_rate=0.003)  # the first epoch is not the best, so that their number matters
SPLIT = Split(0, "reference", ("s0", "s1", "s2"), ("s3",), ("s4", "s5"))


def run(database, model=MODEL, train=TRAIN, split=SPLIT, seed=0):
    """Return the fit and the score of every image."""
    fit = fit_all(Trial(database, split, Config(model, train), seed), CPU)
    return fit, image_scores(fit, database.inputs)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The fit and the scores of the plain run, made once."""
    return run(load_database(make_workspace(tmp_path_factory.mktemp("base")), "OIQA"))


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    return run(load_database(make_workspace(tmp_path_factory.mktemp("slow")), "OIQA"), train=SLOW)


def with_mos(database, mos):
    return replace(database, manifest=replace(database.manifest, mos=mos))


def rows_of(database, *sides):
    return [i for side in sides for i in SPLIT.rows(database.manifest.scenes(), side)]


def test_a_whole_database_is_trained_on_but_for_what_validates(database):
    trial = Trial.drawn(database, "reference", Config(MODEL, TRAIN), 0, whole=True)
    assert trial.rows("test") == [] and sorted(trial.rows("train") + trial.rows("val")) == list(range(len(database.mos)))
    assert len(trial.split.val) == 1 == len(Trial.drawn(database, "reference", Config(MODEL, TRAIN), 0).split.test)


def test_it_learns(database):
    fit, scores = run(database, train=replace(TRAIN, epochs=12))
    test = rows_of(database, "test")
    assert plcc(scores[test], database.mos[test]) > 0.9
    assert fit.curve[-1]["loss"] < 0.5 * fit.curve[0]["loss"] and [row["epoch"] for row in fit.curve] == list(range(1, 13))


# What training may not see.


def test_test_scores_change_nothing(database, base):
    """Neither epoch nor scale nor weights: the field's commonest mistake is to choose the epoch on the test set."""
    fit, scores = base
    mos = database.mos.copy()
    mos[rows_of(database, "test")] = 1000 - 7 * mos[rows_of(database, "test")]
    other, other_scores = run(with_mos(database, mos))
    assert (
        np.array_equal(scores, other_scores)
        and fit.curve == other.curve
        and fit.scale == other.scale
        and fit.epoch == other.epoch
    )


def test_features_of_test_images_change_nothing_but_their_own_scores(database, base):
    _, scores = base
    test = rows_of(database, "test")
    views = database.inputs.views.clone()
    views[test] *= -50
    _, other = run(replace(database, inputs=replace(database.inputs, views=views)))
    rest = rows_of(database, "train", "val")
    assert np.array_equal(scores[rest], other[rest]) and not np.array_equal(scores[test], other[test])


def test_the_scale_of_scores_is_that_of_the_training_images(database, base):
    fit, _ = base
    mos = database.mos[rows_of(database, "train")]
    assert (fit.scale.mean, fit.scale.sd) == pytest.approx((mos.mean(), mos.std()), rel=1e-12)
    assert not np.isclose(database.mos.mean(), mos.mean()) and not np.isclose(
        database.mos[rows_of(database, "test")].std(), mos.std()
    )
    standard = fit.scale.standardise(mos)
    assert float(standard.mean()) == pytest.approx(0, abs=1e-5) and float(standard.std(unbiased=False)) == pytest.approx(
        1, abs=1e-5
    )
    np.testing.assert_allclose(fit.scale.restore(standard), mos, rtol=1e-5)
    assert MosScale.fit(np.full(4, 7.0)) == MosScale(7.0, 1.0)


def test_predictions_follow_the_scale_of_the_scores(database, base):
    _, scores = base
    _, other = run(with_mos(database, database.mos * 0.1 + 3))
    np.testing.assert_allclose(other, scores * 0.1 + 3, rtol=1e-4)


def test_feature_scales_come_from_training_images(database, base):
    fit, _ = base
    rows = rows_of(database, "train")
    wanted = database.inputs.views[rows].flatten(0, 1).mean(dim=0)
    torch.testing.assert_close(fit.network.local_branch.standardise.mean, wanted)
    wanted = database.inputs.levels[1][rows].flatten(0, 1).std(dim=0)
    torch.testing.assert_close(1 / fit.network.global_branch.standardise[1].scale, wanted)


# The best epoch.


@pytest.mark.parametrize(("last", "kept_epoch"), [(False, 2), (True, 4)])
def test_the_epoch_is_the_best_on_validation_or_the_last_and_its_state_is_kept(database, monkeypatch, last, kept_epoch):
    real, seen = training._validation_quality, []
    script = iter([0.1] * 6 + [0.2, 0.8, 0.5, 0.3])  # 3 + 3 epochs of the branches, then 4 of the joint training

    def scripted(fit, *args):
        seen.append({key: value.clone() for key, value in fit.network.state_dict().items()})
        real(fit, *args)
        return next(script)

    monkeypatch.setattr(training, "_validation_quality", scripted)
    fit, _ = run(database, train=replace(TRAIN, last_epoch=last))
    assert fit.epoch == kept_epoch and [row["validation"] for row in fit.curve] == [0.2, 0.8, 0.5, 0.3]
    kept = fit.network.state_dict()
    same = [all(torch.equal(kept[key], state[key]) for key in kept) for state in seen[6:]]
    assert same == [epoch == kept_epoch for epoch in range(1, 5)]


def test_validation_is_the_mean_of_plcc_and_srcc_of_the_validation_scenes(database, base):
    fit, scores = base
    val = rows_of(database, "val")
    wanted = 0.5 * (plcc(scores[val], database.mos[val]) + srcc(scores[val], database.mos[val]))
    assert fit.curve[fit.epoch - 1]["validation"] == pytest.approx(wanted, abs=1e-6)
    assert fit.curve[fit.epoch - 1]["validation"] == max(row["validation"] for row in fit.curve)


# Repetition.


def test_the_same_seed_gives_the_same_numbers_and_another_others(database):
    fit, scores = run(database)
    torch.rand(5)  # whatever happened before
    again, same = run(database)
    assert np.array_equal(scores, same) and fit.curve == again.curve
    _, other = run(database, seed=1)
    assert not np.array_equal(scores, other)


def test_seeds_do_not_collide_and_leave_the_callers_randomness_alone():
    draws = {}
    torch.manual_seed(5)
    for parts in [("joint", seed) for seed in range(130)] + [("branch", "gff", 1), ("branch", "lff", 1), ("x", 12), ("x", 21)]:
        with seeded(*parts) as generator:
            draws[parts] = (
                float(torch.rand(1, dtype=torch.float64)),
                float(torch.rand(1, generator=generator, dtype=torch.float64)),
            )
    assert len({first for first, _ in draws.values()}) == len(draws)
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3))


def test_every_image_is_scored_whatever_the_batch(database, base):
    """A loader that drops the last partial batch would lose 36 % 7 = 1 image."""
    fit, _ = base
    whole = viewport_scores(fit.network, database.inputs, fit.scale, batch_size=64)
    assert whole.shape == (36, 5)
    for size in (1, 7, 35, 36):
        np.testing.assert_allclose(viewport_scores(fit.network, database.inputs, fit.scale, batch_size=size), whole, rtol=1e-5)


def test_every_training_image_is_learnt_from_in_every_epoch(database, monkeypatch):
    real, seen = training._mse, []
    monkeypatch.setitem(training.LOSSES, "mse", lambda score, target: seen.append(target) or real(score, target))
    run(database, train=replace(TRAIN, epochs=1, branch_epochs=0, batch_size=7))
    wanted = MosScale.fit(database.mos[rows_of(database, "train")]).standardise(database.mos[rows_of(database, "train")])
    assert [len(batch) for batch in seen] == [7, 7, 4]
    assert torch.equal(torch.cat(seen).sort().values, wanted.sort().values)


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 1},
        {"branch_epochs": 1},
        {"branch_epochs": 0},
        {"learning_rate": 0.02},
        {"weight_decay": 0.5},
        {"batch_size": 5},
        {"loss": "mse+plcc"},
        {"schedule": "cosine"},
        {"freeze_branches": True},
    ],
)
def test_every_training_option_changes_the_scores(database, slow, change):
    fit, scores = slow
    _, other = run(database, train=replace(SLOW, **change))
    assert fit.epoch > 1 and not np.array_equal(scores, other)


def test_dropout_changes_the_scores(database, base):
    assert not np.array_equal(base[1], run(database, model=replace(MODEL, dropout=0.5))[1])
    assert not np.array_equal(base[1], run(database, model=replace(MODEL, text_dropout=0.5))[1])


def test_losses_and_schedules_by_hand():
    score, target = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 3.0, 2.0])
    assert float(training.LOSSES["mse"](score, target)) == pytest.approx(5 / 3)
    correlation = np.corrcoef(score, target)[0, 1]
    assert float(training.LOSSES["mse+plcc"](score, target)) == pytest.approx(5 / 3 + 1 - correlation, abs=1e-6)
    assert [training.SCHEDULES["cosine"](done) for done in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])
    assert training.SCHEDULES["constant"](0.9) == 1


def test_the_optimiser_is_adamax(database, monkeypatch):
    made = []
    real = torch.optim.Adamax
    monkeypatch.setattr(torch.optim, "Adamax", lambda *args, **kwargs: made.append((args[1], kwargs)) or real(*args, **kwargs))
    run(database, train=replace(TRAIN, weight_decay=0.25))
    assert made == [(0.01, {"weight_decay": 0.25})] * 3


def test_frozen_branches_stay_and_the_rest_learns(database):
    frozen = Trial(database, SPLIT, Config(MODEL, replace(TRAIN, freeze_branches=True)), 0)
    branches = {name: training.fit_branch(name, frozen, CPU).network.branch.state_dict() for name in training.BRANCHES}
    fresh = training.build(training.MMIFN, frozen).state_dict()
    fit = fit_joint(frozen, CPU, branches)
    for key, value in fit.network.state_dict().items():
        part, _, rest = key.partition(".")
        if part in ("global_branch", "local_branch"):
            assert torch.equal(value, branches["gff" if part == "global_branch" else "lff"][rest]), key
        else:
            assert not torch.equal(value, fresh[key]) or value.numel() == 1, key
    thawed = fit_joint(Trial(database, SPLIT, Config(MODEL, TRAIN), 0), CPU, branches).network.state_dict()
    assert not torch.equal(thawed["local_branch.lff.conv.conv.weight"], branches["lff"]["lff.conv.conv.weight"])


# Refusals.


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ({"epochs": 0}, "--epochs"),
        ({"branch_epochs": -1}, "--branch-epochs"),
        ({"batch_size": 0}, "--batch-size"),
        ({"learning_rate": 0.0}, "--learning-rate"),
        ({"learning_rate": float("nan")}, "--learning-rate"),
        ({"learning_rate": float("inf")}, "--learning-rate"),
        ({"weight_decay": -1.0}, "--weight-decay"),
        ({"weight_decay": float("nan")}, "--weight-decay"),
        ({"loss": "mse+plcc", "batch_size": 1}, "--batch-size"),
        ({"freeze_branches": True, "branch_epochs": 0}, "--freeze-branches"),
    ],
)
def test_settings_that_cannot_train_are_refused(change, flag):
    with pytest.raises(UserError, match=flag):
        TrainConfig(**change)


@pytest.mark.parametrize(
    ("split", "words"),
    [(Split(4, "reference", ("s0",), ("s1",), ()), "validation"), (Split(4, "reference", ("s1",), ("s0",), ()), "training")],
)
def test_sides_too_small_to_learn_from_are_refused(database, split, words):
    few = replace(database.manifest, references=["s1" if i < 2 else "s0" if i < 9 else "s9" for i in range(36)])
    with pytest.raises(UserError, match=rf"OIQA: split 4 has 2 {words} image\(s\), at least 3"):
        run(replace(database, manifest=few), split=split)


def test_a_loss_or_a_score_that_is_not_finite_is_a_message(database):
    broken = database.inputs.views.clone()
    broken[rows_of(database, "train")[0]] = torch.nan
    with pytest.raises(UserError, match="the training loss is not finite"):
        run(replace(database, inputs=replace(database.inputs, views=broken)))
    broken = database.inputs.views.clone()
    broken[rows_of(database, "val")[0]] = torch.nan
    with pytest.raises(UserError, match="the scores of the validation images are not finite"):
        run(replace(database, inputs=replace(database.inputs, views=broken)))


# The staged flow.


def staged(space, database, config, split=SPLIT, seed=0):
    for branch in ("gff", "lff"):
        make_branch_cache(branch, space, Trial(database, split, config, seed), CPU)
    return train_jointly(space, Trial(database, split, config, seed), CPU)


@pytest.mark.parametrize("train", [TRAIN, replace(TRAIN, freeze_branches=True), replace(TRAIN, branch_epochs=0)])
@pytest.mark.parametrize("variant", ["full", "w/o GFF"])
def test_the_staged_scripts_are_the_protocol(space, database, train, variant):
    """gff_module, lff_module and train.py give exactly the scores of one run of evaluate.py."""
    model = replace(MODEL, variant=variant)
    if train.branch_epochs:
        fit = staged(space, database, Config(model, train))
    else:
        fit = train_jointly(space, Trial(database, SPLIT, Config(model, train), 0), CPU)
    outcome = train_and_score(Run("OIQA", SPLIT, Config(model, train), 0), {"OIQA": database}, CPU)
    assert np.array_equal(image_scores(fit, database.inputs), outcome.scores["OIQA"])
    assert (fit.epoch, fit.curve) == (outcome.epoch, outcome.curve)


def test_branch_caches_hold_every_image_and_what_made_them(space, database):
    cache, there = make_branch_cache("lff", space, Trial(database, SPLIT, Config(MODEL, TRAIN), 0), CPU)
    path = space.features("OIQA", CACHES["lff"])
    back = load(path, FusedFeatures, dataset="OIQA")
    assert not there and back.digest() == cache.digest()
    assert back.names == database.manifest.names and back.fused.shape == (36, 5, 10) and back.branch == "lff"
    assert back.split == SPLIT.as_dict() and back.made_by.inputs == {"database": database.digest}
    branch = training.LocalBranch(MODEL, database.inputs.dimensions).eval()
    branch.load_state_dict(back.state)
    with torch.no_grad():
        torch.testing.assert_close(back.fused, branch(database.inputs), atol=1e-6, rtol=0)
    again, there = make_branch_cache("lff", space, Trial(database, SPLIT, Config(MODEL, TRAIN), 0), CPU)
    assert there and again.digest() == cache.digest()
    for change in (
        {"config": Config(replace(MODEL, width=12), TRAIN)},
        {"split": make_split(database.manifest.scenes(), 7)},
        {"seed": 1},
    ):
        _, there = make_branch_cache("lff", space, replace(Trial(database, SPLIT, Config(MODEL, TRAIN), 0), **change), CPU)
        assert not there


def test_a_damaged_branch_cache_is_made_again(space, database):
    path = space.features("OIQA", CACHES["lff"])
    path.write_bytes(b"half")
    _, there = make_branch_cache("lff", space, Trial(database, SPLIT, Config(MODEL, TRAIN), 0), CPU)
    assert not there and load(path, FusedFeatures).names == database.manifest.names


@pytest.fixture
def stale(space, database):
    """Branch caches are there; returns what train.py says when it runs otherwise."""
    staged(space, database, Config(MODEL, TRAIN))

    def message(database=database, split=SPLIT, model=MODEL, train=TRAIN, seed=0):
        with pytest.raises(ArtefactError) as caught:
            train_jointly(space, Trial(database, split, Config(model, train), seed), CPU)
        assert "Rebuild it: python gff_module.py --dataset OIQA (same flags), or use --from-scratch" in str(caught.value)
        return str(caught.value)

    return message


def test_branches_of_another_run_are_refused(stale, space, database):
    other = make_split(database.manifest.scenes(), 7)
    assert f"split: file seed 0 (test s4, s5), run seed 7 (test {', '.join(other.test)})" in stale(split=other)
    assert "model.width: file 8, run 12" in stale(model=replace(MODEL, width=12))
    assert "model.variant: file full, run w/o text" in stale(model=replace(MODEL, variant="w/o text"))
    assert "train.learning_rate: file 0.01, run 0.02" in stale(train=replace(TRAIN, learning_rate=0.02))
    assert "seed: file 0, run 5" in stale(seed=5)
    manifest = space.manifest("OIQA")
    manifest.write_text(manifest.read_text().replace("JPEG,s0,1", "GN,s0,1"))
    assert "features or scores: made from others than are there now" in stale(database=load_database(space, "OIQA"))
    space.features("OIQA", CACHES["gff"]).unlink()
    assert "global_fusion_features.pt does not exist" in stale()


def test_epochs_and_freezing_do_not_need_new_branches(space, database):
    staged(space, database, Config(MODEL, TRAIN))
    for train in (replace(TRAIN, epochs=1), replace(TRAIN, freeze_branches=True)):
        assert train_jointly(space, Trial(database, SPLIT, Config(MODEL, train), 0), CPU).epoch


# Checkpoints.


@pytest.fixture
def trained(database, base):
    fit, scores = base
    return Checkpoint.of(fit, Trial(database, SPLIT, Config(MODEL, TRAIN), 0)), scores


def test_a_checkpoint_comes_back_whole(trained, space, database):
    checkpoint, scores = trained
    save_checkpoint(checkpoint, space.checkpoint)
    back = load_checkpoint(space.checkpoint)
    for part in dataclasses.fields(Checkpoint):
        if part.name != "state":
            assert getattr(back, part.name) == getattr(checkpoint, part.name), part.name
    assert np.array_equal(viewport_scores(back.network(CPU), database.inputs, back.scale).mean(axis=1), scores)
    assert back.split == SPLIT and back.mos_source == "human" and back.mos_scale == "0-100" and back.digest == database.digest
    require_method(back, database.method, "OIQA", space.checkpoint, "Train again")


def test_a_checkpoint_of_other_features_is_refused(trained, tmp_path):
    other = load_database(make_workspace(tmp_path / "other", encoder="another"), "OIQA")
    with pytest.raises(ArtefactError, match="trained on features of other encoders") as caught:
        require_method(trained[0], other.method, "OIQA", tmp_path / "x.pth", "Train again")
    assert all(name in str(caught.value) for name in ("text_features  file", "viewport_features  file", "global_features  file"))


def test_damaged_and_foreign_checkpoints_are_refused(trained, space):
    path = space.checkpoint
    with pytest.raises(ArtefactError, match=r"does not exist\nMake it: python train.py"):
        load_checkpoint(path)
    save_checkpoint(trained[0], path)
    content = load_torch(path)
    for change, words in (
        ({"schema": "checkpoint/0"}, "found checkpoint/0, wanted checkpoint/2"),
        ({"more": 1}, "is not whole"),
        ({"model": {"depth": 3}}, "is not whole"),
        ({"model": {**content["model"], "variant": "w/o all"}}, "is not whole"),
    ):
        save_torch({**content, **change}, path)
        with pytest.raises(ArtefactError, match=words):
            load_checkpoint(path)
    save(load(space.features("OIQA", "text_features"), TextFeatures), path)
    with pytest.raises(ArtefactError, match="found text_features/1"):
        load_checkpoint(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ArtefactError, match="damaged"):
        load_checkpoint(path)
