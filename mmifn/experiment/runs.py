"""Repeat the training procedure over splits, variants and databases; every finished run is kept and found again.

A run is identified by the features and scores it read, its split, model, training, seed, control and protocol, so that a
killed script resumes, and scripts share runs. Runs are independent of how many are computed at a time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from mmifn.core.artefact import load_torch, save_torch
from mmifn.core.defaults import PROTOCOLS
from mmifn.core.device import device_words
from mmifn.core.errors import ArtefactError, UserError
from mmifn.core.files import sha256_json
from mmifn.core.progress import Progress
from mmifn.core.schema import misfits
from mmifn.core.workers import one_thread, run_tasks, usable_cores
from mmifn.data.manifest import Manifest
from mmifn.data.split_files import wished_splits
from mmifn.data.splits import SIDES, Split, published_split, whole_database_split
from mmifn.data.workspace import Workspace
from mmifn.experiment.controls import CONTROLS, UNTRAINED, controlled
from mmifn.fusion.config import VARIANTS
from mmifn.fusion.inputs import Database, load_database, require_same_method
from mmifn.training.configs import Config
from mmifn.training.fit import Fit, fit_all, fit_joint, image_scores
from mmifn.training.trial import Trial
from mmifn.training.tuning import tune

Name = TypeVar("Name", bound=Hashable)
SCHEMA = "run/3"  # bump when the same configuration would give other numbers


@dataclass(frozen=True)
class Run:
    """One training by name: on a source database's split, scoring the source and every target.

    control: "", one of CONTROLS, or the name of a baseline that was scored on the split of a run;
    protocol: "honest", or "published" for the field's habit, in which the scenes that are measured have chosen the
    epoch: they stand on the side `val` of a split without test scenes.
    """

    source: str
    split: Split
    config: Config
    seed: int
    targets: tuple[str, ...] = ()
    control: str = ""
    protocol: str = "honest"

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS or (self.protocol == "published" and (self.split.test or self.targets)):
            raise ValueError(f"protocol {self.protocol!r} with test scenes {self.split.test} and targets {self.targets}")
        if self.control and self.targets:
            raise ValueError("controls are of one database")
        if self.control in CONTROLS and self.config.tuning:
            raise ValueError("what a control takes away, tuned encoders would bring back from the pixels")

    @property
    def label(self) -> str:
        """Return what sets this run apart from a plain one, in words: its control, or its protocol; empty for a plain one."""
        return "published protocol" if self.protocol == "published" else self.control

    @property
    def databases(self) -> tuple[str, ...]:
        """Return the names of the databases that are scored, the source first."""
        return tuple(dict.fromkeys((self.source, *self.targets)))

    def sides(self, manifest: Manifest) -> list[str]:
        """Return where each image of a database stands: train, val or test of the source's split, or target."""
        if manifest.dataset != self.source:
            return ["target"] * len(manifest)
        side_of = {scene: side for side in SIDES for scene in getattr(self.split, side)}
        return [side_of[scene] for scene in manifest.scenes(self.split.unit)]

    @property
    def measured_side(self) -> str:
        """Return the side of the split whose scenes the source's figures are measured on."""
        return "val" if self.protocol == "published" else "test"

    def measured_rows(self, manifest: Manifest) -> list[int]:
        """Return the images of a database that the run is measured on: of its measured side, or all of a target."""
        return [i for i, side in enumerate(self.sides(manifest)) if side in (self.measured_side, "target")]

    def as_dict(self) -> dict[str, Any]:
        """Return the run as plain dicts, in the form in which it is stored."""
        tuning = {"tuning": dataclasses.asdict(self.config.tuning)} if self.config.tuning else {}
        return {"source": self.source, "split": dataclasses.asdict(self.split), "model": dataclasses.asdict(self.config.model),
                "train": dataclasses.asdict(self.config.train), "seed": self.seed, "targets": self.targets,
                "split_by": self.split.unit, "control": self.control, "protocol": self.protocol, **tuning}


