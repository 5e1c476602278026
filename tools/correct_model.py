"""Teach a model that predict.py uses what it has not met: faults that its view encoder does not see, or no view alone shows.

The model's fusion stays as it is. Its features must be those of the database, which may tell more of every view at its end.
Scores of images whose scene the correction has not met are printed beside the model's own, and scale its interval.

Reads   a model (.safetensors), datasets/<DS>/des.csv, features/<DS>/*.pt
Writes  the corrected model, results/correction.csv
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmifn.cli.flags import add_root_argument, command_parser
from mmifn.core.errors import UserError, user_main
from mmifn.core.outputs import check_outputs
from mmifn.data.workspace import Workspace


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    parser.add_argument("model", type=Path, help="model of tools/export_model.py, not corrected before")
    add_root_argument(parser)
    parser.add_argument("--dataset", required=True, metavar="DS", help="what to learn from, all of it")
    parser.add_argument("--seed", type=int, default=0, help="of the folds and of what is learnt (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the corrected model (.safetensors)")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    import numpy as np
    import pandas as pd

    from mmifn.fusion.inputs import load_database
    from mmifn.metrics import MIN_IMAGES, rmse
    from mmifn.scoring.interval import widened
    from mmifn.scoring.model import Model, load_model, save_model
    from mmifn.training.correction import CorrectionConfig, teach

    if args.out.suffix != ".safetensors":
        raise UserError(f"--out {args.out}: the name of a model ends in .safetensors")
    space = Workspace(args.root)
    path = space.results / "correction.csv"
    check_outputs({"--out": args.out, "results/correction.csv": path}, [args.model])
    base, database = load_model(args.model), load_database(space, args.dataset)
    taught = teach(base.checkpoint, database, CorrectionConfig(seed=args.seed))
    manifest = database.manifest
    table = pd.DataFrame({"image_name": manifest.names, "scene": manifest.scenes(), "distortion_type": manifest.types,
                          "mos": database.mos, "before": taught.before, "score": taught.unseen})
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    calibration = widened(base.calibration, table) if base.calibration else None
    save_model(Model(taught.checkpoint, calibration, base.counts_size), args.out)
    print(f"{args.out}: {taught.checkpoint.epoch} steps; scores of scenes that the correction has not met ({path}):")
    for kind, rows in [("all", table), *table.groupby("distortion_type")]:
        if len(rows) >= MIN_IMAGES:
            errors = [rmse(rows[column].to_numpy(), rows.mos.to_numpy()) for column in ("before", "score")]
            print(f"{kind:<12} {len(rows):4d} images, RMSE {errors[0]:5.2f} before, {errors[1]:5.2f} corrected")
    if (labels := manifest.view_mos) is not None:
        known = ~np.isnan(labels).any(axis=1)
        errors = [rmse(views[known].ravel(), labels[known].ravel()) for views in (taught.views_before, taught.views)]
        print(f"views of      {known.sum():4d} images, RMSE {errors[0]:5.2f} before, {errors[1]:5.2f} corrected")
    if calibration:
        widths = " / ".join(f"{width:.2f}" for width in calibration.half_widths or [calibration.half_width])
        print(f"interval ± {widths}, times " + ", ".join(
            f"{factor:.2f} from {start:.1f} points of correction on"
            for start, factor in zip((0.0, *calibration.moves), calibration.factors, strict=True)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
