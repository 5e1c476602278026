"""Merge databases into one, to train on all of them: images linked, labels, words and finished features taken over.

Reads   datasets/<DS>/des.csv and images, text/des.csv, features/<DS>/{text,viewport,global}_features.pt of every DS
Writes  the same for --into, and datasets/<into>/merge.json (which databases; a folder without it is never touched)
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from mmifn.cli.flags import add_root_argument, command_parser
from mmifn.core.errors import UserError, user_main
from mmifn.data.workspace import Workspace


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    add_root_argument(parser)
    parser.add_argument("--datasets", nargs="+", required=True, metavar="DS", help="databases to merge, encoded alike")
    parser.add_argument("--into", required=True, metavar="NAME", help="name of the merged database")
    parser.add_argument("--overwrite", action="store_true", help="make anew a merge of other databases")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from mmifn.core.artefact import save
    from mmifn.data.features import merged_features
    from mmifn.data.merge import merge_images, merged_name
    from mmifn.describe.table import read_rows, upsert

    if args.into in args.datasets or len(set(args.datasets)) < len(args.datasets):
        raise UserError(f"--datasets {' '.join(args.datasets)} --into {args.into}: every name may stand once")
    space = Workspace(args.root)
    space.dataset_dir(args.into)  # refuses an impossible name before the features are read
    features = merged_features(space, args.datasets, args.into)
    rows = [row for row in read_rows(space.descriptions) if row.dataset in args.datasets]
    table = merge_images(space, args.datasets, args.into, args.overwrite)
    for cache, artefact in features.items():
        save(artefact, space.features(args.into, cache))
    upsert(space.descriptions, [replace(row, dataset=args.into, image_name=merged_name(row.dataset, row.image_name))
                                for row in rows])
    print(f"{space.manifest(args.into)}: {len(table)} images of {table['reference'].nunique()} scenes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
