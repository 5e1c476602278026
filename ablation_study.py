"""Stage 10 of 10: Table IV: the full model and its five ablated variants, each trained anew on the same splits and seeds.

Reads   datasets/<DS>/des.csv, features/<DS>/{text,viewport,global}_features.pt
Writes  results/ablation_results.txt, .md, .csv   (Table IV)
"""

from __future__ import annotations

import sys
from dataclasses import replace

from mmifn.cli import experiment_parser, open_experiments
from mmifn.errors import user_main
from mmifn.fusion.configs import chosen_config
from mmifn.fusion.mmifn import VARIANTS
from mmifn.protocol import split_jobs
from mmifn.reporting import ablation_table
from mmifn.tables import write_tables


def build_parser():
    parser = experiment_parser(__doc__)
    parser.add_argument("--datasets", nargs="+", default=["OIQA", "CVIQ"], metavar="DS", help="databases (default: OIQA CVIQ)")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    print(f"[10/10] ablation_study: {len(VARIANTS)} variants x {args.splits} splits of {', '.join(args.datasets)}, "
          f"configuration {args.config}")
    experiments = open_experiments(args, args.datasets)
    config = chosen_config(args, epochs_share=0.5)
    groups = [(name, variant, split_jobs(experiments, name, args.splits, replace(config.model, variant=variant), config.train,
                                         args.split_by)) for name in args.datasets for variant in VARIANTS]
    done = iter(experiments.run([job for *_, jobs in groups for job in jobs], "training"))
    outcomes = {(name, variant): [next(done) for _ in jobs] for name, variant, jobs in groups}
    tables = [ablation_table(experiments.databases[name], {variant: outcomes[name, variant] for variant in VARIANTS})
              for name in args.datasets]
    path = experiments.space.results / "ablation_results.txt"
    write_tables(tables, path)
    print(path.read_text(encoding="utf-8"))
    print(f"{path} (and .md, .csv)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
