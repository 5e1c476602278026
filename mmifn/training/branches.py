"""The staged training flow: fit one branch and cache its fused features; train jointly from both caches."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import torch
from torch import Tensor

from mmifn.core.artefact import Provenance, load, save, sha256_tensors
from mmifn.core.errors import ArtefactError, listed
from mmifn.core.progress import Progress
from mmifn.data.features import FusedFeatures
from mmifn.data.workspace import Workspace
from mmifn.training.fit import BRANCHES, Fit, Tick, fit_branch, fit_joint, fuse_branch
from mmifn.training.trial import Trial

CACHES = {"gff": "global_fusion_features", "lff": "local_fusion_features"}
SCRIPTS = {"gff": "gff_module.py", "lff": "lff_module.py"}


def with_progress(label: str, epochs: int) -> tuple[Progress, Tick]:
    """Return a progress bar over epochs and the callback that moves it."""
    bar = Progress(total=epochs, desc=label, unit="epoch")

    def tick(row: dict[str, float]) -> None:
        bar.set_postfix(loss=f"{row['loss']:.3f}", val=f"{row['validation']:.3f}", refresh=False)
        bar.update()

    return bar, tick


def _branch_settings(trial: Trial) -> dict[str, Any]:
    """Return what a branch's training depends on, apart from data and split."""
    train = dataclasses.asdict(trial.config.train)
    for name in ("epochs", "freeze_branches"):
        train.pop(name)  # of the joint training only
    model = {key: list(value) if isinstance(value, tuple) else value
             for key, value in dataclasses.asdict(trial.config.model).items()}
    return {"model": model, "train": train, "seed": trial.seed}


def _misfits(cache: FusedFeatures, trial: Trial) -> list[str]:
    """Return in words why a branch cache does not belong to this trial; empty where it does."""
    wrong = []
    if cache.made_by.weights_sha256 != sha256_tensors(cache.state):
        wrong.append("weights: not those that were written")
    if cache.made_by.inputs["database"] != trial.database.digest:
        wrong.append("features or scores: made from others than are there now")
    if cache.split != trial.split.as_dict():
        wrong.append(f"split: file seed {cache.split.get('seed')} (test {_joined(cache.split.get('test'))}), "
                     f"run seed {trial.split.seed} (test {', '.join(trial.split.test)})")
    wanted = _branch_settings(trial)
    for part in ("model", "train"):
        stored = cache.config.get(part)
        stored = stored if isinstance(stored, dict) else {}
        wrong += [f"{part}.{key}: file {stored.get(key)}, run {value}"
                  for key, value in wanted[part].items() if stored.get(key) != value]
    if cache.config.get("seed") != trial.seed:
        wrong.append(f"seed: file {cache.config.get('seed')}, run {trial.seed}")
    chosen = cache.made_by.preprocess
    if not (isinstance(chosen.get("epoch"), int) and isinstance(chosen.get("validation"), float)):
        wrong.append("chosen epoch: not told")
    return wrong


def _joined(names: Any) -> str:
    return ", ".join(map(str, names)) if isinstance(names, list) else str(names)


def make_branch_cache(branch: str, space: Workspace, trial: Trial, device: torch.device) -> tuple[FusedFeatures, bool]:
    """Fit GFF or LFF on the training scenes, fuse ALL images with it, and write the branch's cache.

    A cache of the very same trial is kept. Returns the cache and whether it was there already.
    """
    database = trial.database
    path = space.features(database.name, CACHES[branch])
    with contextlib.suppress(ArtefactError):  # a missing or foreign cache is about to be replaced
        cache = load(path, FusedFeatures, dataset=database.name)
        if not _misfits(cache, trial):
            return cache, True
    bar, tick = with_progress(f"{branch.upper()} {database.name}", trial.config.train.branch_epochs)
    with bar:
        fit = fit_branch(branch, trial, device, tick)
    state = {key: value.detach().cpu() for key, value in fit.network.branch.state_dict().items()}
    settings = _branch_settings(trial)
    chosen = {"epoch": fit.epoch, "validation": fit.curve[fit.epoch - 1]["validation"]}
    made_by = Provenance(branch, sha256_tensors(state), {**chosen, **settings}, {"database": database.digest})
    cache = FusedFeatures(database.name, database.manifest.names, made_by, fuse_branch(fit.network.branch, database.inputs),
                          branch, state, settings, trial.split.as_dict())
    save(cache, path)
    return cache, False


def read_branch_states(space: Workspace, trial: Trial) -> dict[str, dict[str, Tensor]]:
    """Return the states of both branches, refusing those of another split, other features or other settings."""
    states, dataset = {}, trial.database.name
    for branch in BRANCHES:
        path = space.features(dataset, CACHES[branch])
        remake = f"python {SCRIPTS[branch]} --dataset {dataset} (same flags), or use --from-scratch"
        cache = load(path, FusedFeatures, dataset=dataset, remake=remake)
        wrong = _misfits(cache, trial)
        if wrong:
            raise ArtefactError(f"{path} does not fit this run:\n{listed(wrong)}\nRebuild it: {remake}")
        states[branch] = cache.state
    return states


def train_jointly(space: Workspace, trial: Trial, device: torch.device) -> Fit:
    """Train GFF, LFF, AFM and head from the branch caches, or from scratch where branch_epochs is 0."""
    states = read_branch_states(space, trial) if trial.config.train.branch_epochs else None
    bar, tick = with_progress(f"MMIFN {trial.database.name}", trial.config.train.epochs)
    with bar:
        return fit_joint(trial, device, states, tick)
