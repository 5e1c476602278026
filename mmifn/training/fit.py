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
from mmifn.data.splits import Split
from mmifn.fusion.inputs import Database, FusedInputs, Inputs
from mmifn.fusion.model import MMIFN, BranchScorer, FusionOnly, GlobalBranch, LocalBranch, ModelConfig
from mmifn.metrics import MIN_IMAGES, selection_quality

BRANCHES = {"gff": GlobalBranch, "lff": LocalBranch}


@dataclass(frozen=True)
class TrainConfig:
    """How a model is fitted. AdaMax, 1e-3, MSE and 100 epochs are the paper's; batch size and decay are not given.

    branch_epochs: epochs for which GFF and LFF are first fitted alone (0: from scratch);
    freeze_branches: then train AFM and the head only.
    """

    epochs: int = 100
    branch_epochs: int = 30
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    batch_size: int = 32
    loss: str = "mse"
    schedule: str = "constant"
    freeze_branches: bool = False

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("branch_epochs", 0), ("batch_size", 1)):
            if getattr(self, name) < low:
                raise UserError(f"--{name.replace('_', '-')} must be at least {low}, got {getattr(self, name)}")
        if self.freeze_branches and not self.branch_epochs:
            raise UserError("frozen branches must have been fitted: --freeze-branches does not go with --from-scratch")
        if not 0 < self.learning_rate < np.inf:
            raise UserError(f"--learning-rate must be positive, got {self.learning_rate}")
        if not 0 <= self.weight_decay < np.inf:
            raise UserError(f"--weight-decay must not be negative, got {self.weight_decay}")
        if self.loss != "mse" and self.batch_size < 2:
            raise UserError(f"--loss {self.loss} correlates the scores of a batch: --batch-size must be at least 2")


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
        return cls(float(mos.mean()), float(mos.std()) or 1.0)

    def standardise(self, mos: np.ndarray) -> Tensor:
        return torch.from_numpy((mos - self.mean) / self.sd).float()

    def restore(self, score: Tensor) -> np.ndarray:
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
def predict(network: nn.Module, inputs: Inputs, scale: MosScale, batch_size: int = 64) -> np.ndarray:
    """Return the viewport scores (N, V) on the scale of the MOS, in float64; their mean over V is the score."""
    network.eval()
    device = next(network.parameters()).device
    parts = [network(inputs[list(range(i, min(i + batch_size, len(inputs))))].to(device)).float()
             for i in range(0, len(inputs), batch_size)]
    return scale.restore(torch.cat(parts))


def _validation_quality(network: nn.Module, inputs: Inputs, mos: np.ndarray, scale: MosScale) -> float:
    """Return the quality on the validation scenes (mean of PLCC and SRCC): what the epoch is chosen by."""
    score = predict(network, inputs, scale).mean(axis=1)
    if not np.isfinite(score).all():
        raise UserError("the scores of the validation images are not finite; lower --learning-rate or look at the features")
    return selection_quality(score, mos)


def fit(network: nn.Module, database: Database, split: Split, scenes: list[str], config: TrainConfig, epochs: int, *,
        seed_parts: tuple[Any, ...], device: torch.device, tick: Callable[[dict[str, float]], None] | None = None) -> Fit:
    """Train a network of viewport scores on the split's training scenes and keep its best epoch on validation.

    Only training rows are learnt from, only validation rows choose; MOS scale and feature scales come from training.
    """
    rows, val_rows = _training_rows(database, split, scenes)
    inputs, val_inputs = database.inputs[rows].to(device), database.inputs[val_rows].to(device)
    scale = MosScale.fit(database.mos[rows])
    target = scale.standardise(database.mos[rows]).to(device)
    network = network.to(device)
    optimizer = torch.optim.Adamax([p for p in network.parameters() if p.requires_grad], config.learning_rate,
                                   weight_decay=config.weight_decay)
    scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
    best, best_quality = Fit(network, scale, 0), -np.inf
    state: dict[str, Tensor] = {}
    with seeded(*seed_parts) as shuffler:
        for epoch in range(1, epochs + 1):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * SCHEDULES[config.schedule]((epoch - 1) / epochs)
            loss = _epoch(network, inputs, target, config, optimizer, scaler, shuffler, device)
            quality = _validation_quality(network, val_inputs, database.mos[val_rows], scale)
            best.curve.append({"epoch": epoch, "loss": loss, "validation": quality})
            if quality >= best_quality:
                best_quality, best.epoch = quality, epoch
                state = copy.deepcopy(network.state_dict())
            if tick:
                tick(best.curve[-1])
    network.load_state_dict(state)
    return best


