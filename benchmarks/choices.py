"""Which flags suit a training? Tried on the validation scenes; no test scene is looked at.

    python benchmarks/choices.py --root demo --dataset OIQA --config compact --try "--text-dropout 0" --try "--global-dropout 0.8"

Every --try is the configuration with these flags, trained on each split; the first row has none. The quality is the mean of PLCC
and SRCC on the validation scenes at the last epoch, as `--last-epoch` keeps it: the best of many epochs is partly luck. Beside it
stands the epoch at which the mean curve over the splits is best, with its quality there, and the paired difference to the first
row over splits (p: Wilcoxon). --out keeps every row of the curves as csv.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from scipy.stats import wilcoxon
from tqdm import tqdm

from mmifn.cli.flags import add_root_argument, add_training_arguments, chosen_config, command_parser
from mmifn.core.errors import UserError, user_main
from mmifn.core.files import write_text
from mmifn.core.workers import run_tasks, usable_cores
from mmifn.data.workspace import Workspace
from mmifn.fusion.inputs import load_database
from mmifn.training.configs import Config
from mmifn.training.fit import fit_all
from mmifn.training.trial import Trial


@dataclass(frozen=True)
class Job:
    """One training: of a database, on a split, with what is tried."""

    root: Path
    dataset: str
    unit: str
    seed: int
    name: str
    config: Config


def curve_of(job: Job) -> list[float]:
    """Return the quality on the validation scenes after every epoch."""
    trial = Trial.drawn(load_database(Workspace(job.root), job.dataset), job.unit, job.config, job.seed)
    return [row["validation"] for row in fit_all(trial, torch.device("cpu")).curve]


def build_parser():
    parser = command_parser(__doc__)
    add_root_argument(parser)
    add_training_arguments(parser)
    parser.add_argument("--dataset", nargs="+", default=["OIQA", "CVIQ"], metavar="NAME", help="(default: %(default)s)")
    parser.add_argument("--try", dest="tries", action="append", default=[], metavar="FLAGS",
                        help="flags in quotes; a single word as --try=--worst-views")
    parser.add_argument("--splits", type=int, default=10, metavar="N", help="scene splits (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=usable_cores(), metavar="N", help="processes (default: one a core)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="csv of all curves")
    return parser


def table(curves: pd.DataFrame, dataset: str) -> str:
    """Return a database's table: a row for everything tried."""
    rows = [f"{dataset}: quality on the validation scenes, mean of {curves.split.nunique()} splits", "",
            "| | last epoch | - first row | p | best of the mean curve |", "|---|---|---|---|---|"]
    base = None
    for name, rows_of in curves.groupby("tried", observed=True):
        grid = rows_of.pivot(index="split", columns="epoch", values="quality")
        last, mean = grid.iloc[:, -1], grid.mean()
        said = "| |"
        if base is None:
            base = last
        elif len(last) > 1:
            said = f"{(last - base).mean():+.4f} ± {(last - base).std():.4f} | {wilcoxon(last, base).pvalue:.2g} |"
        best = f"{mean.max():.4f} (epoch {mean.idxmax()})"
        rows.append(f"| {name or 'none'} | {last.mean():.4f} ± {last.std():.4f} | {said} {best} |")
    return "\n".join(rows) + "\n"


@user_main
def main(argv: list[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.splits < 1:
        raise UserError(f"--splits must be at least 1, got {args.splits}")
    given = sys.argv[1:] if argv is None else argv
    configs = {flags: chosen_config(parser.parse_args([*given, *shlex.split(flags)])) for flags in ["", *args.tries]}
    jobs = [Job(args.root, dataset, args.split_by, seed, flags, config) for dataset in args.dataset
            for flags, config in configs.items() for seed in range(args.splits)]
    rows: list[dict[str, object]] = []
    for i, curve in tqdm(run_tasks(curve_of, jobs, args.workers), "train", len(jobs), unit="training"):
        job = jobs[i]
        rows += [{"dataset": job.dataset, "tried": job.name, "split": job.seed, "epoch": epoch, "quality": quality}
                 for epoch, quality in enumerate(curve, 1)]
    curves = pd.DataFrame(rows)
    curves["tried"] = pd.Categorical(curves.tried, list(configs))
    if args.out:
        write_text(args.out, curves.to_csv(index=False))
    for dataset in args.dataset:
        print(table(curves[curves.dataset == dataset].sort_values(["tried", "split", "epoch"]), dataset))
    return 0


if __name__ == "__main__":
    sys.exit(main())
