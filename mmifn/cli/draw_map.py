"""Score panoramas and draw where each is good and bad, with its worst views: `mmifn score` with --map.

Writes  DIR/<image>/map.png, worst_1.png …; all other flags are those of `mmifn score`
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmifn.cli import score


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `mmifn score`, with --out as another name of --map, which must be given."""
    parser = score.build_parser()
    parser.description = __doc__
    parser.add_argument("--out", type=Path, required=True, dest="map", metavar="DIR", help="where the pictures go")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit code of `mmifn score`."""
    return score.main(argv, build_parser())
