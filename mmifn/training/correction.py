"""Teach a trained model what it has not met: points to add to every view's score, and how much the worst views count.

Fusion stays as it is. What is taught reads the view's own numbers, those that fusion was not given among them, and the score
that fusion gave. Where the scores of single views are known (des.csv's view_MOS) it learns those as well, so that a view's
score means something by itself. How many steps to take is chosen by scenes left out in turn; the scores that those gave are
returned, for they are of scenes that the correction has not met.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from mmifn.core.errors import UserError
from mmifn.fusion.inputs import Database
from mmifn.fusion.model import MMIFN, Uncorrected
from mmifn.training.checkpoint import Checkpoint
from mmifn.training.fit import pooled, viewport_scores


@dataclass(frozen=True)
class CorrectionConfig:
    """How a correction is taught: steps of Adam over all images at once, looked at after `every`; folds: of scenes, to choose the
    number of steps by.

    flawless_weight: how many times a flawless image counts, of which there are few; view_weight: how much the errors of single
    views count beside those of panoramas.
    """

    steps: int = 300
    every: int = 20
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    folds: int = 9
    flawless_weight: float = 4.0
    view_weight: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in (("steps", 1), ("every", 1), ("folds", 2)):
            if getattr(self, name) < low:
                raise UserError(f"--{name} must be at least {low}, got {getattr(self, name)}")


@dataclass(frozen=True)
class _Lesson:
    """What a correction learns from: views (N, V, D); scores that fusion gave (N, V), targets (N,) and targets of views (N, V),
    NaN where unknown, all standardised; and how much an image counts (N,)."""

    views: Tensor
    scores: Tensor
    target: Tensor
    view_target: Tensor
    weight: Tensor

    def __getitem__(self, rows: np.ndarray) -> _Lesson:
        return _Lesson(self.views[rows], self.scores[rows], self.target[rows], self.view_target[rows], self.weight[rows])

    def loss(self, network: MMIFN, view_weight: float) -> Tensor:
        """Return the mean squared error of a corrected network's panoramas, and of its views where their scores are known."""
        corrected = network.corrected(self.views, self.scores)
        error = (self.weight * (network.pool(corrected) - self.target) ** 2).mean()
        known = ~self.view_target.isnan().any(dim=1)
        if not known.any():
            return error
        views = (self.weight[known, None] * (corrected[known] - self.view_target[known]) ** 2).mean()
        return error + view_weight * views


def correctable(base: Checkpoint, database: Database) -> MMIFN:
    """Return the base's network with an untaught correction for what the database tells of a view beyond the base's numbers.

    Raises UserError where the features are not the base's with numbers added at the end of every view.
    """
    given, known = database.inputs.dimensions, base.dims
    late = given.view - known.view + base.model.late
    taught = any(key.startswith("correction.leave") and value.any() for key, value in base.state.items())
    if taught or late < 1 or replace(given, view=known.view) != known or given.view < known.view:
        state = "already" if taught else "not yet"
        raise UserError(f"{database.name} has features of {given}, and the model, {state} corrected, reads {known}, "
                        f"{base.model.late} of a view's numbers late; wanted a model not yet corrected, and features that tell "
                        "more of every view than its fusion reads: encode the database with such a preset")
    network = MMIFN(replace(base.model, late=late, worst_views=True), given)
    added = ("pool.", "correction.", "standardise_views.")
    state = {key: value for key, value in base.state.items() if not key.startswith(added)}
    missing = network.load_state_dict(state, strict=False)
    if missing.unexpected_keys or any(not key.startswith(added) for key in missing.missing_keys):
        raise UserError("the parameters of the base do not fit its own configuration; train it again: python train.py")
    network.correction.requires_grad_(True)
    return network.eval()


@dataclass(frozen=True)
class Taught:
    """A corrected model, and scores (N,) of the images it was taught by: before, and of corrections that have not met the
    image's scene; views_before, views: the same of every view, (N, V)."""

    checkpoint: Checkpoint
    before: np.ndarray
    unseen: np.ndarray
    views_before: np.ndarray
    views: np.ndarray


