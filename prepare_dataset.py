"""Import OIQA, CVIQ or a database of your own from the folder it was downloaded to.

Reads   DOWNLOAD_FOLDER: images (.jpg, .png, … in any subfolders) and a label file (.mat, .csv or .txt)
Writes  datasets/<DS>/images/ and references/ (links, or copies with --copy), datasets/<DS>/des.csv, import.json
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmifn.cli.flags import add_limit_argument, add_root_argument, command_parser
from mmifn.core.errors import user_main
from mmifn.data.importers import REGISTRY, database_named
from mmifn.data.mos_scale import SCALES
from mmifn.data.workspace import Workspace


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    add_root_argument(parser)
    parser.add_argument("--dataset", required=True, help=f"{', '.join(REGISTRY)}, or a name for a database of your own "
                        "(its table: columns image and MOS, better also distortion_type, level, reference)")
    parser.add_argument("--source", required=True, type=Path, metavar="DIR", help="folder of the download")
    parser.add_argument("--labels", type=Path, nargs="+", default=[], metavar="FILE",
                        help="label files, where the folder holds none or several")
    parser.add_argument("--mos-scale", choices=SCALES, help="which scale to take where the labels have both (default: 0-100)")
    parser.add_argument("--copy", action="store_true", help="copy the images (default: link to them)")
    parser.add_argument("--allow-missing", action="store_true", help="import an incomplete download")
    parser.add_argument("--overwrite", action="store_true", help="replace a des.csv that differs")
    add_limit_argument(parser)
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from mmifn.data.importers.prepare import Import, prepare
    from mmifn.data.summary import describe

    space = Workspace(args.root)
    space.dataset_dir(args.dataset)
    plan = Import(database_named(args.dataset), args.source, tuple(args.labels), args.copy, args.mos_scale,
                  args.allow_missing, args.overwrite, args.max_megapixels)
    done = prepare(plan, space)
    print(describe(done.table, args.dataset))
    for note in done.notes:
        print(f"  {note}")
    print(f"{space.manifest(args.dataset)}: {len(done.table)} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