@dataclass
class Outcome:
    """What a run gave: the score of every image of every database it scored, the chosen epoch and the curve.

    computed: on what and how exactly, in words.
    """

    run: Run
    scores: dict[str, np.ndarray]
    epoch: int
    curve: list[dict[str, float]] = field(default_factory=list)
    computed: str = ""


class Experiments:
    """Runs trainings on the databases of a workspace.

    workers: processes at a time on the CPU (each with one thread; on a GPU one process does all).
    """

    def __init__(self, space: Workspace, datasets: Iterable[str], device: torch.device, workers: int | None = None) -> None:
        self.space, self.device = space, device
        if workers is not None and workers < 1:
            raise UserError(f"--workers must be at least 1, got {workers}")
        self.databases = {name: load_database(space, name) for name in datasets}
        self.workers = 1 if device.type == "cuda" else workers or usable_cores()

    def scenes(self, dataset: str, unit: str = "reference") -> list[str]:
        """Return what each image of a database is split by; unit: "reference" or "image"."""
        return self.databases[dataset].manifest.scenes(unit)

    def key(self, run: Run) -> str:
        """Identify a run by everything that its numbers depend on."""
        digests = [self.databases[name].digest for name in (run.source, *run.targets)]
        return sha256_json([SCHEMA, digests, run.split.as_dict(), dataclasses.asdict(run.config.model),
                            dataclasses.asdict(run.config.train), run.seed, run.split.unit, run.control, run.protocol,
                            self.device.type, *([dataclasses.asdict(run.config.tuning)] if run.config.tuning else [])])

    def path(self, run: Run) -> Path:
        """Return where the outcome of a run is kept."""
        return self.space.results / "runs" / f"{self.key(run)[:32]}.pt"

    def journal(self, run: Run) -> Path:
        """Return where a run that tunes encoders keeps its state between epochs."""
        return self.path(run).with_suffix(".tuning")

    def run(self, groups: Mapping[Name, list[Run]], label: str) -> dict[Name, list[Outcome]]:
        """Return the outcomes of every group, by its name and in its order, with progress.

        Only what is not kept from earlier is computed, a run that stands in two groups once. Raises ArtefactError where the
        databases of a run were encoded differently.
        """
        wanted = dict.fromkeys(run for runs in groups.values() for run in runs)
        for run in wanted:
            for target in run.targets:
                require_same_method(self.databases[run.source], self.databases[target])
        outcomes = {run: kept for run in wanted if (kept := self._read(run))}
        todo = [run for run in wanted if run not in outcomes]
        with Progress(total=len(wanted), initial=len(outcomes), desc=label, unit="run", smoothing=0) as progress:
            for outcome in self._compute(todo):
                _write(outcome, self.path(outcome.run))
                outcomes[outcome.run] = outcome
                progress.update()
        return {name: [outcomes[run] for run in runs] for name, runs in groups.items()}

    def _compute(self, runs: list[Run]) -> Iterator[Outcome]:
        if self.workers == 1 or len(runs) < 2:
            for run in runs:
                yield train_and_score(run, self.databases, self.device, self.journal(run))
            return
        databases = (self.space, list(self.databases))
        jobs = [(run, self.journal(run)) for run in runs]
        for _, outcome in run_tasks(_work, jobs, self.workers, _start_worker, databases):
            yield outcome

    def _read(self, run: Run) -> Outcome | None:
        """Return the outcome of a finished run, or None; a damaged one counts as not there."""
        path = self.path(run)
        if not path.is_file():
            return None
        try:
            content = load_torch(path)
            scores = {name: content["scores"][name].numpy() for name in run.databases}
            outcome = Outcome(run, scores, content["epoch"], content["curve"], content.get("computed", ""))
        except (ArtefactError, LookupError, TypeError, AttributeError):
            return None  # a damaged run is made again
        if misfits(outcome) or not all(np.isfinite(value).all() for value in scores.values()):
            return None
        whole = all(scores[name].shape == (len(self.databases[name].manifest),) for name in scores)
        return outcome if whole else None


