"""Does the text reach the score? A positive control: texts that state a random part of the opinion.

    python benchmarks/text_control.py --root demo --dataset OIQA [--strengths 0.5,2] [--splits 5]

Every image is given a number, drawn independently of the picture; its opinion is the database's own plus the number times a
strength (in standard deviations of the opinions), and its description states the number. A model that reads its text finds
what the picture does not show. Printed, as means over splits of PLCC on the test scenes: a ridge regression from the text's
vector to the number (what the embedding holds), one from all features to the opinion, and models without text and with text
hidden from a share of the training images. Epochs are chosen on the validation scenes.
Which --text-dropout suits a database's own texts: benchmarks/choices.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch

from mmifn.cli.flags import add_root_argument, command_parser
from mmifn.core.errors import UserError, user_main
from mmifn.core.workers import one_thread, run_tasks, usable_cores
from mmifn.data.splits import make_splits
from mmifn.data.workspace import Workspace
from mmifn.encoders.presets import PRESETS
from mmifn.encoders.text import encode_descriptions, load_text_encoder
from mmifn.experiment.baselines import ridge
from mmifn.fusion.inputs import Database, load_database
from mmifn.metrics import plcc
from mmifn.training.configs import CONFIGS, Config
from mmifn.training.fit import fit_all, image_scores
from mmifn.training.trial import Trial

SEED = 0
DROPOUTS = (0.0, 0.25, 0.5)  # of text, of the configuration "compact"
NUMBER, ALL = "ridge: text to number", "ridge: all features"


@dataclass(frozen=True)
class Job:
    """One training or regression: on a split, by a configuration (None: the two regressions)."""

    strength: float
    split: int
    name: str
    config: Config | None


@lru_cache(maxsize=1)
def stating(root: Path, dataset: str, preset: str) -> tuple[Database, np.ndarray]:
    """Return the database with descriptions that state a random number, and the numbers (N,), mean 0 and SD 1."""
    database = load_database(Workspace(root), dataset)
    numbers = np.random.default_rng(SEED).standard_normal(len(database.mos))
    numbers = (numbers - numbers.mean()) / numbers.std()
    texts = {name: f"A panorama. Its quality is {number:.0f} of 100." for name, number in
             zip(database.manifest.names, np.clip(50 + 15 * numbers, 0, 100), strict=True)}
    text, _ = encode_descriptions(dataset, texts, load_text_encoder(PRESETS[preset].text, torch.device("cpu")), show=False)
    inputs = replace(database.inputs, text=text.tokens.float(), mask=text.mask, pooled=text.pooled.float())
    return replace(database, inputs=inputs), numbers


def judged(job: Job, root: Path, dataset: str, preset: str, count: int) -> dict[str, float]:
    """Return PLCC on the test scenes, by the name of the model or regression."""
    database, numbers = stating(root, dataset, preset)
    mos = database.mos + job.strength * database.mos.std() * numbers
    database = replace(database, manifest=replace(database.manifest, mos=mos))
    split = make_splits(database.manifest.scenes(), count, dataset=dataset)[job.split]
    trial = Trial(database, split, job.config or CONFIGS["compact"], split.seed)
    train, val, test = (trial.rows(side) for side in ("train", "val", "test"))
    with one_thread():
        if job.config:
            return {job.name: plcc(image_scores(fit_all(trial, torch.device("cpu")), database.inputs)[test], mos[test])}
        inputs = database.inputs
        everything = torch.cat([inputs.pooled, inputs.views.mean(1), *(level.mean(1) for level in inputs.levels)], dim=1)
        return {NUMBER: plcc(ridge(inputs.pooled.numpy(), numbers)(train, val)[test], numbers[test]),
                ALL: plcc(ridge(everything.numpy(), mos)(train, val)[test], mos[test])}


def configurations() -> Iterator[tuple[str, Config | None]]:
    """Yield what is tried, by name."""
    compact = CONFIGS["compact"]
    yield ALL, None
    yield "compact, w/o text", replace(compact, model=replace(compact.model, variant="w/o text"))
    for share in DROPOUTS:
        yield f"compact, text hidden from {share:.0%}", replace(compact, model=replace(compact.model, text_dropout=share))
    yield "letter", CONFIGS["letter"]


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    add_root_argument(parser)
    parser.add_argument("--dataset", default="OIQA", metavar="NAME", help="whose pictures and scenes (default: %(default)s)")
    parser.add_argument("--preset", default="offline", choices=sorted(PRESETS), help="whose text encoder (default: %(default)s)")
    parser.add_argument("--strengths", default="0.5,2", metavar="A,B", help="of the stated part (default: %(default)s)")
    parser.add_argument("--splits", type=int, default=5, metavar="N", help="scene splits (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=usable_cores(), metavar="N", help="processes (default: one a core)")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        strengths = [float(value) for value in args.strengths.split(",")]
    except ValueError:
        raise UserError(f"--strengths: wanted numbers with commas, such as 0.5,2; got {args.strengths!r}") from None
    jobs = [Job(strength, split, name, config) for strength in strengths for name, config in configurations()
            for split in range(args.splits)]
    figures: dict[tuple[float, str], list[float]] = {}
    judge = partial(judged, root=args.root, dataset=args.dataset, preset=args.preset, count=args.splits)
    for i, judgement in run_tasks(judge, jobs, args.workers):
        for name, value in judgement.items():
            figures.setdefault((jobs[i].strength, name), []).append(value)
    names = list(dict.fromkeys(name for _, name in figures))
    columns = [f"strength {strength:g}" for strength in strengths]
    print(f"{args.dataset}: PLCC on the test scenes, mean of {args.splits} splits\n"
          "| | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for name in names:
        print(f"| {name} | " + " | ".join(f"{np.mean(figures[strength, name]):.3f}" for strength in strengths) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
