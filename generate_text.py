"""Stage 1 of 10: describe the quality of every image of a dataset in words.

Reads   datasets/<DS>/des.csv, datasets/<DS>/images/
Writes  text/des.csv   (one row per image, upserted after every image; other datasets' rows stay as they are)

Four sources: depictqa (your own checkout of DepictQA), vlm (any vision-language model of transformers), openai (one behind a
server), measured (statistics of the panorama in words; needs no weights and no GPU).
"""

from __future__ import annotations

import argparse
import sys

from mmifn.cli.flags import (
    add_dataset_argument,
    add_device_argument,
    add_limit_argument,
    add_preset_argument,
    add_root_argument,
    add_source_arguments,
    command_parser,
)
from mmifn.cli.stages import heading
from mmifn.core.errors import user_main
from mmifn.data.workspace import Workspace


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    add_dataset_argument(parser)
    add_root_argument(parser)
    add_preset_argument(parser)
    add_device_argument(parser)
    add_source_arguments(parser)
    parser.add_argument("--limit", type=int, metavar="N", help="describe at most N images in this run")
    parser.add_argument("--replace-supplied", action="store_true", help="also replace texts that were written by hand")
    parser.add_argument("--replace-others", action="store_true", help="also replace texts that another source made")
    add_limit_argument(parser)
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from mmifn.cli.sources import lacks_its_source, make_describer
    from mmifn.data.manifest import image_paths, read_manifest
    from mmifn.describe.generation import generate, list_items, undescribed
    from mmifn.describe.inputs import VIEWPORTS
    from mmifn.describe.table import read_rows

    workspace = Workspace(args.root)
    manifest = read_manifest(workspace.manifest(args.dataset), args.dataset)
    paths = image_paths(manifest, workspace.images_dir(args.dataset))
    items = list_items(manifest.names, paths, VIEWPORTS if args.per_viewport else 0)
    replacing = args.replace_supplied or args.replace_others
    if lacks_its_source(args) and not replacing and not undescribed(read_rows(workspace.descriptions), args.dataset, items):
        print(f"{workspace.descriptions}: all {len(items)} descriptions of {args.dataset} are there; nothing to ask DepictQA for")
        return 0
    describer = make_describer(args)
    print(f"{heading('generate_text')}: describing {len(manifest)} images of {args.dataset} (source {describer.identity.source}) "
          f"-> {workspace.descriptions}", file=sys.stderr)
    written = generate(workspace.descriptions, args.dataset, items, describer, limit=args.limit,
                       replace_supplied=args.replace_supplied, replace_others=args.replace_others)
    print(f"{workspace.descriptions}: {written} descriptions written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
