"""The order of the stages, and running them one after the other."""

from __future__ import annotations

import argparse
import importlib
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path

from mmifn.cli.flags import DATABASES, training_flags
from mmifn.core.errors import UserError
from mmifn.core.files import write_text
from mmifn.data.workspace import Workspace
from mmifn.simulate.settings import scene_list

# Stages that flags of run_pipeline.py hand further flags to, each with an example.
FURTHER_FLAGS = {"text": "--depictqa-dir DIR", "viewport": "--viewport-encoder lite0", "global": "--wrap-px 64",
                 "evaluate": "--also-config letter"}
SEEDS = (0, 1)  # of the two simulations; the second never takes a place that the first has


@dataclass(frozen=True)
class Stage:
    """One script with its arguments."""

    script: str
    argv: list[str] = field(default_factory=list)

    def run(self) -> int:
        """Say the command, run it in this process, and return its exit code."""
        print(f"\n$ python {self.script}.py {' '.join(self.argv)}", flush=True)
        code: int = importlib.import_module(self.script.replace("/", ".")).main(self.argv)
        return code


@dataclass(frozen=True)
class Plan:
    """The stages before anything exists, and where they work."""

    space: Workspace
    datasets: tuple[str, ...]
    simulation: list[str]
    excluded: tuple[str, ...]
    levels: dict[str, str]
    encoders: list[str]
    training: list[str]
    runs: list[str]
    extra: dict[str, list[str]]
    words: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, args: argparse.Namespace) -> Plan:
        """Turn the flags of run_pipeline.py into those of the stages. Raises UserError for databases that do not go together."""
        if len(set(args.datasets)) != len(args.datasets) or len(args.datasets) > 2:
            raise UserError(f"--datasets {' '.join(args.datasets)}: wanted one database, or two different ones")
        if args.panoramas and len(args.datasets) != 2:
            raise UserError(f"--panoramas simulates two databases, --datasets names {len(args.datasets)}; name two, or "
                            "simulate one with simulate_dataset.py and leave --panoramas out")
        simulation = []
        if args.panoramas:
            simulation = ["--panoramas", args.panoramas, "--scenes", str(args.scenes)]
            simulation += ["--height", str(args.height)] if args.height else []
        runs = ["--logistic", str(args.logistic), "--splits", str(args.splits)]
        runs += ["--workers", str(args.workers)] if args.workers else []
        return cls(Workspace(args.root), tuple(args.datasets), simulation, scene_list(args.exclude_scenes), args.levels,
                   ["--preset", args.preset, "--device", args.device],
                   ["--device", args.device, *["--deterministic"] * args.deterministic, *training_flags(args)], runs,
                   {stage: shlex.split(getattr(args, f"{stage}_args")) for stage in FURTHER_FLAGS},
                   ["--text-encoder", args.text_encoder] if args.text_encoder else [])

    def simulations(self) -> list[Stage]:
        """Return the simulations of both databases; the second leaves out the first's places too."""
        root = ["--root", str(self.space.root)]
        stages: list[Stage] = []
        for name, like, seed in zip(self.datasets, DATABASES, SEEDS, strict=True):
            argv = [*root, "--like", like, "--dataset", name, *self.simulation, "--seed", str(seed)]
            argv += ["--levels", self.levels[like]] if like in self.levels else []
            exclude = str(self.used_places()) if stages else ",".join(self.excluded)
            argv += ["--exclude-scenes", exclude] if exclude else []
            stages.append(Stage("simulate_dataset", argv))
        return stages

    def used_places(self) -> Path:
        """Return the file that lists the places of the first simulation, for the second to leave out."""
        return self.space.dataset_dir(self.datasets[0]) / "places.txt"

    def stages(self) -> list[Stage]:
        """Return the ten stages in order, those of the encoders once for each database, and the report.

        With a single database there is nothing to cross.
        """
        root = ["--root", str(self.space.root)]
        first, *others = self.datasets

        def for_each(script: str, *extra: str) -> list[Stage]:
            return [Stage(script, [*root, "--dataset", name, *self.encoders, *extra]) for name in self.datasets]

        train = [*root, *self.training]
        all_of_them = ["--datasets", *self.datasets]
        across = [Stage("cross_eval", [*train, *self.runs, *all_of_them])] if others else []
        return [
            *for_each("generate_text", *self.extra["text"]),
            Stage("text_encoder", [*root, *self.encoders, *(word for name in self.datasets for word in ("--dataset", name)),
                                   *self.words]),
            *for_each("viewport_encoder", *self.extra["viewport"]),
            *for_each("global_feature_extractor", *self.extra["global"]),
            Stage("gff_module", [*train, "--dataset", first]),
            Stage("lff_module", [*train, "--dataset", first]),
            Stage("train", [*train, "--dataset", first, "--test-dataset", *(others or ["none"])]),
            Stage("evaluate", [*train, *self.runs, *all_of_them, *self.extra["evaluate"]]),
            *across,
            Stage("ablation_study", [*train, *self.runs, *all_of_them]),
            Stage("tools/make_report", root),
        ]

    def products(self) -> list[tuple[Path, str]]:
        """Return what is worth looking at once everything has run."""
        results = self.space.results
        crossed = [(results / "cross_validation_results.txt", "Table III")] if len(self.datasets) > 1 else []
        return [(results / "report.html", "everything on one page"),
                (results / "evaluation_results.txt", "Tables I and II"),
                *crossed,
                (results / "ablation_results.txt", "Table IV"),
                (results / "predictions.csv", "the score of every image by every run"),
                (self.space.descriptions, "what is said of every image"),
                (self.space.viewports_dir(self.datasets[0]), "what the local branch saw"),
                (self.space.checkpoint, "the trained model")]


def run_plan(plan: Plan) -> int:
    """Run everything; stop with the exit code of the first stage that fails. Finished work of earlier runs is kept."""
    start = time.monotonic()
    if plan.simulation:
        first, second = plan.simulations()
        if code := first.run():
            return code
        _note_places(plan)
        if code := second.run():
            return code
    for name in plan.datasets:
        if not plan.space.manifest(name).is_file():
            raise UserError(f"{plan.space.manifest(name)} does not exist.\nImport the database: python prepare_dataset.py "
                            f"--dataset {name} --source DOWNLOAD_FOLDER, or simulate one with --panoramas DIR")
    for stage in plan.stages():
        if code := stage.run():
            return code
    print(f"\nDone in {(time.monotonic() - start) / 60:.1f} minutes. Where to look next:")
    for path, content in plan.products():
        print(f"  {path!s:<48} {content}")
    return 0


def _note_places(plan: Plan) -> None:
    from mmifn.data.manifest import read_manifest

    manifest = read_manifest(plan.space.manifest(plan.datasets[0]), plan.datasets[0])
    write_text(plan.used_places(), "\n".join([*sorted(set(manifest.references or [])), *plan.excluded]) + "\n")
