"""Score a database by full-reference metrics of 360° images: the baseline rows of the tables.

Reads   datasets/<DS>/des.csv, datasets/<DS>/images/, datasets/<DS>/references/
Writes  results/fullref_<DS>.csv (image_name and one column per metric), results/fullref_<DS>.txt (the table printed);
        features/<DS>/full_reference.pt keeps what was measured, for the next run and for the tables
"""

from __future__ import annotations

import argparse
import sys

from mmifn.cli.flags import add_dataset_argument, add_limit_argument, add_root_argument, command_parser
from mmifn.core.errors import user_main
from mmifn.core.files import atomic_path, write_text
from mmifn.core.workers import usable_cores
from mmifn.data.workspace import Workspace
from mmifn.fullref.titles import TITLES


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    add_root_argument(parser)
    add_dataset_argument(parser)
    parser.add_argument("--metrics", nargs="+", choices=list(TITLES), default=list(TITLES), metavar="NAME",
                        help=f"which metrics (default: all): {', '.join(TITLES)}")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes (default: one per core)")
    add_limit_argument(parser)
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    import pandas as pd

    from mmifn.core.csv_cells import neutral_frame
    from mmifn.data.manifest import image_paths, read_manifest
    from mmifn.fullref.database import agreement_table, measure_database

    space = Workspace(args.root)
    manifest = read_manifest(space.manifest(args.dataset), args.dataset)
    image_paths(manifest, space.images_dir(args.dataset))
    scores = measure_database(space, manifest, tuple(args.metrics), args.workers or usable_cores(), args.max_megapixels)
    target = space.results / f"fullref_{args.dataset}.csv"
    with atomic_path(target) as temporary:
        table = pd.DataFrame(scores.values.numpy(), scores.names, scores.columns).rename_axis("image_name")
        neutral_frame(table).to_csv(temporary, lineterminator="\n")
    lines = agreement_table(manifest, scores)
    write_text(target.with_suffix(".txt"), lines + "\n")
    print(lines)
    print(f"{target}: {len(scores.names)} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
