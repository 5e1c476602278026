"""After stage 10: figures, and one page with everything that the stages found.

Parts whose stage has not run are named as missing.

Reads   results/{predictions,cross_predictions,ablation_predictions}.pt, results/*_results.csv
        datasets/<DS>/images/, datasets/<DS>/viewports/, text/des.csv   (for the images that are shown)
Writes  results/report.html                                             (needs no other file)
        results/figures/<name>.png, .pdf, .csv                          (the csv: the numbers shown)
"""

from __future__ import annotations

import argparse
import sys

from mmifn.cli.flags import add_root_argument, command_parser
from mmifn.core.errors import user_main
from mmifn.data.workspace import Workspace


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    add_root_argument(parser)
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from mmifn.report.page import make_report

    page, *figures = make_report(Workspace(args.root))
    print(f"{page}: {page.stat().st_size / 1e6:.1f} MB; {len(figures) // 3} figures in {page.with_name('figures')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
