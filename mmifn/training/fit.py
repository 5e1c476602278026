"""Fit a model on the training scenes of one split, choose the epoch on the validation scenes, score everything."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmifn.core.errors import UserError
from mmifn.core.files import sha256_json
from mmifn.fusion.inputs import FusedInputs, Inputs
from mmifn.fusion.model import MMIFN, BranchScorer, FusionOnly, GlobalBranch, LocalBranch
from mmifn.metrics import MIN_IMAGES, selection_quality
from mmifn.training.configs import TrainConfig
from mmifn.training.trial import Trial

BRANCHES = {"gff": GlobalBranch, "lff": LocalBranch}
Tick = Callable[[dict[str, float]], None]


def _mse(score: Tensor, target: Tensor) -> Tensor:
    return functional.mse_loss(score, target)


def _mse_plcc(score: Tensor, target: Tensor) -> Tensor:
    """MSE plus 1 - PLCC over the batch."""
    a, b = score - score.mean(), target - target.mean()
    return _mse(score, target) + 1 - (a * b).sum() / (a.norm() * b.norm()).clamp_min(1e-6)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": _mse, "mse+plcc": _mse_plcc}
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0, "cosine": lambda done: 0.5 * (1 + float(np.cos(np.pi * done)))}


@dataclass(frozen=True)
class MosScale:
    """Mean and SD of the training scores: the scale on which a model is trained."""

    mean: float
    sd: float

    @classmethod
    def fit(cls, mos: np.ndarray) -> MosScale:
        """Return the scale of training scores (N,)."""
        return cls(float(mos.mean()), float(mos.std()) or 1.0)

    def standardise(self, mos: np.ndarray) -> Tensor:
        """Return opinion scores (N,) with mean 0 and SD 1, in float32: what a network learns."""
        return torch.from_numpy((mos - self.mean) / self.sd).float()

    def restore(self, score: Tensor) -> np.ndarray:
        """Return what a network gave, of any shape, on the scale of the opinion scores."""
        return score.double().cpu().numpy() * self.sd + self.mean


@dataclass
class Fit:
    """A fitted network: best state by validation, its epoch (from 1), the curve of every epoch, the MOS scale."""

    network: nn.Module
    scale: MosScale
    epoch: int
    curve: list[dict[str, float]] = field(default_factory=list)


@contextlib.contextmanager
def seeded(*parts: Any) -> Iterator[torch.Generator]:
    """Seed torch from the parts, giving the caller's random state back afterwards."""
    seed = int(sha256_json([str(part) for part in parts])[:15], 16)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)


@torch.inference_mode()
def viewport_scores(network: nn.Module, inputs: Inputs, scale: MosScale, batch_size: int = 64) -> np.ndarray:
    """Return the viewport scores (N, V) on the scale of the MOS, in float64; `pooled` makes the scores of them."""
    network.eval()
    device = next(network.parameters()).device
    parts = [network(inputs[list(range(i, min(i + batch_size, len(inputs))))].to(device)).float()
             for i in range(0, len(inputs), batch_size)]
    return scale.restore(torch.cat(parts))


@torch.inference_mode()
def pooled(network: nn.Module, views: np.ndarray, scale: MosScale) -> np.ndarray:
    """Return the score of every image (N,) from its viewport scores (N, V), both on the scale of the MOS."""
    if network.pool.favour is None:
        return views.mean(axis=1)
    standard = torch.from_numpy((views - scale.mean) / scale.sd).to(next(network.parameters()).device)
    return scale.restore(network.pool(standard))


def image_scores(fit: Fit, inputs: Inputs) -> np.ndarray:
    """Return the score of every image (N,) by a fitted network, on the scale of the MOS, in float64."""
    return pooled(fit.network, viewport_scores(fit.network, inputs, fit.scale), fit.scale)


def _validation_quality(fit: Fit, inputs: Inputs, mos: np.ndarray) -> float:
    """Return the quality on the validation scenes (mean of PLCC and SRCC): what the epoch is chosen by."""
    score = image_scores(fit, inputs)
    if not np.isfinite(score).all():
        raise UserError("the scores of the validation images are not finite; lower --learning-rate or look at the features")
    return selection_quality(score, mos)


def fit_network(network: nn.Module, trial: Trial, epochs: int, *, seed_parts: tuple[Any, ...], device: torch.device,
                tick: Tick | None = None) -> Fit:
    """Train a network of viewport scores on the training scenes of a trial and keep its best epoch on validation, or its last.

    Only training rows are learnt from, only validation rows choose; MOS scale and feature scales come from training.
    seed_parts: seed the order of batches and the dropout; tick: told every epoch's row of the curve.
    """
    database, config = trial.database, trial.config.train
    rows, val_rows = _training_rows(trial)
    inputs, val_inputs = database.inputs[rows].to(device), database.inputs[val_rows].to(device)
    network = network.to(device)
    best, best_quality = Fit(network, MosScale.fit(database.mos[rows]), 0), -np.inf
    target = best.scale.standardise(database.mos[rows]).to(device)
    optimizer = torch.optim.Adamax([p for p in network.parameters() if p.requires_grad], config.learning_rate,
                                   weight_decay=config.weight_decay)
    scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
    state: dict[str, Tensor] = {}
    with seeded(*seed_parts) as shuffler:
        for epoch in range(1, epochs + 1):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * SCHEDULES[config.schedule]((epoch - 1) / epochs)
            loss = _epoch(network, inputs, target, config, optimizer, scaler, shuffler)
            quality = _validation_quality(best, val_inputs, database.mos[val_rows])
            best.curve.append({"epoch": epoch, "loss": loss, "validation": quality})
            if config.last_epoch or quality >= best_quality:
                best_quality, best.epoch = quality, epoch
                state = copy.deepcopy(network.state_dict())
            if tick:
                tick(best.curve[-1])
    network.load_state_dict(state)
    return best


