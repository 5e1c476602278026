"""Named configurations of model and training, and the flags that change them: one place for all training scripts."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields, replace

from mmifn.fusion.model import ModelConfig
from mmifn.training.fit import LOSSES, SCHEDULES, TrainConfig


@dataclass(frozen=True)
class Config:
    """A model with the way it is trained."""

    model: ModelConfig
    train: TrainConfig


CONFIGS: dict[str, Config] = {
    # Eq. 13-19 to the letter, GFF as wide as its features, AdaMax 1e-3, MSE, 100 epochs.
    "paper": Config(ModelConfig(lit_hidden=768, width=768, lit_residual=False, afm_residual=False), TrainConfig()),
    # Narrow enough for a CPU; LIT and AFM keep what they read, text is sometimes hidden (docs/experiments.md).
    "compact": Config(ModelConfig(level_widths=(48, 64, 96), lit_hidden=96, width=96, heads=4, text_dropout=0.5),
                      TrainConfig(epochs=20, branch_epochs=6, schedule="cosine")),
    # Eq. 13-19 to the letter, AdaMax and MSE at a constant rate, as narrow and as short as "compact".
    "letter": Config(ModelConfig(level_widths=(48, 64, 96), lit_hidden=96, width=96, heads=4, lit_residual=False,
                                 afm_residual=False), TrainConfig(epochs=20, branch_epochs=6)),
}
_MODEL_FIELDS = {field.name for field in fields(ModelConfig)}


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a training script its flags; each defaults to what --config says."""
    group = parser.add_argument_group("model and training (defaults: those of --config)")
    group.add_argument("--config", choices=sorted(CONFIGS), default="paper",
                       help="'paper': the published equations and settings; 'letter': the equations, narrow and short; "
                            "'compact': the same with ways past LIT and AFM, for CPUs (default: %(default)s)")
    group.add_argument("--epochs", type=int, help="epochs of the joint training")
    group.add_argument("--branch-epochs", type=int, help="epochs in which GFF and LFF are first fitted alone")
    group.add_argument("--from-scratch", action="store_const", const=0, dest="branch_epochs",
                       help="no such warm start (--branch-epochs 0)")
    group.add_argument("--freeze-branches", action="store_true", default=None,
                       help="after the warm start train AFM and head alone")
    group.add_argument("--learning-rate", type=float)
    group.add_argument("--weight-decay", type=float)
    group.add_argument("--batch-size", type=int)
    group.add_argument("--dropout", type=float)
    group.add_argument("--loss", choices=sorted(LOSSES))
    group.add_argument("--schedule", choices=sorted(SCHEDULES), help="of the learning rate")
    group.add_argument("--split-by", choices=("reference", "image"), default="reference",
                       help="unit of splitting; 'image' lets scenes leak into the test and is labelled so (default: %(default)s)")


def chosen_config(args: argparse.Namespace, epochs_share: float = 1.0, name: str | None = None) -> Config:
    """Return the named configuration (--config, unless `name` is another one) with the flags that were given put in.

    epochs_share: part of the named configuration's epochs to take where --epochs was not given (the paper halves them
    for the cross-database and ablation runs).
    """
    base = CONFIGS[name or args.config]
    base = replace(base, train=replace(base.train, epochs=max(1, round(base.train.epochs * epochs_share))))
    given = {key: value for key, value in vars(args).items() if value is not None}
    model = {key: value for key, value in given.items() if key in _MODEL_FIELDS}
    train = {field.name: given[field.name] for field in fields(TrainConfig) if field.name in given}
    return Config(replace(base.model, **model), replace(base.train, **train))


def training_flags(args: argparse.Namespace) -> list[str]:
    """Return the flags that would give these training arguments again, for handing them on to another script."""
    flags = ["--config", args.config, "--split-by", args.split_by]
    for name in ("epochs", "branch_epochs", "learning_rate", "weight_decay", "batch_size", "dropout", "loss", "schedule"):
        value = getattr(args, name)
        flags += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
    return flags + (["--freeze-branches"] if args.freeze_branches else [])
