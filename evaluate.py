"""Stage 8 of 10: Tables I and II: MMIFN on the test scenes of several splits of each database, and baselines beside it.

Repeats the procedure of the stages before for every split, from the encoder caches; finished runs are kept.

Reads   datasets/<DS>/des.csv, features/<DS>/{text,viewport,global}_features.pt
        datasets/<DS>/images/, references/   (for the baselines that measure pixels; left out where there are none)
Writes  results/evaluation_results.txt, .md, .csv   (Tables I and II)
        results/predictions.pt, .csv                (the score of every image by every run)
        results/baseline_predictions.pt, .csv       (the same of the baselines)
        results/splits.json                         (the splits, for --splits FILE)
        results/checkpoint_results.txt, .md, .csv   (only these, with --checkpoint: what one checkpoint of train.py reaches)
        features/<DS>/statistics.pt, full_reference.pt   (what the baselines measured)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmifn.cli.experiments import experiment_parser, open_experiments
from mmifn.cli.flags import add_datasets_argument, add_tuning_arguments, chosen_config, parse_alone
from mmifn.cli.stages import heading
from mmifn.core.defaults import PROTOCOLS
from mmifn.core.errors import user_main
from mmifn.training.configs import CONFIGS


def build_parser() -> argparse.ArgumentParser:
    parser = experiment_parser(__doc__)
    add_datasets_argument(parser)
    parser.add_argument("--protocol", choices=PROTOCOLS, default="honest",
                        help="'published' adds what papers of the field do: one split, the epoch chosen on its TEST scenes; "
                             "not an honest estimate (default: %(default)s)")
    parser.add_argument("--also-config", nargs="+", choices=sorted(CONFIGS), default=[], metavar="CONFIG",
                        help="train these configurations on the same splits, too: a row each beside the baselines")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE",
                        help="train nothing: score this checkpoint on the test scenes of its database and all of the others")
    parser.add_argument("--without-full-reference", action="store_true", help="leave out the full-reference baselines")
    parser.add_argument("--without-statistics", action="store_true", help="leave out the baseline of measured statistics")
    add_tuning_arguments(parser)
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = parse_alone(build_parser(), argv, "--checkpoint", {"--root", "--datasets", "--device", "--deterministic"})
    from mmifn.cli.evaluation import Comparison, checkpoint_table, evaluate_databases
    from mmifn.data.split_files import write_splits
    from mmifn.experiment.predictions import write_predictions
    from mmifn.report.claims import LITERATURE_DATABASES, literature_table
    from mmifn.report.tables import write_tables

    print(f"{heading('evaluate')}: {args.splits} scene splits of {', '.join(args.datasets)}, configuration {args.config}")
    experiments = open_experiments(args, args.datasets)
    if args.checkpoint:
        path = experiments.space.results / "checkpoint_results.txt"
        write_tables([checkpoint_table(experiments, args.checkpoint)], path)
        print(f"{path.read_text(encoding='utf-8')}\n{path} (and .md, .csv)")
        return 0
    wanted = Comparison(chosen_config(args), args.splits, args.split_by, args.logistic, published=args.protocol == "published",
                        full_reference=not args.without_full_reference, statistics=not args.without_statistics,
                        also={name: chosen_config(args, name=name) for name in args.also_config})
    evaluation = evaluate_databases(experiments, args.datasets, wanted)
    results = experiments.space.results
    write_tables([*evaluation.tables, literature_table(LITERATURE_DATABASES)], results / "evaluation_results.txt")
    splits = {name: [outcome.run.split for outcome in evaluation.outcomes if outcome.run.source == name and not outcome.run.label]
              for name in args.datasets}
    write_splits(results / "splits.json", splits, args.split_by)
    write_predictions(evaluation.outcomes, experiments.databases, results / "predictions.pt")
    write_predictions(evaluation.baselines, experiments.databases, results / "baseline_predictions.pt")
    print((results / "evaluation_results.txt").read_text(encoding="utf-8"))
    print(f"{results / 'evaluation_results.txt'} (and .md, .csv), {results / 'predictions.pt'} (and .csv), "
          f"{results / 'baseline_predictions.pt'} (and .csv)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
