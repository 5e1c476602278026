"""Make of a checkpoint the model that predict.py uses: weights and calibrated intervals in one safetensors file.

Reads   a checkpoint of train.py, a CSV of scores of images never trained on (results/predictions.csv)
Writes  the model (default: the file that ships with the package, mmifn/scoring/weights/offline.safetensors)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmifn.cli.flags import command_parser
from mmifn.core.errors import UserError, user_main
from mmifn.core.outputs import check_outputs


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    parser.add_argument("checkpoint", type=Path, help="checkpoint of train.py")
    parser.add_argument("--calibration", type=Path, metavar="CSV", required=True,
                        help="columns scene, mos, score; where there are columns source, variant and side, only this "
                             "checkpoint's source and variant on side 'test' count")
    parser.add_argument("--labels-count-size", action="store_true",
                        help="the labels are those of simulate_dataset.py in people's headset, which a small panorama does not "
                             "fill: predict.py then states the ceiling of a panorama's size")
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help="what to write (default: the file that comes with the package)")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    import pandas as pd

    from mmifn.scoring.interval import LEVEL, calibrate, left_out, left_out_coverage, read_residuals
    from mmifn.scoring.model import FOLDER, Model, save_model
    from mmifn.training.checkpoint import load_checkpoint

    args.out = args.out or FOLDER / "offline.safetensors"
    if args.out.suffix != ".safetensors":
        raise UserError(f"--out {args.out}: the name of a model ends in .safetensors")
    check_outputs({"--out": args.out}, [args.checkpoint, args.calibration])
    checkpoint = load_checkpoint(args.checkpoint)
    residuals = read_residuals(args.calibration, checkpoint.database, checkpoint.model.variant)
    calibration = calibrate(residuals, checkpoint.mos_source)
    save_model(Model(checkpoint, calibration, args.labels_count_size), args.out)
    held = (f"; calibrated without a scene, it holds {100 * left_out_coverage(residuals):.1f} % of that scene's scores on "
            "average") if calibration.scenes > 1 else ""
    widths = " / ".join(f"{width:.2f}" for width in calibration.half_widths or [calibration.half_width])
    between = f" (below, between, above {' / '.join(f'{edge:.1f}' for edge in calibration.edges)})" if calibration.edges else ""
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB; trained on {checkpoint.database} ({checkpoint.mos_source} "
          f"labels), interval ± {widths}{between} at {100 * LEVEL:.0f} % from {calibration.images} images of "
          f"{calibration.scenes} scenes{held}")
    if "distortion_type" in residuals and calibration.scenes > 1:
        by_type = pd.Series(left_out(residuals)).groupby(residuals["distortion_type"].to_numpy()).mean()
        print("the same by type: " + ", ".join(f"{kind} {100 * share:.0f} %" for kind, share in by_type.items()))
    if calibration.scenes < LEVEL / (1 - LEVEL) - 1e-9:
        print(f"warning: {calibration.scenes} scenes are too few for {100 * LEVEL:.0f} %: the interval is the whole scale",
              file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
