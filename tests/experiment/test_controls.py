"""Controls take away what they say and leave the rest alone."""

from dataclasses import replace

import pytest
import torch

from mmifn.data.splits import Split
from mmifn.experiment import controls
from mmifn.experiment import runs as protocol
from mmifn.experiment.controls import CONTROLS, SHUFFLED, TEXT_ONLY, TYPE_ONLY, UNTRAINED, controlled
from mmifn.experiment.runs import Run, train_and_score
from mmifn.fusion.config import ModelConfig
from mmifn.fusion.model import MMIFN
from mmifn.training.configs import Config, TrainConfig
from mmifn.training.fit import build
from mmifn.training.trial import Trial

CPU = torch.device("cpu")
MODEL = ModelConfig(level_widths=(4, 4, 4), lit_hidden=6, width=6, heads=2)
TRAIN = TrainConfig(epochs=2, branch_epochs=1, learning_rate=0.01, batch_size=16)
SPLIT = Split(0, "reference", ("s0", "s1", "s2"), ("s3",), ("s4", "s5"))
RUN = Run("OIQA", SPLIT, Config(MODEL, TRAIN), 0)


def visual(database):
    return [database.inputs.views, *database.inputs.levels]


def text(database):
    return [database.inputs.text, database.inputs.mask, database.inputs.pooled]


def same(a, b):
    return all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("control", CONTROLS)
def test_each_control_changes_only_its_part(database, control):
    found = controlled(database, control, seed=0)
    assert same(visual(found), visual(database)) == (control != TEXT_ONLY)
    assert same(text(found), text(database)) == (control in (TEXT_ONLY, UNTRAINED))
    assert (found.digest == database.digest) == (control == UNTRAINED)
    assert found.manifest is database.manifest and found.inputs.dimensions == database.inputs.dimensions


def test_shuffled_text_gives_every_image_the_words_of_another(database):
    pooled, given = database.inputs.pooled.tolist(), controlled(database, SHUFFLED, 0).inputs.pooled.tolist()
    assert sorted(pooled) == sorted(given) and all(a != b for a, b in zip(pooled, given, strict=True))
    assert not same(text(controlled(database, SHUFFLED, 0)), text(controlled(database, SHUFFLED, 1)))


def test_type_tokens_tell_the_type_and_nothing_else(database):
    found = controlled(database, TYPE_ONLY, 0).inputs
    kinds = database.manifest.types
    assert found.text.shape == (36, 1, 10) and bool(found.mask.all())
    for part in (found.text[:, 0], found.pooled):
        vectors = {kind: set() for kind in kinds}
        for kind, row in zip(kinds, part.tolist(), strict=True):
            vectors[kind].add(tuple(row))
        assert all(len(rows) == 1 for rows in vectors.values()) and vectors["JPEG"] != vectors["GN"]
    own = database.inputs
    assert found.pooled.norm(dim=1).mean() == pytest.approx(float(own.pooled.norm(dim=1).mean()), rel=1e-5)
    assert found.text.norm(dim=2).mean() == pytest.approx(float(own.text[own.mask].norm(dim=1).mean()), rel=1e-5)


def test_text_only_leaves_nothing_to_see(database):
    blank = controlled(database, TEXT_ONLY, 0)
    assert not any(part.any() for part in visual(blank))
    other = replace(database, inputs=replace(database.inputs, views=database.inputs.views.flip(0) * 3))
    seen = [train_and_score(replace(RUN, control=TEXT_ONLY), {"OIQA": each}, CPU).scores["OIQA"] for each in (database, other)]
    assert seen[0].tolist() == seen[1].tolist() and seen[0].std() > 0


def test_untrained_branches_stay_as_they_were_initialised(database, monkeypatch):
    kept = []
    real = protocol.fit_joint
    monkeypatch.setattr(protocol, "fit_joint", lambda *args: kept.append(real(*args)) or kept[0])
    unfitted = Config(MODEL, replace(TRAIN, branch_epochs=0))
    train_and_score(replace(RUN, control=UNTRAINED, config=unfitted), {"OIQA": database}, CPU)
    fresh = build(MMIFN, Trial(database, SPLIT, unfitted, 0)).state_dict()
    for key, value in kept[0].network.state_dict().items():
        if key.startswith(("global_branch", "local_branch")):
            assert torch.equal(value, fresh[key]), key
    assert not torch.equal(kept[0].network.state_dict()["fusion.query.conv.weight"], fresh["fusion.query.conv.weight"])


def test_every_control_gives_other_scores_than_the_full_model(database):
    scores = {control: train_and_score(replace(RUN, control=control), {"OIQA": database}, CPU).scores["OIQA"].tolist()
              for control in ("", *CONTROLS)}
    assert len({tuple(values) for values in scores.values()}) == 1 + len(CONTROLS) == 1 + len(set(controls.CONTROLS.values()))
