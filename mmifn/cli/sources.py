"""Choose a source of descriptions from the flags of generate_text.py."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmifn.core.errors import UserError
from mmifn.core.workers import usable_cores
from mmifn.describe.depictqa.checkout import DEFAULT_EXPERIMENT, open_checkout
from mmifn.describe.generation import DEFAULT_PROMPT, Describer
from mmifn.describe.vlm import DEFAULT_MODEL, VlmDescriber, VlmSettings
from mmifn.encoders.presets import PRESETS, resolve_device

SOURCES = ("depictqa", "vlm", "measured")


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a script its --source flag and the flags of each source."""
    parser.add_argument("--source", choices=SOURCES, help="where the words come from (default: the preset's: "
                        + ", ".join(f"{name} {preset.description}" for name, preset in PRESETS.items()) + ")")
    parser.add_argument("--prompt", help=f"what depictqa or vlm is asked (default: {DEFAULT_PROMPT!r})")
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
    vlm, defaults = parser.add_argument_group("source vlm"), VlmSettings()
    vlm.add_argument("--model", default=DEFAULT_MODEL, metavar="ID",
                     help="identifier on the hub, or a local folder (default: %(default)s)")
    for flag, name, text in (("--batch-size", "batch_size", "images asked about at once"),
                             ("--max-new-tokens", "max_new_tokens", "longest answer"),
                             ("--erp-height", "erp_height_px", "rows of the panorama that the model sees"),
                             ("--views", "views", "viewports shown beside the panorama, 0 to 6"),
                             ("--view-size", "view_px", "side of each viewport in pixels")):
        vlm.add_argument(flag, dest=name, type=int, default=getattr(defaults, name), metavar="N",
                         help=f"{text} (default: %(default)s)")


def _check_numbers(args: argparse.Namespace) -> None:
    lowest = {"workers": 1, "batch_size": 1, "max_new_tokens": 1, "erp_height_px": 32, "view_px": 28, "views": 0}
    wrong = [f"--{name.replace('_px', '').replace('_', '-')} {getattr(args, name)}: at least {least} is needed"
             for name, least in lowest.items() if getattr(args, name) < least]
    if args.views > 6:
        wrong.append(f"--views {args.views}: at most 6 are shown beside the panorama")
    if args.limit is not None and args.limit < 1:
        wrong.append(f"--limit {args.limit}: at least 1 is needed")
    if args.prompt is not None and not args.prompt.strip():
        wrong.append("--prompt is empty")
    if wrong:
        raise UserError("\n".join(wrong))


def make_describer(args: argparse.Namespace) -> Describer:
    """Return the describer that the flags ask for.

    Raises UserError for impossible numbers, and for a prompt where the source asks nothing.
    """
    _check_numbers(args)
    source = args.source or PRESETS[args.preset].description
    if source == "measured":
        from mmifn.describe.measured.describer import MeasuredDescriber

        if args.prompt is not None:
            raise UserError("--prompt has no meaning for --source measured: it is not asked, it measures")
        return MeasuredDescriber(args.workers, args.max_megapixels)
    prompt = args.prompt if args.prompt is not None else DEFAULT_PROMPT
    if source == "depictqa":
        from mmifn.describe.depictqa.describer import DepictQADescriber

        checkout = open_checkout(args.depictqa_dir, args.depictqa_python, args.depictqa_experiment,
                                 args.depictqa_weights)
        return DepictQADescriber(checkout, prompt, args.max_megapixels)
    settings = VlmSettings(**{name: getattr(args, name) for name in vars(VlmSettings())})
    return VlmDescriber(args.model, prompt, resolve_device(args.device), settings, args.max_megapixels)
