"""Score any panoramas, one or whole folders: how good, where, and why. In an installed package: mmifn score.

Reads   360° images, the trained model that comes with the package (or --checkpoint)
Writes  to the screen, and what --json, --csv, --map and --html ask for; see --help
"""

from __future__ import annotations

import sys

from mmifn.cli import score

build_parser = score.build_parser


def main(argv: list[str] | None = None) -> int:
    return score.main(argv)


if __name__ == "__main__":
    sys.exit(main())
