"""Make a database of the design of OIQA or CVIQ from pristine panoramas; its labels are simulated, and say so.

Reads   a folder of pristine 2:1 panoramas (manifest.csv beside them may give each scene's location), or none:
        --panoramas synthetic lets the package render its own scenes
Writes  datasets/<DS>/images/, datasets/<DS>/references/, datasets/<DS>/des.csv, datasets/<DS>/simulation.json
"""

from __future__ import annotations

import argparse
import sys

from mmifn.cli.flags import add_exclusion_argument, add_height_argument, add_limit_argument, add_root_argument, command_parser
from mmifn.core.errors import UserError, user_main
from mmifn.data.workspace import Workspace
from mmifn.simulate.settings import AUTHENTIC, BROAD, EXTREME, FLAWLESS, HARMLESS, LENSES, LIKES, REGIONAL, Simulation, scene_list


def _levels(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(f"--levels {text}: wanted numbers from 1, separated by commas, such as 1,3,5") from error


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    add_root_argument(parser)
    parser.add_argument("--like", required=True, choices=LIKES,
                        help=f"whose design to follow; {BROAD}: pristine panoramas, pairs of distortions and other kinds; "
                             f"{EXTREME}: distortions stronger than people judged; "
                             f"{AUTHENTIC}: faults of cameras and stitchers; {LENSES}: lenses of slightly unlike "
                             f"exposure; {REGIONAL}: distortions of a part of the sphere; "
                             f"{FLAWLESS}: pristine panoramas alone; "
                             f"{HARMLESS}: grey, brighter and darker copies of them")
    parser.add_argument("--panoramas", required=True, metavar="DIR", help="folder of pristine ERPs, or: synthetic")
    parser.add_argument("--dataset", help="name of the database below datasets/ (default: as --like)")
    parser.add_argument("--scenes", type=int, metavar="N", help="how many scenes (default: 16, or all --only-scenes)")
    parser.add_argument("--seed", type=int, default=Simulation.seed, help="chooses scenes and noise (default: %(default)s)")
    add_height_argument(parser)
    parser.add_argument("--levels", default="", metavar="LIST", help="only these levels, such as 1,3,5 (default: all)")
    add_exclusion_argument(parser)
    parser.add_argument("--only-scenes", default="", metavar="NAMES", help="exactly these scenes: names or a file")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes (default: one per core)")
    parser.add_argument("--overwrite", action="store_true", help="make anew a simulation of other settings")
    parser.add_argument("--pixels-per-degree", type=float, dest="ppd", metavar="N", help="of the headset whose viewers' opinions "
                        "are simulated (default: 11.4, as of CVIQ's and OIQA's; synthetic: as many as the panoramas have)")
    add_limit_argument(parser)
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from mmifn.adapt.authentic import simulate_authentic
    from mmifn.data.summary import describe
    from mmifn.simulate.broad import simulate_broad
    from mmifn.simulate.database import simulate
    from mmifn.simulate.extreme import simulate_extreme
    from mmifn.simulate.flawless import simulate_flawless
    from mmifn.simulate.regional import simulate_regional

    only = scene_list(args.only_scenes)
    scenes = 16 if args.scenes is None and not only else args.scenes
    plan = Simulation(args.like, args.dataset or args.like, args.panoramas, scenes, args.seed, args.height,
                      _levels(args.levels) if args.levels else (), scene_list(args.exclude_scenes), only, args.workers,
                      args.overwrite, args.max_megapixels, args.ppd)
    space = Workspace(args.root)
    special = {BROAD: simulate_broad, EXTREME: simulate_extreme, AUTHENTIC: simulate_authentic, LENSES: simulate_authentic,
               REGIONAL: simulate_regional, FLAWLESS: simulate_flawless,
               HARMLESS: simulate_flawless}
    table = special.get(args.like, simulate)(plan, space)
    print(describe(table, plan.dataset))
    print(f"{space.manifest(plan.dataset)}: {len(table)} images of {table['reference'].nunique()} scenes, labels simulated")
    return 0


if __name__ == "__main__":
    sys.exit(main())
