"""Stage 4 of 10: encode every whole panorama with a frozen network at three scales.

Reads   datasets/<DS>/des.csv, datasets/<DS>/images/
Writes  features/<DS>/global_features.pt   (GlobalFeatures: f2, f3, f4 pooled to a small grid)
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
    parser.add_argument("--global-encoder", metavar="NAME", help="another one: lite0_adapted, lite0 or a VMamba variant")
    parser.add_argument("--global-weights", type=Path, metavar="FILE", help="local VMamba checkpoint (.pth or .safetensors)")
    parser.add_argument("--erp-height-px", type=int, help="height to which the ERP is resized (default: the preset's)")
    parser.add_argument("--wrap-px", type=int, metavar="PX",
                        help="continue the ERP across its seam by this much, a multiple of 32, so that the network sees it "
                             "closed (default: the preset's)")
    add_limit_argument(parser)
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from mmifn.data.manifest import image_paths, read_manifest
    from mmifn.encoders.encode import encode_globals
    from mmifn.encoders.networks import load_erp_encoder

    space = Workspace(args.root)
    preset = choose(args.preset, global_=args.global_encoder, erp_height_px=args.erp_height_px, wrap_px=args.wrap_px)
    print(f"{heading('global_feature_extractor')}: {args.dataset}, whole ERP at {preset.erp_height_px}x"
          f"{2 * preset.erp_height_px}, encoded by {preset.global_}")
    manifest = read_manifest(space.manifest(args.dataset), args.dataset)
    image_paths(manifest, space.images_dir(args.dataset))  # all there? before any weights are loaded
    encoder = load_erp_encoder(preset, announced_device(args.device), args.global_weights)
    features = encode_globals(space, manifest, preset, encoder, max_megapixels=args.max_megapixels)
    shapes = ", ".join("x".join(map(str, level.shape)) for level in features.levels)
    print(f"{space.features(args.dataset, 'global_features')}: f2, f3, f4 = {shapes} (images x cells x features)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
