"""Repeat the training procedure over splits, variants and databases; every finished run is kept and found again.

A run is identified by the features and scores it read, its split, model, training, seed, control and protocol, so that a
killed script resumes, and scripts share runs. Runs are independent of how many are computed at a time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from mmifn.core.artefact import load_torch, save_torch
from mmifn.core.errors import ArtefactError, UserError
from mmifn.core.files import sha256_json
from mmifn.core.workers import one_thread, run_tasks, usable_cores
from mmifn.data.splits import PROTOCOLS, Split, make_splits, published_split, whole_database_split
from mmifn.data.workspace import Workspace
from mmifn.experiment.controls import CONTROLS, UNTRAINED, controlled
from mmifn.fusion.inputs import Database, load_database, require_same_method
from mmifn.fusion.model import VARIANTS, ModelConfig
from mmifn.training.fit import Fit, TrainConfig, fit_all, fit_joint, predict

SCHEMA = "run/3"  # bump when the same configuration would give other numbers


@dataclass(frozen=True)
class Job:
    """One training: on a source database's split, scoring the source and every target.

    control: "", one of CONTROLS, or the name of a baseline that was scored on the split of a run;
    protocol: "honest", or "published" for the field's habit, in which the scenes that are measured have chosen the
    epoch: they stand on the side `val` of a split without test scenes.
    """

    source: str
    split: Split
    model: ModelConfig
    train: TrainConfig
    seed: int
    targets: tuple[str, ...] = ()
    split_by: str = "reference"
    control: str = ""
    protocol: str = "honest"

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS or (self.protocol == "published" and (self.split.test or self.targets)):
            raise ValueError(f"protocol {self.protocol!r} with test scenes {self.split.test} and targets {self.targets}")
        if self.control and self.targets:
            raise ValueError("controls are of one database")

    @property
    def label(self) -> str:
        """Return what sets this run apart from a plain one, in words: its control, or its protocol; empty for a plain one."""
        return "published protocol" if self.protocol == "published" else self.control

    @property
    def measured_side(self) -> str:
        """Return the side of the split whose scenes the source's figures are measured on."""
        return "val" if self.protocol == "published" else "test"


@dataclass
class Outcome:
    """What a job gave: the score of every image of every database it scored, the chosen epoch and the curve."""

    job: Job
    scores: dict[str, np.ndarray]
    epoch: int
    curve: list[dict[str, float]] = field(default_factory=list)


class Experiments:
    """Runs jobs on the databases of a workspace.

    workers: processes at a time on the CPU (each with one thread; on a GPU one process does all).
    """

    def __init__(self, space: Workspace, datasets: Iterable[str], device: torch.device, workers: int | None = None) -> None:
        self.space, self.device = space, device
        if workers is not None and workers < 1:
            raise UserError(f"--workers must be at least 1, got {workers}")
        self.databases = {name: load_database(space, name) for name in datasets}
        self.workers = 1 if device.type == "cuda" else workers or usable_cores()

    def scenes(self, dataset: str, split_by: str = "reference") -> list[str]:
        return self.databases[dataset].manifest.scenes(split_by)

    def key(self, job: Job) -> str:
        """Identify a job by everything that its numbers depend on."""
        digests = [self.databases[name].digest for name in (job.source, *job.targets)]
        return sha256_json([SCHEMA, digests, job.split.as_dict(), dataclasses.asdict(job.model),
                            dataclasses.asdict(job.train), job.seed, job.split_by, job.control, job.protocol,
                            self.device.type])

    def path(self, job: Job) -> Path:
        return self.space.results / "runs" / f"{self.key(job)[:32]}.pt"

    def run(self, jobs: list[Job], label: str) -> list[Outcome]:
        """Return the outcome of every job, in order, computing those that are not there yet, with progress."""
        for job in jobs:
            for target in job.targets:
                require_same_method(self.databases[job.source], self.databases[target])
        found = {i: outcome for i, job in enumerate(jobs) if (outcome := self._read(job))}
        todo = [i for i in range(len(jobs)) if i not in found]
        with tqdm(total=len(jobs), initial=len(found), desc=label, unit="run", smoothing=0) as progress:
            for i, outcome in self._compute(jobs, todo):
                _write(outcome, self.path(jobs[i]))
                found[i] = outcome
                progress.update()
        return [found[i] for i in range(len(jobs))]

    def _compute(self, jobs: list[Job], todo: list[int]) -> Iterator[tuple[int, Outcome]]:
        if self.workers == 1 or len(todo) < 2:
            for i in todo:
                yield i, run_job(jobs[i], self.databases, self.device)
            return
        databases = (self.space, list(self.databases))
        for k, outcome in run_tasks(_work, [jobs[i] for i in todo], self.workers, _start_worker, databases):
            yield todo[k], outcome

    def _read(self, job: Job) -> Outcome | None:
        path = self.path(job)
        if not path.is_file():
            return None
        try:
            content = load_torch(path)
            scores = {name: content["scores"][name].numpy() for name in (job.source, *job.targets)}
            outcome = Outcome(job, scores, content["epoch"], content["curve"])
        except (ArtefactError, LookupError, TypeError, AttributeError):
            return None  # a damaged run is made again
        whole = all(scores[name].shape == (len(self.databases[name].manifest),) for name in scores)
        return outcome if whole else None


