"""Stage 8 of 10: Tables I and II: MMIFN on the test scenes of several splits of each database.

Repeats the procedure of the stages before for every split, from the encoder caches; finished runs are kept.

Reads   datasets/<DS>/des.csv, features/<DS>/{text,viewport,global}_features.pt
Writes  results/evaluation_results.txt, .md, .csv   (Tables I and II)
        results/predictions.pt, .csv                (the score of every image by every run)
"""

from __future__ import annotations

import sys

from mmifn.cli import experiment_parser, open_experiments
from mmifn.errors import user_main
from mmifn.fusion.configs import chosen_config
from mmifn.predictions import write_predictions
from mmifn.protocol import split_jobs
from mmifn.published import published_table
from mmifn.reporting import evaluation_table
from mmifn.tables import write_tables


def build_parser():
    parser = experiment_parser(__doc__)
    parser.add_argument("--datasets", nargs="+", default=["OIQA", "CVIQ"], metavar="DS", help="databases (default: OIQA CVIQ)")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    print(f"[8/10] evaluate: {args.splits} scene splits of {', '.join(args.datasets)}, configuration {args.config}")
    experiments = open_experiments(args, args.datasets)
    config = chosen_config(args)
    jobs = {name: split_jobs(experiments, name, args.splits, config.model, config.train, args.split_by) for name in args.datasets}
    outcomes = experiments.run([job for group in jobs.values() for job in group], "training")
    tables, done = [], iter(outcomes)
    for number, (name, group) in zip(("I", "II", *map(str, range(3, 99))), jobs.items(), strict=False):
        tables.append(evaluation_table(number, experiments.databases[name], [next(done) for _ in group], args.logistic))
    tables.append(published_table(["OIQA", "CVIQ"]))
    results = experiments.space.results
    write_tables(tables, results / "evaluation_results.txt")
    write_predictions(outcomes, experiments.databases, results / "predictions.pt")
    print((results / "evaluation_results.txt").read_text(encoding="utf-8"))
    print(f"{results / 'evaluation_results.txt'} (and .md, .csv), {results / 'predictions.pt'} (and .csv)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
