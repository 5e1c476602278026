"""All ten stages in order, in one command; run it again after a stop and it goes on where it was.

With --panoramas the databases are first simulated from pristine panoramas (disjoint scenes for each); without, they are
expected below datasets/ (see prepare_dataset.py). --demo is a small run on rendered scenes with the offline preset.

Reads   datasets/<DS>/, or --panoramas DIR
Writes  everything the stages write
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmifn.cli.experiments import experiment_parser
from mmifn.cli.flags import (
    add_datasets_argument,
    add_exclusion_argument,
    add_height_argument,
    add_preset_argument,
    add_text_encoder_argument,
)
from mmifn.cli.pipeline import FURTHER_FLAGS, Plan, run_plan
from mmifn.core.errors import user_main

DEMO = {"root": Path("demo"), "preset": "offline", "config": "compact", "panoramas": "synthetic", "scenes": 8,
        "height": 512, "levels": {"OIQA": "1,3,5", "CVIQ": "1,6,11"}, "splits": 3}
PHOTOGRAPHS = {"scenes": 16, "height": None, "levels": {}, "splits": 10}  # --demo with --panoramas DIR: full designs


def build_parser() -> argparse.ArgumentParser:
    parser = experiment_parser(__doc__)
    add_datasets_argument(parser, "--datasets", "--dataset", what="two databases, or one, without the tables across databases")
    add_preset_argument(parser)
    add_text_encoder_argument(parser)
    for stage, example in FURTHER_FLAGS.items():
        parser.add_argument(f"--{stage}-args", default="", metavar="FLAGS",
                            help=f"further flags for the {stage} stage, in quotes, such as '{example}'")
    parser.add_argument("--demo", action="store_true",
                        help="defaults of the demonstration: offline preset, rendered scenes, demo/; with --panoramas DIR: "
                             "16 scenes of DIR for each database, 10 splits")
    group = parser.add_argument_group("simulated databases")
    group.add_argument("--panoramas", metavar="DIR", help="simulate both from these pristine ERPs ('synthetic': render some)")
    group.add_argument("--scenes", type=int, default=16, metavar="N", help="scenes of each (default: %(default)s)")
    add_height_argument(group)
    add_exclusion_argument(group)
    parser.set_defaults(levels={})
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    parser = build_parser()
    if parser.parse_known_args(argv)[0].demo:
        photographs = parser.parse_known_args(argv)[0].panoramas not in (None, "synthetic")
        parser.set_defaults(**DEMO | (PHOTOGRAPHS if photographs else {}))
    args = parser.parse_args(argv)
    return run_plan(Plan.of(args))


if __name__ == "__main__":
    sys.exit(main())