def _write(outcome: Outcome, path: Path) -> None:
    save_torch({"schema": SCHEMA, "job": dataclasses.asdict(outcome.job), "epoch": outcome.epoch, "curve": outcome.curve,
                "scores": {name: torch.from_numpy(value) for name, value in outcome.scores.items()}}, path)


def run_job(job: Job, databases: dict[str, Database], device: torch.device) -> Outcome:
    """Train as the staged scripts do and score every image of the source and the targets, once each."""
    seen = {name: controlled(databases[name], job.control, job.seed) for name in dict.fromkeys((job.source, *job.targets))}
    with one_thread():  # the same sums whatever runs beside
        fit = _fit(job, seen[job.source], device)
        scores = {name: predict(fit.network, database.inputs, fit.scale).mean(axis=1) for name, database in seen.items()}
    return Outcome(job, scores, fit.epoch, fit.curve)


def _fit(job: Job, source: Database, device: torch.device) -> Fit:
    scenes = source.manifest.scenes(job.split_by)
    if job.control == UNTRAINED:
        frozen = replace(job.train, freeze_branches=True, branch_epochs=max(1, job.train.branch_epochs))
        return fit_joint(source, job.split, scenes, job.model, frozen, job.seed, device)  # no branch states: as initialised
    return fit_all(source, job.split, scenes, job.model, job.train, job.seed, device)


_worker: dict[str, Any] = {}


def _start_worker(space: Workspace, datasets: list[str]) -> None:
    _worker.update({name: load_database(space, name) for name in datasets})


def _work(job: Job) -> Outcome:
    return run_job(job, _worker, torch.device("cpu"))


def split_jobs(experiments: Experiments, dataset: str, count: int, model: ModelConfig, train: TrainConfig,
               split_by: str, control: str = "") -> list[Job]:
    """Return one job per scene split of a database; the seed of a split also seeds its training."""
    splits = make_splits(experiments.scenes(dataset, split_by), count, dataset=dataset, unit=split_by)
    return [Job(dataset, split, model, train, split.seed, (), split_by, control) for split in splits]


def published_job(experiments: Experiments, dataset: str, model: ModelConfig, train: TrainConfig, split_by: str) -> Job:
    """Return the field's habit on split 0: its test scenes choose the epoch too, all other scenes train (13/3 of 16)."""
    split = published_split(experiments.scenes(dataset, split_by), 0, dataset=dataset, unit=split_by)
    return Job(dataset, split, model, train, split.seed, (), split_by, protocol="published")


def ablation_jobs(experiments: Experiments, dataset: str, count: int, model: ModelConfig, train: TrainConfig,
                  split_by: str) -> dict[str, list[Job]]:
    """Return the jobs of every variant, and of the full model under every control, on the same splits and seeds."""
    groups = {variant: split_jobs(experiments, dataset, count, replace(model, variant=variant), train, split_by)
              for variant in VARIANTS}
    full = replace(model, variant="full")
    return groups | {control: split_jobs(experiments, dataset, count, full, train, split_by, control) for control in CONTROLS}


def cross_jobs(experiments: Experiments, source: str, target: str, count: int, model: ModelConfig, train: TrainConfig,
               split_by: str) -> list[Job]:
    """Return `count` trainings on the whole source (validation scenes drawn by seed), each scoring the whole target."""
    if source == target:
        raise UserError(f"a database cannot be tested on itself across databases: {source} was given twice")
    if count < 1:
        raise UserError(f"--splits must be at least 1, got {count}")
    scenes = experiments.scenes(source, split_by)
    splits = [whole_database_split(scenes, seed, dataset=source, unit=split_by) for seed in range(count)]
    return [Job(source, split, model, train, split.seed, (target,), split_by) for split in splits]