def _training_rows(database: Database, split: Split, scenes: list[str]) -> tuple[list[int], list[int]]:
    """Return the training and the validation rows, or refuse sides too small to learn from and to choose by."""
    sides = {"training": split.rows(scenes, "train"), "validation": split.rows(scenes, "val")}
    for side, rows in sides.items():
        if len(rows) < MIN_IMAGES:
            raise UserError(f"{database.name}: split {split.seed} has {len(rows)} {side} image(s), at least {MIN_IMAGES} are "
                            "needed; add images or scenes to des.csv")
    return sides["training"], sides["validation"]


def _epoch(network: nn.Module, inputs: Inputs, target: Tensor, config: TrainConfig, optimizer: torch.optim.Optimizer,
           scaler: torch.amp.GradScaler, shuffler: torch.Generator, device: torch.device) -> float:
    """Run one pass over the training rows; return the mean loss. Raises UserError where the loss is not finite."""
    network.train()
    total = 0.0
    for batch in torch.randperm(len(inputs), generator=shuffler).split(config.batch_size):
        if len(batch) == 1 and len(inputs) > 1 and config.loss != "mse":
            continue  # a correlation needs two
        batch = batch.to(device)
        with torch.autocast(device.type, enabled=device.type == "cuda"):
            score = network(inputs[batch]).float().mean(dim=1)
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


def build(kind: type[nn.Module], model: ModelConfig, database: Database, train_rows: list[int], seed: int) -> nn.Module:
    """Return a freshly initialised network whose feature scales are fitted on the training rows."""
    with seeded(kind.__name__, seed, model.variant):
        network = kind(model, database.inputs.dimensions)
    network.fit_inputs(database.inputs[train_rows])
    return network


def fit_branch(branch: str, database: Database, split: Split, scenes: list[str], model: ModelConfig, config: TrainConfig,
               seed: int, device: torch.device, tick: Callable[[dict[str, float]], None] | None = None) -> Fit:
    """Fit GFF ("gff") or LFF ("lff") alone, with a small scoring head of its own."""
    core = build(BRANCHES[branch], model, database, split.rows(scenes, "train"), seed)
    with seeded("head", branch, seed):
        network = BranchScorer(core, model)
    return fit(network, database, split, scenes, config, config.branch_epochs, seed_parts=("branch", branch, seed),
               device=device, tick=tick)


def fit_joint(database: Database, split: Split, scenes: list[str], model: ModelConfig, config: TrainConfig, seed: int,
              device: torch.device, branches: dict[str, dict[str, Tensor]] | None = None,
              tick: Callable[[dict[str, float]], None] | None = None) -> Fit:
    """Fit GFF, LFF, AFM and head together, started from the states of the two branches where these are given."""
    network = build(MMIFN, model, database, split.rows(scenes, "train"), seed)
    if branches:
        network.global_branch.load_state_dict(branches["gff"])
        network.local_branch.load_state_dict(branches["lff"])
    common = {"seed_parts": ("joint", seed), "device": device, "tick": tick}
    if not config.freeze_branches:
        return fit(network, database, split, scenes, config, config.epochs, **common)
    fused = FusedInputs(fuse_branch(network.global_branch.to(device), database.inputs),
                        fuse_branch(network.local_branch.to(device), database.inputs))
    result = fit(FusionOnly(network), replace(database, inputs=fused), split, scenes, config, config.epochs, **common)
    result.network = network
    return result


@torch.no_grad()
def fuse_branch(branch: nn.Module, inputs: Inputs, batch_size: int = 64) -> Tensor:
    """Return a branch's fused features of all images, (N, T or V, D) float32 on the CPU."""
    branch.eval()
    device = next(branch.buffers()).device
    return torch.cat([branch(inputs[list(range(i, min(i + batch_size, len(inputs))))].to(device)).float().cpu()
                      for i in range(0, len(inputs), batch_size)])


def fit_all(database: Database, split: Split, scenes: list[str], model: ModelConfig, config: TrainConfig, seed: int,
            device: torch.device) -> Fit:
    """Run the whole procedure of the staged scripts for one split: both branches, then everything jointly."""
    branches = None
    if config.branch_epochs:
        branches = {name: fit_branch(name, database, split, scenes, model, config, seed, device).network.branch.state_dict()
                    for name in BRANCHES}
    return fit_joint(database, split, scenes, model, config, seed, device, branches)
