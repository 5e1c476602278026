"""What the training scripts share: their databases, their runs, and where results go."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mmifn.cli.flags import (
    add_dataset_argument,
    add_deterministic_argument,
    add_device_argument,
    add_root_argument,
    add_run_arguments,
    add_split_argument,
    add_training_arguments,
    chosen_config,
    command_parser,
)
from mmifn.cli.stages import heading
from mmifn.core.device import announced_device, resolve_device
from mmifn.core.errors import UserError, user_main
from mmifn.data.workspace import Workspace

if TYPE_CHECKING:
    from mmifn.experiment.runs import Experiments


def experiment_parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the flags of evaluate, cross_eval and ablation_study."""
    parser = training_parser(doc)
    add_run_arguments(parser)
    return parser


def training_parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with --root, --device, --deterministic and the model and training flags."""
    parser = command_parser(doc)
    add_root_argument(parser)
    add_device_argument(parser)
    add_deterministic_argument(parser)
    add_training_arguments(parser)
    return parser


def open_experiments(args: argparse.Namespace, datasets: list[str]) -> Experiments:
    """Load the databases that a script was asked for."""
    from mmifn.experiment.runs import Experiments

    experiments = Experiments(Workspace(args.root), datasets, resolve_device(args.device), args.workers)
    announced_device(args.device, args.deterministic)  # once it is sure that there is something to compute
    return experiments


@user_main
def run_branch_script(branch: str, doc: str | None, argv: list[str] | None) -> int:
    """Run gff_module.py or lff_module.py."""
    parser = training_parser(doc)
    add_dataset_argument(parser)
    add_split_argument(parser)
    args = parser.parse_args(argv)
    from mmifn.fusion.inputs import load_database
    from mmifn.training.branches import CACHES, SCRIPTS, make_branch_cache
    from mmifn.training.trial import Trial

    config = chosen_config(args)
    if not config.train.branch_epochs:
        raise UserError("this stage fits a branch: --branch-epochs must be at least 1")
    print(f"{heading(SCRIPTS[branch].removesuffix('.py'))}: {branch.upper()} alone on {args.dataset}, "
          f"split {args.split_seed}, {config.train.branch_epochs} epochs, configuration {args.config}")
    space = Workspace(args.root)
    trial = Trial.drawn(load_database(space, args.dataset), args.split_by, config, args.split_seed, args.whole)
    cache, kept = make_branch_cache(branch, space, trial, announced_device(args.device, args.deterministic))
    chosen = cache.made_by.preprocess
    print(f"{space.features(args.dataset, CACHES[branch])}: {' x '.join(map(str, cache.fused.shape))}; best epoch "
          f"{chosen['epoch']}, validation {chosen['validation']:.3f} (mean of PLCC and SRCC)"
          + ("; kept from an earlier run" if kept else ""))
    return 0
