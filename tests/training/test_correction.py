"""A correction is taught beside a model that stays as it is, chooses by scenes left out, and refuses other features."""

from dataclasses import replace
from functools import partialmethod

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import VIEWS, make_workspace

from mmifn.core.errors import UserError
from mmifn.data.splits import Split
from mmifn.fusion import inputs
from mmifn.fusion.config import ModelConfig
from mmifn.fusion.inputs import load_database
from mmifn.metrics import rmse
from mmifn.scoring.model import Model, load_model, save_model
from mmifn.training import correction
from mmifn.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mmifn.training.configs import Config, TrainConfig
from mmifn.training.correction import CorrectionConfig, teach
from mmifn.training.fit import fit_all, image_scores, pooled, viewport_scores
from mmifn.training.trial import Trial
from tools import correct_model

CPU = torch.device("cpu")
CONFIG = Config(ModelConfig(level_widths=(6, 8, 10), lit_hidden=8, width=8, heads=2),
                TrainConfig(epochs=3, branch_epochs=1, learning_rate=0.01, batch_size=8))
SPLIT = Split(0, "reference", ("s0", "s1", "s2"), ("s3",), ("s4", "s5"))
LESSON = CorrectionConfig(steps=200, every=50, learning_rate=5e-3, weight_decay=0.01, folds=3)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A base model, a database whose views tell one number more, and the model that a correction was taught.

    The number is 1 in one view of every second image; such images lose 30 points, which nothing else tells.
    """
    database = load_database(make_workspace(tmp_path_factory.mktemp("correction")), "OIQA")
    trial = Trial(database, SPLIT, CONFIG, 0)
    fit = fit_all(trial, CPU)
    faulty = torch.arange(len(database.mos)) % 2 == 0
    late = torch.zeros(len(faulty), VIEWS, 1)
    late[faulty, 1] = 1.0
    mos = image_scores(fit, database.inputs) - 30 * faulty.numpy()
    wider = replace(database, inputs=replace(database.inputs, views=torch.cat([database.inputs.views, late], dim=2)),
                    manifest=replace(database.manifest, mos=mos))
    base = Checkpoint.of(fit, trial)
    return base, wider, teach(base, wider, LESSON)


def test_it_learns_what_a_late_number_tells_and_says_so_of_scenes_it_has_not_met(taught):
    _, database, result = taught
    assert rmse(result.before, database.mos) == pytest.approx(30 / np.sqrt(2), abs=0.1)  # half of the images 30 points off
    assert rmse(result.unseen, database.mos) < 8
    assert result.checkpoint.epoch in (50, 100, 150, 200)
    best = max(result.checkpoint.curve, key=lambda row: row["validation"])
    assert best["epoch"] == result.checkpoint.epoch
    assert -best["validation"] == pytest.approx(rmse(result.unseen, database.mos))


def test_fusion_stays_as_it_was(taught):
    base, database, result = taught
    assert all(torch.equal(result.checkpoint.state[key], value) for key, value in base.state.items())
    network = result.checkpoint.network(CPU)
    views = viewport_scores(network, database.inputs, base.scale)
    assert rmse(pooled(network, views, base.scale), database.mos) < 8
    network.correction = None
    given = viewport_scores(network, database.inputs, base.scale).mean(axis=1)
    np.testing.assert_allclose(given, result.before, atol=1e-3)


def with_views(database):
    """The database with scores of views: the faulty view of an image loses all that its image does, the others nothing."""
    faulty = database.inputs.views[..., -1].numpy() > 0
    whole = database.mos + 30 * faulty.any(axis=1)
    views = whole[:, None] - 30.0 * VIEWS * faulty
    views[2] = np.nan  # one whose views nobody judged
    return replace(database, manifest=replace(database.manifest, view_mos=views)), views


def test_the_scores_of_views_are_learnt_where_they_are_known(taught):
    """Without them the points that an image loses may lie in any view; with them they lie where the fault is."""
    base, database, without = taught
    database, views = with_views(database)
    result = teach(base, database, replace(LESSON, view_weight=1.0))
    known = ~np.isnan(views).any(axis=1)
    before, unaware, aware = (rmse(scores[known].ravel(), views[known].ravel())
                              for scores in (result.views_before, without.views, result.views))
    assert aware < 0.7 * unaware and aware < 0.7 * before
    assert rmse(result.unseen, database.mos) < 10 and np.isfinite(result.unseen).all()
    assert result.views.shape == views.shape == (len(database.mos), VIEWS)


def test_views_that_are_not_the_models_are_refused(taught):
    base, database, _ = taught
    database, views = with_views(database)
    wrong = replace(database, manifest=replace(database.manifest, view_mos=views[:, :-1]))
    with pytest.raises(UserError, match=f"scores of {VIEWS - 1} views an image .view_MOS., and its features are of {VIEWS}"):
        teach(base, wrong, LESSON)


def test_the_script_writes_a_corrected_model_and_says_how_far_views_are_off(taught, tmp_path, monkeypatch, capsys):
    base, database, _ = taught
    database, _ = with_views(database)
    save_model(Model(base, None), tmp_path / "base.safetensors")
    monkeypatch.setattr(inputs, "load_database", lambda space, name: replace(database, space=space))
    monkeypatch.setattr(correction.CorrectionConfig, "__init__", partialmethod(CorrectionConfig.__init__, folds=3, steps=20))
    argv = [str(tmp_path / "base.safetensors"), "--root", str(tmp_path), "--dataset", "OIQA", "--out"]
    assert correct_model.main([*argv, str(tmp_path / "out.pth")]) == 2
    assert "ends in .safetensors" in capsys.readouterr().err
    assert correct_model.main([*argv, str(tmp_path / "out.safetensors")]) == 0
    told, table = capsys.readouterr().out, pd.read_csv(tmp_path / "results" / "correction.csv")
    assert f"views of        {len(table) - 1:2d} images, RMSE" in told and f"all            {len(table):2d} images, RMSE" in told
    assert load_model(tmp_path / "out.safetensors").checkpoint.model.late == 1
    np.testing.assert_allclose(table["mos"], database.mos)


def test_a_base_trained_with_late_numbers_gives_the_same_scores_as_one_that_never_saw_them(taught):
    _, database, _ = taught
    late = replace(CONFIG, model=replace(CONFIG.model, late=1))
    narrow = replace(database, inputs=replace(database.inputs, views=database.inputs.views[..., :-1]))
    fits = [fit_all(Trial(given, SPLIT, config, 0), CPU) for given, config in ((database, late), (narrow, CONFIG))]
    scores = [image_scores(fit, given.inputs) for fit, given in zip(fits, (database, narrow), strict=True)]
    np.testing.assert_allclose(*scores, atol=1e-3)
    bases = [Checkpoint.of(fit, Trial(given, SPLIT, config, 0))
             for fit, given, config in zip(fits, (database, narrow), (late, CONFIG), strict=True)]
    first, second = (teach(each, database, LESSON) for each in bases)
    np.testing.assert_allclose(first.unseen, second.unseen, atol=1e-2)
    with pytest.raises(UserError, match="--late 13: a view has 13 numbers; leave the fusion one"):
        fit_all(Trial(database, SPLIT, replace(CONFIG, model=replace(CONFIG.model, late=13)), 0), CPU)


def test_a_corrected_model_is_written_and_read(taught, tmp_path):
    _, database, result = taught
    save_checkpoint(result.checkpoint, tmp_path / "corrected.pth")
    back = load_checkpoint(tmp_path / "corrected.pth")
    assert back.model.late == 1 and back.model.worst_views
    np.testing.assert_array_equal(viewport_scores(back.network(CPU), database.inputs, back.scale),
                                  viewport_scores(result.checkpoint.network(CPU), database.inputs, back.scale))


def test_it_is_taught_the_same_way_by_the_same_seed(taught):
    base, database, result = taught
    again = teach(base, database, LESSON)
    assert all(torch.equal(again.checkpoint.state[key], value) for key, value in result.checkpoint.state.items())
    np.testing.assert_array_equal(again.unseen, result.unseen)


def test_what_does_not_fit_is_refused(taught):
    base, database, result = taught
    same = replace(database, inputs=replace(database.inputs, views=database.inputs.views[..., :-1]))
    for model, given in ((base, same), (result.checkpoint, database)):
        with pytest.raises(UserError, match="wanted a model not yet corrected, and features that tell more of"):
            teach(model, given, LESSON)
    with pytest.raises(UserError, match="6 scenes are too few for 7 folds"):
        teach(base, database, replace(LESSON, folds=7))
    with pytest.raises(UserError, match="--folds must be at least 2, got 1"):
        CorrectionConfig(folds=1)
