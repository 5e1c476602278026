"""Stage 10 of 10: Table IV: the full model and its five ablated variants, each trained anew on the same splits and seeds.

Controls stand beside them: the full model without a part of what it reads or learns (mmifn/experiment/controls.py).

Reads   datasets/<DS>/des.csv, features/<DS>/{text,viewport,global}_features.pt
Writes  results/ablation_results.txt, .md, .csv   (Table IV)
        results/ablation_predictions.pt, .csv     (the score of every image by every run)
"""

from __future__ import annotations

import argparse
import sys
from itertools import chain

from mmifn.cli.experiments import experiment_parser, open_experiments
from mmifn.cli.flags import add_datasets_argument, chosen_config
from mmifn.cli.stages import heading
from mmifn.core.errors import user_main
from mmifn.fusion.config import VARIANTS


def build_parser() -> argparse.ArgumentParser:
    parser = experiment_parser(__doc__)
    add_datasets_argument(parser)
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from mmifn.experiment.controls import CONTROLS
    from mmifn.experiment.predictions import write_predictions
    from mmifn.experiment.runs import ablation_runs
    from mmifn.report.comparisons import ablation_table
    from mmifn.report.per_type import per_type_table
    from mmifn.report.tables import write_tables

    print(f"{heading('ablation_study')}: {len(VARIANTS)} variants and {len(CONTROLS)} controls x {args.splits} splits "
          f"of {', '.join(args.datasets)}, configuration {args.config}")
    experiments = open_experiments(args, args.datasets)
    config = chosen_config(args, epochs_share=0.5)
    runs = {name: ablation_runs(experiments, name, args.splits, config, args.split_by) for name in args.datasets}
    outcomes = experiments.run({(name, variant): group for name, variants in runs.items() for variant, group in variants.items()},
                               "training")
    tables = [ablation_table(experiments.databases[name], {variant: outcomes[name, variant] for variant in variants},
                             args.logistic) for name, variants in runs.items()]
    tables += [per_type_table(f"Table IV, by distortion type on {name}", experiments.databases[name],
                              {variant: outcomes[name, variant] for variant in variants}, args.logistic)
               for name, variants in runs.items()]
    path = experiments.space.results / "ablation_results.txt"
    write_tables(tables, path)
    write_predictions([*chain(*outcomes.values())], experiments.databases, path.with_name("ablation_predictions.pt"))
    print(path.read_text(encoding="utf-8"))
    print(f"{path} (and .md, .csv), {path.with_name('ablation_predictions.pt')} (and .csv)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
