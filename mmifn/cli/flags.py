"""The flags that several scripts share, each written once, and what the training flags mean."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path

from mmifn.core.defaults import AUTO, HEADSET_PPD, MAX_MEGAPIXELS, PROJECTIONS
from mmifn.core.device import DEVICES
from mmifn.core.errors import UserError
from mmifn.core.workers import usable_cores
from mmifn.describe.depictqa.checkout import DEFAULT_EXPERIMENT
from mmifn.describe.settings import DEFAULT_MODEL, DEFAULT_PROMPT, KEEPS, VlmSettings
from mmifn.encoders.extent import WISHES
from mmifn.encoders.presets import PRESETS
from mmifn.fusion.config import ModelConfig
from mmifn.training.configs import CONFIGS, LOSSES, RATES, SCHEDULES, Config, TrainConfig, Tuning

DATABASES = ["OIQA", "CVIQ"]  # what scripts on several databases take unless told otherwise
SOURCES = ("depictqa", "vlm", "openai", "measured")
SPLIT_UNITS = ("reference", "image")
_TUNING_FLAGS = {"epochs": "--tune-epochs", "images": "--tune-images", "rank": "--lora-rank", "rate": "--tune-rate",
                 "view_weights": "--viewport-weights", "erp_weights": "--global-weights"}


def command_parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser whose --help begins with the script's docstring, lines kept."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def parse_alone(parser: argparse.ArgumentParser, argv: list[str] | None, lone: str, beside: set[str]) -> argparse.Namespace:
    """Parse a command line; where the flag `lone` is given, only it and those in `beside` have a meaning.

    Raises UserError that names every other flag whose value is not the default.
    """
    args = parser.parse_args(argv)
    flags = {action.dest: action.option_strings[0] for action in reversed(parser._actions) if action.option_strings}
    given = {flags[dest] for dest, value in vars(args).items() if value != parser.get_default(dest)}
    if lone in given and (idle := sorted(given - beside - {lone})):
        raise UserError(f"{', '.join(idle)}: without meaning beside {lone}, which trains nothing; leave out the one or the other")
    return args


def add_root_argument(parser: argparse.ArgumentParser) -> None:
    """Give a script its --root flag."""
    parser.add_argument("--root", type=Path, default=Path("."), metavar="DIR",
                        help="workspace that holds datasets/, text/, features/, checkpoints/ and results/ (default: here)")


def add_dataset_argument(parser: argparse.ArgumentParser) -> None:
    """Give a script on one database its --dataset flag, which must be given."""
    parser.add_argument("--dataset", required=True, metavar="DS", help="name of the database below datasets/, such as OIQA")


def add_datasets_argument(parser: argparse.ArgumentParser, *names: str, nargs: int | str = "+", what: str = "databases") -> None:
    """Give a script on several databases its --datasets flag (or these names of it), DATABASES unless told otherwise."""
    parser.add_argument(*names or ("--datasets",), nargs=nargs, default=DATABASES, metavar="DS",
                        help=f"{what} (default: {' '.join(DATABASES)})")


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Give a script its --device flag."""
    parser.add_argument("--device", choices=DEVICES, default="auto",
                        help="where to compute; auto takes a GPU where there is one (default: %(default)s)")


def add_deterministic_argument(parser: argparse.ArgumentParser) -> None:
    """Give a training script its --deterministic flag."""
    parser.add_argument("--deterministic", action="store_true",
                        help="on a GPU use only operations that give the same bits every time (slower; a CPU always does)")


def add_preset_argument(parser: argparse.ArgumentParser, default: str = "paper") -> None:
    """Give a script its --preset flag."""
    parser.add_argument("--preset", choices=sorted(PRESETS), default=default,
                        help="which networks: 'paper' (downloaded weights), 'offline' (a small ViT and a small VMamba that "
                             "are installed, no network) or 'offline-lite0' (their teacher in both places); default: %(default)s")


def add_text_encoder_argument(parser: argparse.ArgumentParser) -> None:
    """Give a script its --text-encoder flag."""
    parser.add_argument("--text-encoder", metavar="NAME", help="'minilm', a model on the hub, or a folder with one "
                        "(default: the preset's)")


def add_limit_argument(parser: argparse.ArgumentParser) -> None:
    """Give a script that reads images its --max-megapixels flag."""
    parser.add_argument("--max-megapixels", type=float, default=MAX_MEGAPIXELS, metavar="MP",
                        help="refuse larger images (default: %(default)g)")


