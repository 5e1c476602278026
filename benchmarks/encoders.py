"""How well adapted encoders tell views of scenes that nobody looked at while they were made.

    python benchmarks/encoders.py --panoramas SMALL --scenes docs/held_out_scenes.txt [--versions 16] [--encoders NAME …]

Every scene of a place that none of the encoders knows is distorted at random in so many versions, as adaptation does it, and ten
views of each are told. Prints the rank correlation (SRCC) of people's score, GMSD and SSIM with what is true, and the share of
kinds told right.
Samples are kept in --root/adaptation/samples.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from mmifn.adapt.fit import agreement
from mmifn.adapt.samples import make_samples
from mmifn.adapt.settings import Making
from mmifn.cli.flags import add_root_argument, command_parser
from mmifn.core.errors import UserError, user_main
from mmifn.core.workers import usable_cores
from mmifn.data.workspace import Workspace
from mmifn.encoders.adapted import BACKBONES, load_adapted
from mmifn.encoders.encoder import freeze
from mmifn.simulate.panoramas import find_scenes


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    add_root_argument(parser)
    parser.add_argument("--panoramas", required=True, metavar="DIR", help="folder of pristine panoramas, 2048 px wide")
    parser.add_argument("--scenes", required=True, type=Path, metavar="FILE", help="names of the scenes, one a line")
    parser.add_argument("--versions", type=int, default=16, metavar="N", help="of each scene (default: %(default)s)")
    parser.add_argument("--encoders", nargs="+", choices=sorted(BACKBONES), metavar="NAME",
                        default=["lite0_adapted", "vit_nano", "vmamba_nano"], help="(default: %(default)s)")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    loaded = {name: load_adapted(name) for name in args.encoders}
    pictures, wanted = find_scenes(args.panoramas), set(args.scenes.read_text(encoding="utf-8").split())
    known = {name for _, about in loaded.values() for name in [*about["scenes"], *about["held_out_scenes"]]}
    places = {scene.location for scene in pictures if scene.name in known}
    scenes = [scene for scene in pictures if scene.name in wanted and scene.location not in places]
    if not scenes:
        raise UserError(f"{args.panoramas} has none of the scenes of {args.scenes} that no encoder knows")
    samples = make_samples(scenes, Making(args.versions), Workspace(args.root).root / "adaptation" / "samples", usable_cores())
    print(f"{sum(map(len, samples.values()))} views of {len(scenes)} scenes")
    for name, (given, _) in loaded.items():
        network = freeze(given, torch.device("cpu"))[0].to(memory_format=torch.channels_last)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (BACKBONES[name].mean, BACKBONES[name].std))

        def normalise(views: torch.Tensor, mean: torch.Tensor = mean, std: torch.Tensor = std) -> torch.Tensor:
            return ((views.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)

        print(f"{name:15}", *(f"{key} {value:.3f}" for key, value in agreement(network, samples, normalise).items()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
