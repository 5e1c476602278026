"""Teach the encoder of authentic faults: photographs that people judged, and views of panoramas whose order is known.

Of five folds of photographs three (with --final four) are learnt from, the fourth chooses, the fifth is for
benchmarks/people.py to look at once. Scenes of the databases below --root, and --exclude-scenes, are left out.

Reads   --opinions DIR (scores.csv: file, MOS; images/), --panoramas DIR, datasets/<DS>/des.csv
Writes  adaptation/ladders/, adaptation/lite0_people.state.pt (working files), mmifn/encoders/weights/lite0_people.safetensors
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from mmifn.adapt.settings import PeopleConfig
from mmifn.cli.flags import add_datasets_argument, add_exclusion_argument, add_root_argument, command_parser
from mmifn.core.errors import user_main
from mmifn.core.outputs import check_outputs
from mmifn.core.workers import usable_cores
from mmifn.data.workspace import Workspace
from mmifn.simulate.settings import scene_list


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    add_root_argument(parser)
    parser.add_argument("--opinions", required=True, type=Path, metavar="DIR", help="photographs with scores.csv")
    parser.add_argument("--panoramas", required=True, metavar="DIR", help="folder of pristine 2:1 panoramas")
    add_datasets_argument(parser, nargs="*", what="databases whose places are kept out")
    add_exclusion_argument(parser)
    parser.add_argument("--final", action="store_true", help="learn from the validation fold too")
    parser.add_argument("--epochs", type=int, default=PeopleConfig.epochs, help="(default: %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=PeopleConfig.learning_rate, help="(default: %(default)s)")
    parser.add_argument("--ladder-weight", type=float, default=PeopleConfig.ladder_weight, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to write the weights (default: the package)")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from mmifn.adapt.ladders import make_ladders
    from mmifn.adapt.opinions import LAST, VALIDATION, read_photographs
    from mmifn.adapt.people import agreement, judge, teach, write_people
    from mmifn.adapt.scenes import outside_scenes
    from mmifn.encoders.people import NAME, PeopleEncoder, weights_file
    from mmifn.simulate.panoramas import find_scenes

    args.out = args.out or weights_file()
    space = Workspace(args.root)
    check_outputs({"--out": args.out}, [args.opinions / "scores.csv"])
    config = PeopleConfig(args.epochs, args.learning_rate, ladder_weight=args.ladder_weight, seed=args.seed)
    photographs = read_photographs(args.opinions, args.seed)
    scenes = outside_scenes(find_scenes(args.panoramas), space, args.datasets, list(scene_list(args.exclude_scenes)))
    work = space.root / "adaptation"
    ladders = make_ladders(scenes, args.seed, work / "ladders", usable_cores())
    held = {LAST} if args.final else {LAST, VALIDATION}
    rows = photographs.rows(*({0, 1, 2, VALIDATION, LAST} - held))
    look_at = photographs.rows(VALIDATION)

    def look(epoch: int, network: PeopleEncoder) -> None:
        if not args.final:
            figures = agreement(judge(network, photographs, look_at), photographs.mos[look_at])
            print(f"epoch {epoch}, validation: " + ", ".join(f"{key} {value:.4f}" for key, value in figures.items()), flush=True)

    network = teach(config, photographs, rows, ladders, work / f"{NAME}.state.pt", look)
    about = {"config": dataclasses.asdict(config), "photographs": len(rows), "scenes": sorted(scene.name for scene in scenes),
             "opinions": "LIVE In the Wild Image Quality Challenge (Ghadiyaram and Bovik 2016), 0-100"}
    write_people(network, about, args.out)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, taught by {len(rows)} photographs and {len(ladders)} ladders")
    return 0


if __name__ == "__main__":
    sys.exit(main())
