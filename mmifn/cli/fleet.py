"""Score a manifest of panoramas on one machine or on a cluster, with Ray Data: any number of them, stopped and gone on with.

Reads   MANIFEST (Parquet or csv: id, path), whose paths are files or addresses such as s3://bucket/a.jpg
Writes  DIR/rows/*.parquet: one row an image; DIR/checkpoint: which are done (after a stop, run the same command again);
        progress once a minute and a summary on the screen
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from mmifn.cli.flags import add_limit_argument, add_looking_arguments, add_preset_argument, command_parser
from mmifn.core.defaults import BATCH
from mmifn.core.errors import UserError, user_main

CPUS_AN_ACTOR = 2.0  # the words of a panorama are measured beside its networks


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `mmifn fleet` and score_fleet.py."""
    parser = command_parser(__doc__)
    parser.add_argument("manifest", metavar="MANIFEST", help="a path or an address; paths in it are relative to its folder")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the results, a path or an address")
    parser.add_argument("--actors", type=int, nargs="+", default=[1], metavar="N",
                        help="processes that score, each with its own model; two numbers: fewest and most (default: 1)")
    parser.add_argument("--cpus-per-actor", type=float, default=CPUS_AN_ACTOR, metavar="N", help="(default: %(default)g)")
    parser.add_argument("--gpus-per-actor", type=float, default=0.0, metavar="N",
                        help="score on GPUs; a fraction lets several actors share one (default: none)")
    parser.add_argument("--batch", type=int, metavar="N", help="panoramas that go through the networks in one pass (default: "
                        f"{BATCH['cuda']} on a GPU, {BATCH['cpu']} without)")
    parser.add_argument("--block-rows", type=int, default=256, metavar="N",
                        help="images of a block: what a killed run scores again, at most, for each actor (default: %(default)s)")
    parser.add_argument("--address", metavar="ADDRESS", help="of the Ray cluster, such as auto (default: $RAY_ADDRESS, or else "
                        "this machine alone)")
    parser.add_argument("--shard", metavar="I/N", help="score only the I-th of N parts; the id alone tells the part")
    add_preset_argument(parser, default="offline")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="model, at the same path on every machine (default: the "
                        "preset's own)")
    add_looking_arguments(parser)
    add_limit_argument(parser)
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 where every image was scored, 1 where some could not be, 2 for a mistake of the user's."""
    args = build_parser().parse_args(argv)
    device = "cuda" if args.gpus_per_actor else "cpu"
    batch = BATCH[device] if args.batch is None else args.batch
    for flag, value in (("--actors", min(args.actors)), ("--block-rows", args.block_rows), ("--batch", batch)):
        if value < 1:
            raise UserError(f"{flag} {value}: at least 1 is needed")
    if len(args.actors) > 2 or args.actors[0] > args.actors[-1]:
        raise UserError(f"--actors {' '.join(map(str, args.actors))}: wanted their number, or the fewest and the most")
    if args.cpus_per_actor <= 0 or args.gpus_per_actor < 0:
        raise UserError("--cpus-per-actor must be above 0, --gpus-per-actor at least 0")
    from mmifn.scoring.files import Task
    from mmifn.scoring.fleet.run import Fleet, score_fleet
    from mmifn.scoring.listing import WHOLE, Shard

    checkpoint = args.checkpoint and Path(os.path.abspath(args.checkpoint))
    task = Task(args.preset, checkpoint, device, max_megapixels=args.max_megapixels, headset_ppd=args.pixels_per_degree,
                projection=args.projection)
    fleet = Fleet((args.actors[0], args.actors[-1]), args.cpus_per_actor, args.gpus_per_actor, args.block_rows, batch,
                  args.address or os.environ.get("RAY_ADDRESS") or "local")
    found = score_fleet(args.manifest, args.out, task, fleet, Shard.parse(args.shard) if args.shard else WHOLE)
    print("\n".join(found.lines()))
    if found.missing or found.doubled:
        print("the results are not whole", file=sys.stderr)
    return 1 if found.failed or found.missing or found.doubled else 0
