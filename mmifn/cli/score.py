"""Score any panoramas, one or whole folders: how good (0-100, in words, with an interval), where, and why.

Reads   360° images (equirectangular, 2:1), the trained model that comes with the package (or --checkpoint)
Writes  to the screen; --json, --csv and --parquet: one row an image, as they come (after a stop, run the same command again);
        --map DIR: DIR/<image>/map.png, worst_1.png …; --html FILE: one page to look around in, without a network
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmifn.cli.flags import add_device_argument, add_limit_argument, add_looking_arguments, add_preset_argument, command_parser
from mmifn.core.defaults import EVERY_S
from mmifn.core.errors import UserError, user_main
from mmifn.core.outputs import check_outputs, refuse_foreign

if TYPE_CHECKING:
    from mmifn.scoring.listing import Listing


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `mmifn score` and predict.py."""
    parser = command_parser(__doc__)
    add_images_argument(parser)
    parser.add_argument("--list", action=_List, metavar="FILE",
                        help="score the paths in this file instead, one a line; '-': from a pipe")
    parser.add_argument("--shard", metavar="I/N", help="score only the I-th of N parts of the images; the name of an image "
                        "alone tells its part, so that jobs on many machines need not speak with each other")
    parser.add_argument("--json", metavar="FILE", help="write lines of JSON; '-' for the screen, instead of the words")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a table")
    parser.add_argument("--parquet", type=Path, metavar="FILE|DIR", help="write one file (*.parquet), or parts into a "
                        "folder, which shards can share; images that failed are there with their error")
    parser.add_argument("--verify", action="store_true", help="know images that an earlier run has scored by their content, "
                        "not by size and time of modification")
    parser.add_argument("--map", type=Path, metavar="DIR", help="draw where each panorama is good and bad, and its worst views")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write one page in which the panoramas can be looked at")
    add_preset_argument(parser, default="offline")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE",
                        help="model of tools/export_model.py or checkpoint of train.py (default: the preset's own)")
    parser.add_argument("--reference", type=Path, metavar="PRISTINE",
                        help="the undistorted panorama: also score by full-reference metrics")
    add_looking_arguments(parser)
    parser.add_argument("--perspective", nargs="?", type=float, const=0.0, metavar="FOV_DEG",
                        help="the pictures are ordinary photographs or single views, not panoramas; their angle across, if known")
    parser.add_argument("--every", default=f"{EVERY_S:g}s", metavar="TIME",
                        help="of videos: score a frame every so often, such as 500ms, 2s or 1min (default: %(default)s)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one for two cores; one on a GPU)")
    add_device_argument(parser)
    add_limit_argument(parser)
    return parser


class _List(argparse.Action):
    """A flag that stands for the images, which then need not be named (argparse takes nargs="*" for empty too early)."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object,
                 option_string: str | None = None) -> None:
        setattr(namespace, self.dest, values)
        for action in parser._actions:
            action.required &= action.dest != "images"


def add_images_argument(parser: argparse.ArgumentParser) -> None:
    """Give a command its images, or folders that hold some."""
    parser.add_argument("images", nargs="+", default=[], type=Path, metavar="IMAGE_OR_FOLDER",
                        help="panoramas, or folders that hold some")


@user_main
def main(argv: list[str] | None = None, parser: argparse.ArgumentParser | None = None) -> int:
    """Run the command; 0 where every image was scored, 1 where some could not be, 2 for a mistake of the user's."""
    parser = parser or build_parser()
    args = parser.parse_args(argv)
    if args.images and args.list:
        parser.error("give images and folders, or --list; not both")
    from mmifn.scoring.files import Task  # what computes is loaded once there is something to compute
    from mmifn.scoring.listing import WHOLE, Listing, Shard
    from mmifn.scoring.pieces import parse_every
    from mmifn.scoring.run import Outputs, default_workers, score_all

    if args.workers is not None and args.workers < 1:
        raise UserError(f"--workers {args.workers}: at least 1 is needed")
    if args.reference and not args.reference.is_file():
        raise UserError(f"--reference {args.reference} does not exist")
    listing = Listing(tuple(args.images), args.list, Shard.parse(args.shard) if args.shard else WHOLE)
    _look_at_outputs(args, listing)
    if passed := listing.passed_over():
        print("passed over in folders: " + ", ".join(f"{count} {kind}" for kind, count in passed.most_common())
              + "; name a file to have it read all the same", file=sys.stderr)
    outputs = Outputs(args.json, args.csv, args.html, args.parquet, args.verify)
    if args.perspective is not None:
        from mmifn.scoring.photographs import score_photographs

        return 1 if score_photographs(listing, args.perspective or None, outputs, args.device) else 0
    task = Task(args.preset, args.checkpoint, args.device, args.map, _page_width(listing) if args.html else 0,
                args.reference, args.max_megapixels, args.pixels_per_degree, args.projection,
                parse_every(args.every))
    failed = score_all(listing, task, outputs, args.workers or default_workers(args.device))
    return 1 if failed else 0


def _look_at_outputs(args: argparse.Namespace, listing: Listing) -> None:
    """Refuse outputs that cannot be written or would take the place of what is read."""
    from mmifn.scoring.parquet import SUFFIX

    parts = args.parquet if args.parquet and args.parquet.suffix != SUFFIX else None
    files = {"--json": None if args.json in (None, "-") else Path(args.json), "--csv": args.csv, "--html": args.html,
             "--parquet": None if parts else args.parquet}
    images = (path for _, path in listing) if listing.repeatable else ()
    named = Path(args.list) if args.list not in (None, "-") else None
    inputs = itertools.chain([args.checkpoint, args.reference, named], images)
    check_outputs(files, inputs, {"--map": args.map, "--parquet": parts})
    refuse_foreign("--html", args.html, b"<!doctype html>", "page")


def _page_width(listing: Listing) -> int:
    """Return how wide panoramas are in the page of a listing."""
    from mmifn.scoring.viewer import page_width

    if not listing.repeatable:
        raise UserError("--html shows many panoramas smaller than few, and a pipe does not tell how many will come; give "
                        "--list FILE")
    return page_width(sum(1 for _ in listing))
