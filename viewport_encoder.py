"""Stage 3 of 10: look at every panorama through 20 tangent viewports and embed each view with a frozen network.

Reads   datasets/<DS>/des.csv, datasets/<DS>/images/
Writes  datasets/<DS>/viewports/<image stem>/viewport_00.png … viewport_19.png   (unless --no-png)
        features/<DS>/viewport_features.pt                                       (ViewportFeatures)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmifn.cli.flags import (
    add_dataset_argument,
    add_device_argument,
    add_limit_argument,
    add_preset_argument,
    add_root_argument,
    command_parser,
)
from mmifn.cli.stages import heading
from mmifn.core.defaults import SAMPLER_NAMES
from mmifn.core.device import announced_device
from mmifn.core.errors import user_main
from mmifn.data.workspace import Workspace
from mmifn.encoders.presets import choose


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    add_root_argument(parser)
    add_dataset_argument(parser)
    add_preset_argument(parser)
    add_device_argument(parser)
    parser.add_argument("--viewport-encoder", metavar="NAME", help="another one: lite0_adapted, vit_s14, lite0 or a timm model")
    parser.add_argument("--viewport-weights", type=Path, metavar="FILE", help="local weights file for a timm model")
    parser.add_argument("--fov-deg", type=float, nargs="+", metavar="DEG",
                        help="angle a view spans on its tangent plane; several, widest first, look at several scales "
                             "(default: the preset's)")
    parser.add_argument("--size-px", type=int, nargs="+", metavar="PX",
                        help="side of a view, one for every field of view (default: the preset's)")
    parser.add_argument("--with-size", action="store_const", const=True,
                        help="also tell the fusion how many pixels per degree are seen of a panorama (default: the preset's)")
    parser.add_argument("--sampler", choices=sorted(SAMPLER_NAMES), help="where the views look (default: the preset's)")
    parser.add_argument("--no-png", action="store_true", help="do not write the views as pictures")
    add_limit_argument(parser)
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from mmifn.data.manifest import image_paths, read_manifest
    from mmifn.encoders.encode import encode_viewports
    from mmifn.encoders.networks import load_view_encoder

    space = Workspace(args.root)
    preset = choose(args.preset, viewport=args.viewport_encoder, fovs_deg=args.fov_deg and tuple(args.fov_deg),
                    sizes_px=args.size_px and tuple(args.size_px), sampler=args.sampler, with_size=args.with_size)
    wide = " and ".join(f"{fov_deg:g}° at {px} px" for fov_deg, px in zip(preset.fovs_deg, preset.sizes_px, strict=True))
    print(f"{heading('viewport_encoder')}: {args.dataset}, {preset.sampler} views of {wide}, "
          f"embedded by {preset.viewport}")
    manifest = read_manifest(space.manifest(args.dataset), args.dataset)
    image_paths(manifest, space.images_dir(args.dataset))  # all there? before any weights are loaded
    encoder = load_view_encoder(preset.viewport, announced_device(args.device), args.viewport_weights)
    features = encode_viewports(space, manifest, preset, encoder, write_pngs=not args.no_png,
                                max_megapixels=args.max_megapixels)
    print(f"{space.features(args.dataset, 'viewport_features')}: {' x '.join(map(str, features.features.shape))} "
          "(images x viewports x features)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