def add_looking_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a script that scores pictures what tells how they are looked at: --pixels-per-degree and --projection."""
    parser.add_argument("--pixels-per-degree", type=float, default=HEADSET_PPD, metavar="PPD",
                        help="of the headset to score for; newer ones show 20 to 25, but nobody's opinions were collected there "
                             "(default: %(default).1f, at which people judged)")
    parser.add_argument("--projection", choices=PROJECTIONS, default=AUTO,
                        help="what the pictures are; auto refuses what is no panorama, 'equirectangular' takes anything for one, "
                             "the others make one of it: two lenses, two eyes (a score each), six faces (default: %(default)s)")


def add_exclusion_argument(parser: argparse._ActionsContainer) -> None:
    """Give a script that simulates databases its --exclude-scenes flag."""
    parser.add_argument("--exclude-scenes", default="", metavar="NAMES", help="never these places: names or a file")


def add_height_argument(parser: argparse._ActionsContainer) -> None:
    """Give a script that simulates databases its --height flag."""
    parser.add_argument("--height", type=int, metavar="PX", help="reduce the panoramas to this height (default: keep)")


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a script its --source flag and the flags of each source of descriptions."""
    parser.add_argument("--source", choices=SOURCES, help="where the words come from (default: the preset's: "
                        + ", ".join(f"{name} {preset.description}" for name, preset in PRESETS.items()) + ")")
    parser.add_argument("--prompt", help=f"what depictqa, vlm or openai is asked (default: {DEFAULT_PROMPT!r})")
    parser.add_argument("--per-viewport", action="store_true", help="also describe each viewport, in rows of its own")
    measured = parser.add_argument_group("source measured")
    measured.add_argument("--workers", type=int, default=usable_cores(), metavar="N",
                          help="processes that measure images (default: one per core, %(default)s)")
    depictqa = parser.add_argument_group("source depictqa")
    depictqa.add_argument("--depictqa-dir", type=Path, metavar="DIR", help="your checkout of DepictQA")
    depictqa.add_argument("--depictqa-python", type=Path, metavar="PYTHON", help="the Python of DepictQA's environment")
    depictqa.add_argument("--depictqa-experiment", default=DEFAULT_EXPERIMENT, metavar="EXP",
                          help="folder below experiments/ (default: %(default)s)")
    depictqa.add_argument("--depictqa-weights", type=Path, metavar="FILE",
                          help="trained parameters (default: those its config.yaml names)")
    _add_model_arguments(parser)
    _add_server_arguments(parser)


def _add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the sources that ask a language model."""
    vlm, defaults = parser.add_argument_group("sources vlm and openai"), VlmSettings()
    vlm.add_argument("--model", metavar="ID", help=f"vlm: identifier on the hub, or a local folder (default: {DEFAULT_MODEL}); "
                     "openai: its name on the server (default: the only one there)")
    vlm.add_argument("--system-prompt", default="", metavar="TEXT", help="said before the question (default: nothing)")
    vlm.add_argument("--keep", choices=KEEPS, default=defaults.keep, help="what of an answer: 'reasoning' is what stands in "
                     "<think>, where models tuned to rate images describe them (default: %(default)s)")
    for flag, name, text in (("--batch-size", "batch_size", "images asked about at once (vlm)"),
                             ("--max-new-tokens", "max_new_tokens", "longest answer"),
                             ("--erp-height", "erp_height_px", "rows of the panorama that the model sees"),
                             ("--views", "views", "viewports shown beside the panorama, 0 to 6"),
                             ("--view-size", "view_px", "side of each viewport in pixels")):
        vlm.add_argument(flag, dest=name, type=int, default=getattr(defaults, name), metavar="N",
                         help=f"{text} (default: %(default)s)")


def _add_server_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("source openai")
    group.add_argument("--base-url", metavar="URL", help="the server, whose questions go to URL/chat/completions "
                       "(default: port 8000 of this machine)")
    group.add_argument("--allow-host", metavar="HOST", help="send the images to this machine, not only to this one itself")
    group.add_argument("--api-key-env", metavar="VARIABLE", help="environment variable that holds the server's key")
    group.add_argument("--concurrency", type=int, default=4, metavar="N", help="questions at a time (default: %(default)s)")
    group.add_argument("--timeout", type=float, default=300.0, metavar="S", help="seconds for an answer (default: %(default)g)")


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
    group.add_argument("--global-dropout", type=float, metavar="SHARE",
                       help="share of the training images that GFF sees without the panorama's features, for few scenes")
    group.add_argument("--text-dropout", type=float, metavar="P", help="share of the training images whose text is hidden")
    group.add_argument("--late", type=int, metavar="N", help="keep the last N numbers of every view from the fusion, for what "
                       "tools/correct_model.py teaches later")
    group.add_argument("--worst-views", action="store_true", default=None,
                       help="learn by how much the worst viewports count more than the others, in place of their mean")
    group.add_argument("--last-epoch", action="store_true", default=None,
                       help="keep the last epoch, not the best on the validation scenes: for a number of epochs chosen before")
    group.add_argument("--loss", choices=sorted(LOSSES))
    group.add_argument("--schedule", choices=sorted(SCHEDULES), help="of the learning rate")
    group.add_argument("--split-by", choices=SPLIT_UNITS, default="reference",
                       help="unit of splitting; 'image' lets scenes leak into the test and is labelled so (default: %(default)s)")


def add_tuning_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a script that trains its flags for tuning encoders, which is off unless it is asked for."""
    group = parser.add_argument_group("tuning of the encoders, end to end with the fusion (off by default; docs/tuning.md)")
    group.add_argument("--tune-encoders", metavar="lora|last-N|all",
                       help="low-rank updates beside all matrices, the last N blocks, or all weights")
    defaults = {field.name: field.default for field in fields(Tuning)}
    rates = ", ".join(f"{what} {rate:g}" for what, rate in RATES.items())
    for name, kind, metavar, text in (
            ("epochs", int, "N", f"epochs after the training on frozen encoders (default: {defaults['epochs']})"),
            ("images", int, "N", f"panoramas a step (default: {defaults['images']})"),
            ("rank", int, "N", f"rank of the updates (default: {defaults['rank']})"),
            ("rate", float, "RATE", f"learning rate of the encoders (default: {rates})"),
            ("view_weights", str, "FILE", "as given to viewport_encoder.py"),
            ("erp_weights", str, "FILE", "as given to global_feature_extractor.py")):
        group.add_argument(_TUNING_FLAGS[name], dest=f"tune_{name}", type=kind, metavar=metavar, help=text)


