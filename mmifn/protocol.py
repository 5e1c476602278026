"""Repeat the training procedure over splits, variants and databases; every finished run is kept and found again.

A run is identified by the features and scores it read, its split, model, training, seed and control, so that a killed
script resumes, and scripts share runs. Runs are independent of how many are computed at a time.
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

from mmifn.artefact import load_torch, save_torch
from mmifn.describe.controls import shuffled
from mmifn.errors import ArtefactError, UserError
from mmifn.files import sha256_json
from mmifn.fusion.inputs import Database, load_database, require_same_method
from mmifn.fusion.mmifn import VARIANTS, ModelConfig
from mmifn.splits import Split, make_splits, whole_database_split
from mmifn.training import TrainConfig, fit_all, predict
from mmifn.workers import one_thread, run_tasks, usable_cores
from mmifn.workspace import Workspace

SCHEMA = "run/3"  # bump when the same configuration would give other numbers


@dataclass(frozen=True)
class Job:
    """One training: on a source database's split, scoring the source and every target.

    text: "own", or "shuffled" for the control in which every image has the description of another one.
    """

    source: str
    split: Split
    model: ModelConfig
    train: TrainConfig
    seed: int
    targets: tuple[str, ...] = ()
    split_by: str = "reference"
    text: str = "own"


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
                            dataclasses.asdict(job.train), job.seed, job.split_by, job.text, self.device.type])

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
    if job.text == "shuffled":
        databases = databases | {name: _shuffled_text(databases[name], job.seed) for name in (job.source, *job.targets)}
    source = databases[job.source]
    with one_thread():  # the same sums whatever runs beside
        fit = fit_all(source, job.split, source.manifest.scenes(job.split_by), job.model, job.train, job.seed, device)
        scores = {name: predict(fit.network, databases[name].inputs, fit.scale).mean(axis=1)
                  for name in dict.fromkeys((job.source, *job.targets))}
    return Outcome(job, scores, fit.epoch, fit.curve)


def _shuffled_text(database: Database, seed: int) -> Database:
    """Return the database with every image described by the text of another one."""
    names = database.manifest.names
    row, giver = {name: i for i, name in enumerate(names)}, shuffled({name: name for name in names}, seed)
    return database.with_text([row[giver[name]] for name in names], "shuffled")


_worker: dict[str, Any] = {}


def _start_worker(space: Workspace, datasets: list[str]) -> None:
    _worker.update({name: load_database(space, name) for name in datasets})


def _work(job: Job) -> Outcome:
    return run_job(job, _worker, torch.device("cpu"))


def add_run_arguments(parser: Any) -> None:
    """Give an experiment script its --splits and --workers flags."""
    parser.add_argument("--splits", type=int, default=10, metavar="N",
                        help="scene splits (for cross_eval: trainings) of seeds 0 … N-1 (default: %(default)s)")
    parser.add_argument("--workers", type=int, metavar="N", help="trainings at a time on the CPU (default: one a core)")


def split_jobs(experiments: Experiments, dataset: str, count: int, model: ModelConfig, train: TrainConfig,
               split_by: str, text: str = "own") -> list[Job]:
    """Return one job per scene split of a database; the seed of a split also seeds its training."""
    splits = make_splits(experiments.scenes(dataset, split_by), count, dataset=dataset, unit=split_by)
    return [Job(dataset, split, model, train, split.seed, (), split_by, text) for split in splits]


def ablation_jobs(experiments: Experiments, dataset: str, count: int, model: ModelConfig, train: TrainConfig,
                  split_by: str) -> dict[str, list[Job]]:
    """Return the jobs of every variant and of the control, full model with shuffled text, on the same splits and seeds."""
    groups = {variant: split_jobs(experiments, dataset, count, replace(model, variant=variant), train, split_by)
              for variant in VARIANTS}
    return groups | {"shuffled text": split_jobs(experiments, dataset, count, replace(model, variant="full"), train, split_by,
                                                 "shuffled")}


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
