"""Baselines under the very splits of MMIFN: what simpler methods reach with the same training scenes.

Learnt baselines see the training scenes only; their strengths are chosen on the validation scenes by the quality that
chooses MMIFN's epoch, features and scores are standardised on the training scenes, and nothing is refitted afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.svm import SVR

from mmifn.core.errors import UserError
from mmifn.core.progress import Progress
from mmifn.experiment.measurements import Measurements, measure_full_reference, measure_statistics
from mmifn.experiment.runs import Experiments, Outcome
from mmifn.fullref.metrics import METRICS
from mmifn.fusion.inputs import Database
from mmifn.metrics import selection_quality
from mmifn.training.fit import MosScale

# Training rows, validation rows -> the score of every image, (N,).
Scorer = Callable[[list[int], list[int]], np.ndarray]
NO_REFERENCE, TOLD, FULL_REFERENCE = "no reference", "told labels", "full reference"

# From strong to weak regularisation: of equal qualities on validation the first is kept.
RIDGES = [10.0 ** power for power in range(6, -2, -1)]
SVRS = [(c, gamma) for c in (0.3, 1.0, 3.0, 10.0, 30.0, 100.0) for gamma in (0.1, 0.3, 1.0)]  # gamma x number of features


@dataclass(frozen=True)
class Baseline:
    """A method with its name in print and the block of the table that it belongs to."""

    name: str
    block: str
    score: Scorer


def gather_baselines(experiments: Experiments, dataset: str, full_reference: bool,
                     statistics: bool = True) -> tuple[list[Baseline], list[str]]:
    """Return the baselines of a database, and in words which are left out and why.

    Those on caches need nothing more; statistics and full-reference metrics are measured on the images where these are
    (and the pristine ones).
    """
    database, left_out = experiments.databases[dataset], []
    measured: dict[str, Measurements] = {}
    for kind, measure, wished in (("statistics", measure_statistics, statistics),
                                  ("full reference", measure_full_reference, full_reference)):
        if not wished:
            left_out.append(f"Left out, {kind}: --without-{kind.replace(' ', '-')}.")
            continue
        try:
            measured[kind] = measure(experiments.space, database.manifest, experiments.workers)
        except UserError as error:
            reason = str(error).splitlines()[0].rstrip(":").replace(f"{experiments.space.root}/", "")  # tables may travel
            left_out.append(f"Left out, {kind}: {reason}.")
    if not any(database.manifest.levels):
        left_out.append("Left out, oracle of type and level: des.csv has no column `level`.")
    without_reference = _learnt(database, measured.get("statistics")) + _told(database)
    return without_reference + _full_reference(measured.get("full reference")), left_out


def _learnt(database: Database, statistics: Measurements | None) -> list[Baseline]:
    inputs, mos = database.inputs, database.mos
    pooled = {"text": inputs.pooled_text, "viewport": inputs.views.mean(dim=1),
              "global": torch.cat([level.mean(dim=1) for level in inputs.levels], dim=1)}
    parts = {name: value.double().numpy() for name, value in pooled.items()}
    baselines = [Baseline(f"{name} features, ridge", NO_REFERENCE, ridge(value, mos)) for name, value in parts.items()]
    baselines.append(Baseline("all three features, ridge", NO_REFERENCE, ridge(np.hstack(list(parts.values())), mos)))
    if statistics is not None:
        baselines.insert(0, Baseline("measured statistics, SVR", NO_REFERENCE, svr(statistics.values.numpy(), mos)))
    return baselines


def _told(database: Database) -> list[Baseline]:
    types, levels = database.manifest.types, database.manifest.levels
    baselines = [Baseline("type only (its training mean)", TOLD, group_means([types], database.mos))]
    if any(levels):
        both = list(zip(types, levels, strict=True))
        baselines.append(Baseline("ORACLE: type and level (their training mean)", TOLD, group_means([both, types], database.mos)))
    return baselines


def _full_reference(scores: Measurements | None) -> list[Baseline]:
    if scores is None:
        return []
    return [Baseline(METRICS[name].title, FULL_REFERENCE, _fixed(values if METRICS[name].higher_is_better else -values))
            for name, values in zip(scores.columns, scores.values.numpy().T, strict=True)]


def _fixed(scores: np.ndarray) -> Scorer:
    return lambda train, val: scores


def ridge(features: np.ndarray, mos: np.ndarray) -> Scorer:
    """Linear regression of (N, D) features with an L2 penalty."""
    return _chosen(features, mos, [Ridge(alpha=alpha) for alpha in RIDGES])


def svr(features: np.ndarray, mos: np.ndarray) -> Scorer:
    """Support vector regression of (N, D) features with a Gaussian kernel."""
    return _chosen(features, mos, [SVR(C=c, gamma=gamma / features.shape[1]) for c, gamma in SVRS])


def _chosen(features: np.ndarray, mos: np.ndarray, models: list[RegressorMixin]) -> Scorer:
    """Fit every model on the training rows and keep the scores of the best on the validation rows."""

    def score(train: list[int], val: list[int]) -> np.ndarray:
        spread = features[train].std(axis=0)
        x = (features - features[train].mean(axis=0)) / np.where(spread > 1e-9, spread, 1)
        scale, best, kept = MosScale.fit(mos[train]), -np.inf, None
        for model in models:
            scores = model.fit(x[train], (mos[train] - scale.mean) / scale.sd).predict(x) * scale.sd + scale.mean
            quality = selection_quality(scores[val], mos[val])
            if quality > best:
                best, kept = quality, scores
        return kept

    return score


def group_means(keys: list[list[Hashable]], mos: np.ndarray) -> Scorer:
    """Predict the mean training score of the image's group, by the first grouping in which training has it, or of all."""

    def score(train: list[int], val: list[int]) -> np.ndarray:
        scores = np.full(len(mos), mos[train].mean())
        for labels in reversed(keys):
            means = {label: np.mean([mos[i] for i in train if labels[i] == label]) for label in {labels[i] for i in train}}
            scores = np.array([means.get(label, other) for label, other in zip(labels, scores, strict=True)])
        return scores

    return score


def baseline_outcomes(baselines: list[Baseline], database: Database, outcomes: list[Outcome]) -> dict[Baseline, list[Outcome]]:
    """Return what every baseline scores on the splits of the given runs, with progress."""
    scored: dict[Baseline, list[Outcome]] = {baseline: [] for baseline in baselines}
    for outcome in Progress(outcomes, desc=f"baselines {database.name}", unit="split"):
        scenes = database.manifest.scenes(outcome.run.split.unit)
        train, val = (outcome.run.split.rows(scenes, side) for side in ("train", "val"))
        for baseline in baselines:
            run = replace(outcome.run, control=baseline.name)
            scored[baseline].append(Outcome(run, {database.name: baseline.score(train, val)}, 0))
    return scored