def teach(base: Checkpoint, database: Database, config: CorrectionConfig) -> Taught:
    """Teach the base a correction by all images of a database."""
    network = correctable(base, database)
    target = base.scale.standardise(database.mos)
    scenes = np.array(database.manifest.scenes())
    weight = np.where(np.array(database.manifest.types) == "pristine", config.flawless_weight, 1.0)
    fused = _fused(network, base, database)
    lesson = _Lesson(database.inputs.views, fused, target, _view_target(base, database), torch.from_numpy(weight).float())
    fold = _folds(scenes, config)
    marks = range(0, config.steps + 1, config.every)
    unseen, views = np.zeros((len(marks), len(scenes))), np.zeros((len(marks), *fused.shape))
    for k in range(config.folds):
        rows = fold == k
        for i, state in enumerate(_lessons(network, lesson[~rows], config)):
            views[i, rows] = _view_scores(state, lesson[rows], base)
            unseen[i, rows] = pooled(state, views[i, rows], base.scale)
    errors = np.sqrt(np.average((unseen - database.mos) ** 2, axis=1, weights=weight))
    best = int(errors.argmin())
    taught = next(islice(_lessons(network, lesson, config), best, None))
    curve = [{"epoch": step, "validation": float(-error)} for step, error in zip(marks, errors, strict=True)]
    state = {key: value.detach().cpu() for key, value in taught.state_dict().items()}
    corrected = replace(base, model=replace(base.model, late=database.inputs.dimensions.view - network.local_branch.known,
                                            worst_views=True), dims=database.inputs.dimensions, epoch=marks[best],
                        digest=database.digest, method=database.method, curve=curve, state=state)
    return Taught(corrected, unseen[0], unseen[best], views[0], views[best])


def _view_target(base: Checkpoint, database: Database) -> Tensor:
    """Return the known scores of views (N, V), standardised, NaN where unknown. Raises UserError where V is not the model's."""
    known, shape = database.manifest.view_mos, database.inputs.views.shape[:2]
    if known is None:
        return torch.full(shape, torch.nan)
    if known.shape != shape:
        raise UserError(f"{database.name}: des.csv has scores of {known.shape[1]} views an image (view_MOS), and its features "
                        f"are of {shape[1]}; wanted the same views in the same order: encode it with --sampler "
                        "dodecahedron-20, or take the column out")
    return base.scale.standardise(known)


def _fused(network: MMIFN, base: Checkpoint, database: Database) -> Tensor:
    """Return what fusion gives to every view, (N, V), before anything is added."""
    given = viewport_scores(Uncorrected(network), database.inputs, base.scale)
    return torch.from_numpy((given - base.scale.mean) / base.scale.sd).float()


def _folds(scenes: np.ndarray, config: CorrectionConfig) -> np.ndarray:
    places = sorted(set(scenes))
    if len(places) < config.folds:
        raise UserError(f"{len(places)} scenes are too few for {config.folds} folds; wanted at least as many")
    order = np.random.default_rng(config.seed).permutation(len(places))
    of = {places[place]: k % config.folds for k, place in enumerate(order)}
    return np.array([of[scene] for scene in scenes])


def _lessons(network: MMIFN, lesson: _Lesson, config: CorrectionConfig) -> Iterator[MMIFN]:
    """Yield the network after 0, every, 2 every, … steps."""
    torch.manual_seed(config.seed)
    taught = copy.deepcopy(network)
    taught.standardise_views.fit(lesson.views)
    taught.correction.enter.reset_parameters()
    learning = [*taught.correction.parameters(), *taught.pool.parameters()]
    optimizer = torch.optim.AdamW(learning, config.learning_rate, weight_decay=config.weight_decay)
    yield taught
    for step in range(1, config.steps + 1):
        loss = lesson.loss(taught, config.view_weight)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step % config.every == 0:
            yield taught


@torch.inference_mode()
def _view_scores(network: MMIFN, lesson: _Lesson, base: Checkpoint) -> np.ndarray:
    return base.scale.restore(network.corrected(lesson.views, lesson.scores))
