"""Adapt an encoder to distortions, on pristine panoramas of scenes outside every benchmark.

The scenes of the databases below --root, and every scene of their places, are left out; so are --exclude-scenes. An encoder
that begins without weights (vit_nano, vmamba_nano) learns from another, its teacher, on patches of places that this one knows.

Reads   --panoramas DIR … (manifest.csv beside them gives each scene's location), datasets/<DS>/des.csv
Writes  adaptation/samples/, adaptation/patches/ and adaptation/<encoder>.state.pt (working files),
        mmifn/encoders/weights/<encoder>.safetensors; with a teacher after every part, so that it may be stopped
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmifn.adapt.settings import PATCHES_A_PICTURE, Making, Patching
from mmifn.cli.flags import add_datasets_argument, add_device_argument, add_root_argument, command_parser
from mmifn.core.device import resolve_device
from mmifn.core.errors import user_main
from mmifn.core.outputs import check_outputs
from mmifn.data.workspace import Workspace
from mmifn.encoders.adaptable import TITLES, weights_file


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    add_root_argument(parser)
    add_device_argument(parser)
    parser.add_argument("--encoder", required=True, choices=sorted(TITLES),
                        help="; ".join(f"{name}: {title}" for name, title in TITLES.items()))
    parser.add_argument("--panoramas", required=True, nargs="+", metavar="DIR", help="folders of pristine 2:1 panoramas")
    add_datasets_argument(parser, nargs="*", what="databases whose places are kept out")
    parser.add_argument("--exclude-scenes", nargs="*", default=[], metavar="NAME", help="further scenes to keep out")
    parser.add_argument("--held-out", type=int, default=3, metavar="N",
                        help="scenes only to look at it with, where no teacher has its own (default: 3)")
    parser.add_argument("--versions", type=int, default=Making.versions, metavar="N",
                        help="distorted versions of each scene that views are cut from, ten each (default: %(default)s)")
    parser.add_argument("--parts", type=int, default=Patching.parts, metavar="N",
                        help=f"with a teacher: parts of the patches, {PATCHES_A_PICTURE} of each picture (default: %(default)s)")
    parser.add_argument("--epochs", type=int, help="passes over the views or patches (default: the encoder's own)")
    parser.add_argument("--learning-rate", type=float, help="(default: the encoder's own)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to write the weights (default: into the package)")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from mmifn.adapt.distil import DistilConfig, distil
    from mmifn.adapt.fit import AdaptConfig, adapt_to_scenes
    from mmifn.adapt.scenes import outside_scenes, set_apart
    from mmifn.encoders.adapted import BACKBONES
    from mmifn.simulate.panoramas import find_scenes

    backbone, space = BACKBONES[args.encoder], Workspace(args.root)
    out = args.out or weights_file(args.encoder)
    check_outputs({"--out": out})
    making = Making(args.versions, args.seed)
    epochs = backbone.epochs if args.epochs is None else args.epochs
    rate = backbone.learning_rate if args.learning_rate is None else args.learning_rate
    pictures = [scene for folder in args.panoramas for scene in find_scenes(folder)]
    scenes = outside_scenes(pictures, space, args.datasets, args.exclude_scenes)
    work, device = space.root / "adaptation", resolve_device(args.device)
    if backbone.teacher:
        wanted = DistilConfig(args.encoder, epochs, rate, backbone.teacher, Patching(args.parts, args.seed), seed=args.seed)
        figures = distil(wanted, scenes, making, out, work, device)
    else:
        config = AdaptConfig(args.encoder, epochs, rate, seed=args.seed)
        figures = adapt_to_scenes(config, *set_apart(scenes, args.held_out, args.seed), making, out, work, device)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB; on held-out scenes "
          + ", ".join(f"{key} {value:.3f}" for key, value in figures.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