def _write(outcome: Outcome, path: Path) -> None:
    save_torch({"schema": SCHEMA, "job": outcome.run.as_dict(), "epoch": outcome.epoch, "curve": outcome.curve,
                "computed": outcome.computed,
                "scores": {name: torch.from_numpy(value) for name, value in outcome.scores.items()}}, path)


def train_and_score(run: Run, databases: dict[str, Database], device: torch.device,
                    journal: Path | None = None) -> Outcome:
    """Train as the staged scripts do and score every image of the source and the targets, once each.

    journal: for the state of a tuning between its epochs.
    """
    seen = {name: controlled(databases[name], run.control, run.seed) for name in run.databases}
    with one_thread():  # the same sums whatever runs beside
        fit = _fit(run, seen[run.source], device)
        if run.config.tuning:
            trial = Trial(seen[run.source], run.split, run.config, run.seed)
            fit, encoders, _ = tune(fit, trial, device, journal)
            seen = {name: encoders.database(database) for name, database in seen.items()}
        scores = {name: image_scores(fit, database.inputs) for name, database in seen.items()}
    return Outcome(run, scores, fit.epoch, fit.curve, device_words(device))


def _fit(run: Run, source: Database, device: torch.device) -> Fit:
    trial = Trial(source, run.split, run.config, run.seed)
    if run.control == UNTRAINED:
        train = run.config.train
        frozen = replace(train, freeze_branches=True, branch_epochs=max(1, train.branch_epochs))
        return fit_joint(replace(trial, config=replace(run.config, train=frozen)), device)  # no states: as initialised
    return fit_all(trial, device)


_worker: dict[str, Any] = {}


def _start_worker(space: Workspace, datasets: list[str]) -> None:
    _worker.update({name: load_database(space, name) for name in datasets})


def _work(job: tuple[Run, Path]) -> Outcome:
    run, journal = job
    return train_and_score(run, _worker, torch.device("cpu"), journal)


def split_runs(experiments: Experiments, dataset: str, count: int | str, config: Config, unit: str,
               control: str = "") -> list[Run]:
    """Return one run per scene split of a database; the seed of a split also seeds its training. count: or a file of splits."""
    splits = wished_splits(count, experiments.space.root, dataset, experiments.scenes(dataset, unit), unit)
    return [Run(dataset, split, config, split.seed, (), control) for split in splits]


def published_run(experiments: Experiments, dataset: str, config: Config, unit: str) -> Run:
    """Return the field's habit on split 0: its test scenes choose the epoch too, all other scenes train (13/3 of 16)."""
    split = published_split(experiments.scenes(dataset, unit), 0, dataset=dataset, unit=unit)
    return Run(dataset, split, config, split.seed, protocol="published")


def ablation_runs(experiments: Experiments, dataset: str, count: int | str, config: Config, unit: str) -> dict[str, list[Run]]:
    """Return the runs of every variant, and of the full model under every control, on the same splits and seeds."""
    of_variant = {variant: replace(config, model=replace(config.model, variant=variant)) for variant in VARIANTS}
    return ({variant: split_runs(experiments, dataset, count, altered, unit) for variant, altered in of_variant.items()}
            | {control: split_runs(experiments, dataset, count, of_variant["full"], unit, control) for control in CONTROLS})


def cross_runs(experiments: Experiments, source: str, target: str, count: int | str, config: Config,
               unit: str) -> list[Run]:
    """Return `count` trainings on the whole source (validation scenes drawn by seed), each scoring the whole target."""
    if source == target:
        raise UserError(f"a database cannot be tested on itself across databases: {source} was given twice")
    scenes = experiments.scenes(source, unit)
    count = len(wished_splits(count, experiments.space.root, source, scenes, unit))  # as many trainings as splits elsewhere
    splits = [whole_database_split(scenes, seed, dataset=source, unit=unit) for seed in range(count)]
    return [Run(source, split, config, split.seed, (target,)) for split in splits]
