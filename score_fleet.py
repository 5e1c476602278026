"""Score a manifest of panoramas on one machine or on many, with Ray Data. In an installed package: mmifn fleet.

Reads   MANIFEST (Parquet or csv: id, path), the trained model that comes with the package (or --checkpoint)
Writes  DIR/rows/*.parquet, one row an image; DIR/checkpoint, from which the same command goes on; see --help
"""

from __future__ import annotations

import sys

from mmifn.cli import fleet

build_parser = fleet.build_parser


def main(argv: list[str] | None = None) -> int:
    return fleet.main(argv)


if __name__ == "__main__":
    sys.exit(main())
