"""Choose a source of descriptions from the flags of generate_text.py."""

from __future__ import annotations

import argparse
import os

from mmifn.describe.generation import DEFAULT_PROMPT, Describer
from mmifn.encoders.presets import PRESETS
from mmifn.errors import UserError

SOURCES = ("depictqa", "vlm", "measured")


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a script its --source flag and the flags of each source."""
    parser.add_argument("--source", choices=SOURCES, help="where the words come from (default: the preset's: "
                        + ", ".join(f"{name} {preset.description}" for name, preset in PRESETS.items()) + ")")
    parser.add_argument("--prompt", default=DEFAULT_PROMPT, help="what to ask (default: %(default)r)")
    parser.add_argument("--per-viewport", action="store_true", help="also describe each viewport, in rows of its own")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N",
                        help="processes that measure images (default: all cores, %(default)s)")


def make_describer(args: argparse.Namespace) -> tuple[Describer, int]:
    """Return the describer that the flags ask for, and how many viewports of each image it describes apart."""
    source = args.source or PRESETS[args.preset].description
    if source == "measured":
        from mmifn.describe.measured import MeasuredDescriber

        return MeasuredDescriber(args.workers, args.max_megapixels), 0
    raise UserError(f"--source {source} is not there yet; use --source measured")
