"""A correction is taught beside a model that stays as it is, chooses by scenes left out, and refuses other features."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import VIEWS, make_workspace

from mmifn.core.errors import UserError
from mmifn.data.splits import Split
from mmifn.fusion.config import ModelConfig
from mmifn.fusion.inputs import load_database
from mmifn.metrics import rmse
from mmifn.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mmifn.training.configs import Config, TrainConfig
from mmifn.training.correction import CorrectionConfig, teach
from mmifn.training.fit import fit_all, image_scores, pooled, viewport_scores
from mmifn.training.trial import Trial

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
