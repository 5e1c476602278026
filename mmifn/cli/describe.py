"""Say in words what is wrong with each panorama, from measurements alone: no network is run and no score is given.

Writes  to the screen; --json: one line per image with the words, the dominant distortion and all that was measured
"""

from __future__ import annotations

import argparse
import sys
import textwrap

from mmifn.cli.flags import add_limit_argument, command_parser
from mmifn.cli.score import add_images_argument
from mmifn.core.errors import fault_of_image, user_main
from mmifn.core.streams import json_line


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `mmifn describe`."""
    parser = command_parser(__doc__)
    add_images_argument(parser)
    parser.add_argument("--json", action="store_true", help="print lines of JSON instead")
    add_limit_argument(parser)
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 where every image was described, 1 where some could not be read."""
    args = build_parser().parse_args(argv)
    from mmifn.data.placement import read_spheres
    from mmifn.describe.measured.describer import describe
    from mmifn.scoring.listing import Listing

    failed = 0
    for label, path in Listing(tuple(args.images)):
        try:
            sphere = read_spheres(path, str(path), max_megapixels=args.max_megapixels)[0]
            said = describe(sphere.erp)
        except Exception as error:
            if not (fault := fault_of_image(path, error)):
                raise
            failed += 1
            print(f"error: {fault}", file=sys.stderr)
            continue
        if args.json:
            row = {"image": label, "description": said.reading().told, "dominant": said.dominant, "statistics": said.statistics}
            print(json_line(row), flush=True)
        else:
            told = textwrap.fill(said.reading().told, 110, initial_indent="  ", subsequent_indent="  ")
            print(f"{label}:", told, sep="\n", flush=True)
    return 1 if failed else 0
