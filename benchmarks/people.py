"""Hold score_view against people: photographs of one database, fold by fold.

    python benchmarks/people.py --opinions DIR [--last] [--weights FILE]

Both judges of the package learnt from folds 0-3; only the last fold, which --last adds, says what it is worth on
photographs that it has not seen, and no option may be chosen by it. Prints SRCC, PLCC and RMSE of scores as they are (no
curve fitted).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mmifn.adapt.opinions import FOLDS, LAST, VALIDATION, Photographs, read_photographs
from mmifn.adapt.people import agreement, judge
from mmifn.cli.flags import command_parser
from mmifn.core.errors import user_main
from mmifn.encoders.people import load_people
from mmifn.scoring.perspective import score_view


def scores_of(photographs: Photographs, rows: np.ndarray, weights: Path | None) -> np.ndarray:
    """Return the scores of some photographs: of score_view, or of other weights as they were judged while learning."""
    if weights is not None:
        return judge(load_people(weights)[0], photographs, rows)
    return np.array([score_view(photographs.files[i]).score for i in tqdm(rows, unit="photograph", file=sys.stderr)])


@user_main
def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this benchmark."""
    parser = command_parser(__doc__)
    parser.add_argument("--opinions", required=True, type=Path, metavar="DIR", help="photographs with scores.csv")
    parser.add_argument("--last", action="store_true", help="look at the last fold too")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="of adapt_to_people.py (default: score_view's own)")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    photographs = read_photographs(args.opinions)
    names = {VALIDATION: "chosen by", LAST: "not seen"}
    for fold in range(FOLDS):
        if fold == LAST and not args.last:
            continue
        rows = photographs.rows(fold)
        figures = agreement(scores_of(photographs, rows, args.weights), photographs.mos[rows])
        print(f"fold {fold} ({names.get(fold, 'learnt from')}, {len(rows)}): "
              + ", ".join(f"{key.upper()} {value:.3f}" for key, value in figures.items()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