def _training_rows(trial: Trial) -> tuple[list[int], list[int]]:
    """Return the training and the validation rows, or refuse sides too small to learn from and to choose by."""
    sides = {"training": trial.rows("train"), "validation": trial.rows("val")}
    for side, rows in sides.items():
        if len(rows) < MIN_IMAGES:
            raise UserError(f"{trial.database.name}: split {trial.split.seed} has {len(rows)} {side} image(s), at least "
                            f"{MIN_IMAGES} are needed; add images or scenes to des.csv")
    return sides["training"], sides["validation"]


def _epoch(network: nn.Module, inputs: Inputs, target: Tensor, config: TrainConfig, optimizer: torch.optim.Optimizer,
           scaler: torch.amp.GradScaler, shuffler: torch.Generator) -> float:
    """Run one pass over the training rows; return the mean loss. Raises UserError where the loss is not finite."""
    network.train()
    device, total = target.device, 0.0
    for batch in torch.randperm(len(inputs), generator=shuffler).split(config.batch_size):
        if len(batch) == 1 and len(inputs) > 1 and config.loss != "mse":
            continue  # a correlation needs two
        batch = batch.to(device)
        with torch.autocast(device.type, enabled=device.type == "cuda"):
            score = network.pool(network(inputs[batch]).float())
        loss = LOSSES[config.loss](score, target[batch])
        if not torch.isfinite(loss):
            raise UserError("the training loss is not finite; lower --learning-rate (now "
                            f"{config.learning_rate:g}) or look at the features")
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        total += float(loss.detach()) * len(batch)
    return total / len(inputs)


def build(kind: type[nn.Module], trial: Trial) -> nn.Module:
    """Return a freshly initialised network whose feature scales are fitted on the training rows."""
    model, inputs = trial.config.model, trial.database.inputs
    with seeded(kind.__name__, trial.seed, model.variant):
        network = kind(model, inputs.dimensions)
    network.fit_inputs(inputs[trial.rows("train")])
    return network


def fit_branch(branch: str, trial: Trial, device: torch.device, tick: Tick | None = None) -> Fit:
    """Fit GFF ("gff") or LFF ("lff") alone, with a small scoring head of its own."""
    core = build(BRANCHES[branch], trial)
    with seeded("head", branch, trial.seed):
        network = BranchScorer(core, trial.config.model)
    return fit_network(network, trial, trial.config.train.branch_epochs, seed_parts=("branch", branch, trial.seed), device=device,
                       tick=tick)


def fit_joint(trial: Trial, device: torch.device, branches: dict[str, dict[str, Tensor]] | None = None,
              tick: Tick | None = None) -> Fit:
    """Fit GFF, LFF, AFM and head together, started from the states of the two branches where these are given."""
    network, database = build(MMIFN, trial), trial.database
    if branches:
        network.global_branch.load_state_dict(branches["gff"])
        network.local_branch.load_state_dict(branches["lff"])
    epochs, how = trial.config.train.epochs, {"seed_parts": ("joint", trial.seed), "device": device, "tick": tick}
    if not trial.config.train.freeze_branches:
        return fit_network(network, trial, epochs, **how)
    fused = FusedInputs(fuse_branch(network.global_branch.to(device), database.inputs),
                        fuse_branch(network.local_branch.to(device), database.inputs))
    result = fit_network(FusionOnly(network), replace(trial, database=replace(database, inputs=fused)), epochs, **how)
    result.network = network
    return result


@torch.no_grad()
def fuse_branch(branch: nn.Module, inputs: Inputs, batch_size: int = 64) -> Tensor:
    """Return a branch's fused features of all images, (N, T or V, D) float32 on the CPU."""
    branch.eval()
    device = next(branch.buffers()).device
    return torch.cat([branch(inputs[list(range(i, min(i + batch_size, len(inputs))))].to(device)).float().cpu()
                      for i in range(0, len(inputs), batch_size)])


def fit_all(trial: Trial, device: torch.device) -> Fit:
    """Run the whole procedure of the staged scripts: both branches, then everything jointly."""
    branches = None
    if trial.config.train.branch_epochs:
        branches = {name: fit_branch(name, trial, device).network.branch.state_dict() for name in BRANCHES}
    return fit_joint(trial, device, branches)
