"""Stage 1 of 10: describe the quality of every image of a dataset in words.

Reads   datasets/<DS>/des.csv, datasets/<DS>/images/
Writes  text/des.csv   (one row per image, upserted after every image; other datasets' rows stay as they are)

Three sources: depictqa (your own checkout of DepictQA), vlm (any vision-language model of transformers), measured
(statistics of the panorama in words; needs no weights and no GPU).
"""

from __future__ import annotations

import argparse
import sys

from mmifn.cli.sources import add_source_arguments, make_describer
from mmifn.core.errors import user_main
from mmifn.data.images import MAX_MEGAPIXELS
from mmifn.data.manifest import image_paths, read_manifest
from mmifn.data.workspace import Workspace, add_root_argument
from mmifn.describe.generation import generate, list_items
from mmifn.describe.inputs import VIEWPORTS
from mmifn.encoders.presets import add_preset_arguments


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, metavar="DS", help="database below datasets/, such as OIQA or CVIQ")
    add_root_argument(parser)
    add_preset_arguments(parser)
    add_source_arguments(parser)
    parser.add_argument("--limit", type=int, metavar="N", help="describe at most N images in this run")
    parser.add_argument("--replace-supplied", action="store_true", help="also replace texts that were written by hand")
    parser.add_argument("--max-megapixels", type=float, default=MAX_MEGAPIXELS, metavar="MP",
                        help="refuse larger images (default: %(default)g)")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    workspace = Workspace(args.root)
    manifest = read_manifest(workspace.manifest(args.dataset), args.dataset)
    paths = image_paths(manifest, workspace.images_dir(args.dataset))
    describer = make_describer(args)
    viewports = VIEWPORTS if args.per_viewport else 0
    print(f"[1/10] generate_text: describing {len(manifest)} images of {args.dataset} (source {describer.identity.source}) "
          f"-> {workspace.descriptions}", file=sys.stderr)
    written = generate(workspace.descriptions, args.dataset, list_items(manifest.names, paths, viewports), describer,
                       limit=args.limit, replace_supplied=args.replace_supplied)
    print(f"{workspace.descriptions}: {written} descriptions written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
