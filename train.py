"""Stage 7 of 10: train MMIFN (GFF, LFF, AFM and head, jointly) on one scene split.

Starts from the branches that gff_module.py and lff_module.py fitted on the same split (unless --from-scratch), chooses
the epoch on the validation scenes, then scores the test scenes and every image of the second database, once each.
--tune-encoders then tunes the encoders of views and panorama end to end, from pixels, and keeps their weights, too.

Reads   datasets/<DS>/des.csv, features/<DS>/*.pt (--tune-encoders: and datasets/<DS>/images/)
Writes  checkpoints/mmifn_best.pth
"""

from __future__ import annotations

import argparse
import sys

from mmifn.cli.experiments import training_parser
from mmifn.cli.flags import add_split_argument, add_tuning_arguments, chosen_config
from mmifn.cli.stages import heading
from mmifn.core.device import announced_device
from mmifn.core.errors import UserError, user_main
from mmifn.core.files import sha256_file
from mmifn.data.workspace import Workspace


def build_parser() -> argparse.ArgumentParser:
    parser = training_parser(__doc__)
    parser.add_argument("--dataset", default="OIQA", help="database to train on (default: %(default)s)")
    parser.add_argument("--test-dataset", default="CVIQ",
                        help="second database to test on; 'none' for none (default: %(default)s)")
    add_split_argument(parser)
    add_tuning_arguments(parser)
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from mmifn.cli.training import train_and_tune
    from mmifn.fusion.inputs import load_database, require_same_method
    from mmifn.report.evaluation import training_table
    from mmifn.training.checkpoint import Checkpoint, save_checkpoint
    from mmifn.training.trial import Trial

    space, config, device = Workspace(args.root), chosen_config(args), announced_device(args.device, args.deterministic)
    print(f"{heading('train')}: MMIFN on {args.dataset}, split {args.split_seed}, {config.train.epochs} epochs, "
          f"configuration {args.config}")
    if args.test_dataset == args.dataset:
        raise UserError(f"--test-dataset {args.test_dataset} is the database to train on, whose test scenes are scored anyway; "
                        "name another, or none")
    source = load_database(space, args.dataset)
    targets = [] if args.test_dataset == "none" else [load_database(space, args.test_dataset)]
    for target in targets:
        require_same_method(source, target)
    trial = Trial.drawn(source, args.split_by, config, args.split_seed, args.whole)
    trained = train_and_tune(space, trial, targets, device)
    fit = trained.fit
    save_checkpoint(Checkpoint.of(fit, trial, trained.tuned), space.checkpoint)
    print(training_table(fit, trained.trial, trained.targets).as_text())
    print(f"{space.checkpoint}: epoch {fit.epoch} of {len(fit.curve)}, sha256 {sha256_file(space.checkpoint)[:16]}…")
    return 0


if __name__ == "__main__":
    sys.exit(main())