def chosen_tuning(args: argparse.Namespace) -> Tuning | None:
    """Return how encoders are to be tuned, None where they are not. Raises UserError for flags that then mean nothing."""
    given = {field.name: value for field in fields(Tuning)
             if (value := getattr(args, f"tune_{field.name}", None)) is not None}
    what = getattr(args, "tune_encoders", None)
    if what is None and given:
        raise UserError(f"{', '.join(_TUNING_FLAGS[name] for name in given)}: nothing is tuned without --tune-encoders; {WISHES}")
    return None if what is None else Tuning(what, **given)


def add_split_argument(parser: argparse.ArgumentParser) -> None:
    """Give a script that trains one split its --split-seed flag."""
    parser.add_argument("--split-seed", type=int, default=0, metavar="N", help="which scene split (default: %(default)s)")
    parser.add_argument("--whole", action="store_true", help="train on all scenes but those that validate")


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Give an experiment script its --splits, --workers and --logistic flags."""
    parser.add_argument("--splits", type=lambda given: int(given) if given.lstrip("-").isdigit() else given, default=10,
                        metavar="N|FILE", help="scene splits (for cross_eval: trainings) of seeds 0 … N-1, or a file of splits "
                        "such as a published set (docs/tables.md; default: %(default)s)")
    parser.add_argument("--workers", type=int, metavar="N", help="trainings at a time on the CPU (default: one a core)")
    parser.add_argument("--logistic", type=int, choices=(4, 5), default=4,
                        help="parameters of the logistic that is fitted before PLCC and RMSE (default: %(default)s)")


def chosen_config(args: argparse.Namespace, epochs_share: float = 1.0, name: str | None = None) -> Config:
    """Return the named configuration (--config, unless `name` is another one) with the flags that were given put in.

    epochs_share: part of the named configuration's epochs to take where --epochs was not given (the paper halves them
    for the cross-database and ablation runs).
    """
    base = CONFIGS[name or args.config]
    base = replace(base, train=replace(base.train, epochs=max(1, round(base.train.epochs * epochs_share))))
    given = {key: value for key, value in vars(args).items() if value is not None}
    model, train = ({field.name: given[field.name] for field in fields(kind) if field.name in given}
                    for kind in (ModelConfig, TrainConfig))
    return Config(replace(base.model, **model), replace(base.train, **train), chosen_tuning(args))


def training_flags(args: argparse.Namespace) -> list[str]:
    """Return the flags that would give these training arguments again, for handing them on to another script."""
    flags = ["--config", args.config, "--split-by", args.split_by]
    for name in ("epochs", "branch_epochs", "learning_rate", "weight_decay", "batch_size", "dropout", "global_dropout",
                 "text_dropout", "late", "loss", "schedule"):
        value = getattr(args, name)
        flags += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
    switches = "freeze_branches", "worst_views", "last_epoch"
    return flags + [f"--{name.replace('_', '-')}" for name in switches if getattr(args, name)]
