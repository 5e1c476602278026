"""Stage 9 of 10: Table III: train on one whole database, test on the other, both ways; nothing chosen on the target.

Reads   datasets/<DS>/des.csv, features/<DS>/{text,viewport,global}_features.pt
Writes  results/cross_validation_results.txt, .md, .csv   (Table III)
        results/cross_predictions.pt, .csv                (the score of every image by every run)
"""

from __future__ import annotations

import argparse
import sys
from itertools import chain

from mmifn.cli.experiments import experiment_parser, open_experiments
from mmifn.cli.flags import add_datasets_argument, add_tuning_arguments, chosen_config
from mmifn.cli.stages import heading
from mmifn.core.errors import user_main


def build_parser() -> argparse.ArgumentParser:
    parser = experiment_parser(__doc__)
    add_datasets_argument(parser, nargs=2, what="the two databases")
    add_tuning_arguments(parser)
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from mmifn.experiment.predictions import write_predictions
    from mmifn.experiment.runs import cross_runs
    from mmifn.report.evaluation import cross_table
    from mmifn.report.tables import write_tables

    first, second = args.datasets
    print(f"{heading('cross_eval')}: {first} → {second} and {second} → {first}, {args.splits} trainings each, "
          f"configuration {args.config}")
    experiments = open_experiments(args, args.datasets)
    config = chosen_config(args, epochs_share=0.5)
    outcomes = experiments.run({way: cross_runs(experiments, *way, args.splits, config, args.split_by)
                                for way in ((second, first), (first, second))}, "training")
    table = cross_table(outcomes, experiments.databases, args.logistic)
    path = experiments.space.results / "cross_validation_results.txt"
    write_tables([table], path)
    write_predictions([*chain(*outcomes.values())], experiments.databases, path.with_name("cross_predictions.pt"))
    print(path.read_text(encoding="utf-8"))
    print(f"{path} (and .md, .csv), {path.with_name('cross_predictions.pt')} (and .csv)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
