"""What are words worth to the model? Its text taken away, mixed up and replaced, with and without places, on the same splits.

    python benchmarks/text_worth.py --root W --dataset REGIONAL --config compact [--splits 10] [--text-dropouts 0,0.5]
    python benchmarks/text_worth.py --root W --dataset REGIONAL --linear     seconds: ridge regressions in place of the model

Reads the features of a database (stages 2-4). A table for each share of hidden text; every row is trained anew on the same splits
and seeds (half the epochs, as in Table IV), with a paired test against the full model, which reads the words of the whole sphere:
without text, with another image's, with the type alone; and, measured here from the images, with words that name parts of the
sphere (what a reader is told, by the words alone), and with what those say of each viewport to LIT as well. Where des.csv has a
place (simulate_dataset.py --like REGIONAL): with the true kind, place and parameter, which no measurement knows, and how often
the measured words name kind and place.

--linear: a ridge regression on mean, deviation and least of the views' features, and one on each text's vector for what that
leaves, of which the validation scenes choose none, a quarter, half or all.

Writes results/text_worth_<DS>.txt (--linear: text_worth_<DS>_linear.txt), .md, .csv
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from mmifn.cli.experiments import experiment_parser, open_experiments
from mmifn.cli.flags import add_dataset_argument, add_preset_argument, chosen_config
from mmifn.core.errors import UserError, user_main
from mmifn.core.files import sha256_json, write_text
from mmifn.core.json_text import parse_json
from mmifn.core.workers import run_tasks
from mmifn.data.images import read_image
from mmifn.data.manifest import image_paths
from mmifn.data.split_files import wished_splits
from mmifn.data.splits import SIDES
from mmifn.describe.measured import calibration, local
from mmifn.describe.measured.describer import describe
from mmifn.describe.measured.wording import WORDING
from mmifn.encoders.presets import choose
from mmifn.encoders.text import encode_descriptions, load_text_encoder, with_viewport_words
from mmifn.experiment.baselines import ridge
from mmifn.experiment.controls import SHUFFLED, TYPE_ONLY, controlled
from mmifn.experiment.runs import Experiments, Outcome, split_runs
from mmifn.fusion.inputs import Database
from mmifn.metrics import holm, plcc, selection_quality
from mmifn.report.comparisons import ablation_table
from mmifn.report.evaluation import p_text, paired_p
from mmifn.report.tables import Table, mean_sd, write_tables
from mmifn.training.configs import Config

WITHOUT, PLACES, VIEWS, TRUE = "w/o text", "words with places", "and each viewport's own", "true kind, place and parameter"
SHARES = (0.0, 0.25, 0.5, 1.0)  # of a text's regression that may be added
KINDS = {"GB": "blur", "GN": "noise", "JPEG": "compression", "JP2K": "compression", "AVC": "compression", "HEVC": "compression"}
NAMES = {"front": "in the front half", "right": "in the right half", "rear": "in the rear half", "left": "in the left half",
         "front lens": "ahead, from the zenith to the floor", "right lens": "to the right, from the zenith to the floor",
         "rear lens": "behind, from the zenith to the floor", "left lens": "to the left, from the zenith to the floor",
         "upper": "above the horizon", "lower": "below the horizon", "sky": "above the horizon|overhead",
         "floor": "below the horizon|at the floor", "zenith": "overhead", "nadir": "at the floor"}


def reading(path: Path) -> list[str]:
    """Return what is told of an image by the words alone, then of each of its 20 viewports."""
    words = describe(read_image(path)).reading()
    return [words.told, *words.views]


def readings(experiments: Experiments, database: Database) -> dict[str, list[str]]:
    """Return what is told of every image and of its viewports, by name; kept in results/."""
    names, space = database.manifest.names, experiments.space
    key = sha256_json([database.digest, calibration.revision(), local.revision(), WORDING])[:16]
    path = space.results / f"readings_{database.name}_{key}.json"
    if not path.is_file():
        paths = image_paths(database.manifest, space.images_dir(database.name))
        told = dict(tqdm(run_tasks(reading, paths, experiments.workers), total=len(paths), desc="measured", unit="image"))
        write_text(path, json.dumps({name: told[i] for i, name in enumerate(names)}, ensure_ascii=False, indent=1))
    return parse_json(path.read_bytes())


def place_names(place: str) -> list[str]:
    """Return what the words call a place of the design, one name or two."""
    if place in NAMES:
        return NAMES[place].split("|")
    *level, side, _ = place.split()
    return [", ".join([NAMES[side], *(NAMES[word] for word in level)])]


def named(table: pd.DataFrame, told: dict[str, list[str]]) -> str:
    """Return how often the measured words name kind and place of what was distorted, and a place of what is pristine."""
    hits = {"kind and place": 0, "kind, another place": 0, "another kind, in a place": 0, "no place": 0}
    alarms = 0
    masks = [name for name, _ in local.region_masks(np.zeros(1), np.zeros(1))]
    for row in table.itertuples():
        words = told[row.image_name][0].split(".")[0].lower()
        local_words = any(f"{kind} {region}" in words for kind in local.KINDS[1:] for region in masks)
        if not row.place:
            alarms += local_words
            continue
        kind = KINDS[row.distortion_type]
        right = any(f"{kind} {place}" in words for place in place_names(row.place))
        kind_right = any(f"{kind} {region}" in words for region in masks)
        hits["kind and place" if right else "kind, another place" if kind_right else
             "another kind, in a place" if local_words else "no place"] += 1
    pristine = len(table) - sum(hits.values())
    return f"Measured words of {sum(hits.values())} distorted images: " + ", ".join(
        f"{name} {count}" for name, count in hits.items()) + f"; a place told of {alarms} of {pristine} pristine ones."


def worded(database: Database, preset: str, of: Callable[[str], str], views: Callable[[str], list[str]] | None,
           label: str) -> Database:
    """Return the database with other words: of(name) of each image, and views(name) of each of its viewports."""
    encoder, names = load_text_encoder(choose(preset).text), database.manifest.names
    text, _ = encode_descriptions(database.name, {name: of(name) for name in names}, encoder, show=False)
    if views:
        text = with_viewport_words(text, {name: views(name) for name in names}, encoder)
    inputs = replace(database.inputs, text=text.tokens.float(), mask=text.mask, pooled=text.pooled.float())
    return replace(database, inputs=inputs, digest=sha256_json([database.digest, label, text.digest()]))


def train(experiments: Experiments, database: Database, args: argparse.Namespace, config: Config, label: str,
          control: str = "") -> list[Outcome]:
    """Return the outcomes of all splits for one reading of the database, computed here, one by one."""
    experiments.databases[args.dataset], experiments.workers = database, 1  # workers would read the database from its files
    runs = split_runs(experiments, args.dataset, args.splits, config, args.split_by, control)
    return experiments.run({label: runs}, label)[label]


def other_words(experiments: Experiments, own: Database, preset: str) -> tuple[dict[str, Database], list[str]]:
    """Return the database with words of places and, where its design has them, with the truth; and what the former hold."""
    told, manifest = readings(experiments, own), pd.read_csv(experiments.space.manifest(own.name), keep_default_na=False)
    texts = {PLACES: worded(own, preset, lambda name: told[name][0], None, PLACES),
             VIEWS: worded(own, preset, lambda name: told[name][0], lambda name: told[name][1:], VIEWS)}
    if "place" not in manifest:
        return texts, []
    truth = {row.image_name: f"{row.distortion_type} of {row.parameter} in the {row.place}; the rest is clean." if row.place
             else "Nothing is distorted." for row in manifest.itertuples()}
    return texts | {TRUE: worded(own, preset, truth.__getitem__, None, TRUE)}, [named(manifest, told)]


def tables(experiments: Experiments, args: argparse.Namespace) -> list[Table]:
    """Train every reading of the database at every share of hidden text, and return the tables."""
    own = experiments.databases[args.dataset]
    texts, note = ({}, []) if args.own_words else other_words(experiments, own, args.preset)
    config, made = chosen_config(args, epochs_share=0.5), []
    bare = train(experiments, own, args, replace(config, model=replace(config.model, variant=WITHOUT)), WITHOUT)
    for share in args.shares:
        hidden = replace(config, model=replace(config.model, text_dropout=share))
        rows = {"full": train(experiments, own, args, hidden, f"full, {share:g}"), WITHOUT: bare}
        rows |= {control: train(experiments, own, args, hidden, control, control) for control in (SHUFFLED, TYPE_ONLY)}
        rows |= {name: train(experiments, text, args, hidden, name) for name, text in texts.items()}
        table = ablation_table(own, rows, args.logistic)
        table.title = f"What words are worth on {own.name}, text hidden from {share:.0%} of the training images"
        table.notes += note
        for row in (table.columns, *filter(None, table.rows)):
            row.pop()  # what the paper claims is of another database
        made.append(table)
    return made


def linear(experiments: Experiments, args: argparse.Namespace) -> Table:
    """Regress the opinions on the views, alone and with the vector of each text, on every split; return the table."""
    own = experiments.databases[args.dataset]
    texts, note = ({}, []) if args.own_words else other_words(experiments, own, args.preset)
    mos, views = own.mos, own.inputs.views.numpy()
    seen = np.concatenate([views.mean(axis=1), views.std(axis=1), views.min(axis=1)], axis=1)
    beside = {"views alone": np.empty((len(mos), 0), dtype=np.float32),
              "words of the whole sphere": own.inputs.pooled_text.numpy(),
              SHUFFLED: controlled(own, SHUFFLED, 0).inputs.pooled_text.numpy(),
              TYPE_ONLY: pd.get_dummies(own.manifest.types).to_numpy(float),
              **{name: text.inputs.pooled_text.numpy() for name, text in texts.items()}}
    scenes = own.manifest.scenes(args.split_by)
    splits = wished_splits(args.splits, experiments.space.root, args.dataset, scenes, args.split_by)
    figures = {name: [] for name in beside}
    for split in splits:
        train_rows, val, test = (split.rows(scenes, side) for side in SIDES)
        for name, told in beside.items():
            scores = base = ridge(seen, mos)(train_rows, val)
            if told.size:
                more = ridge(told, mos - base)(train_rows, val)
                scores = max((base + share * more for share in SHARES), key=lambda s: selection_quality(s[val], mos[val]))
            figures[name].append(plcc(scores[test], mos[test]))
    alone = np.array(figures["views alone"])
    p_values = [paired_p(list(values - alone)) for values in figures.values()]
    table = Table(f"Ridge on views and words of {own.name}, {len(splits)} splits",
                  ["beside the views", "PLCC", "- alone", "p (Wilcoxon)", "p (Holm)"], notes=note)
    table.rows = [[name, mean_sd(values), mean_sd(list(values - alone)), p_text(raw), p_text(held)]
                  for (name, values), raw, held in zip(figures.items(), p_values, holm(p_values), strict=True)]
    return table


def build_parser() -> argparse.ArgumentParser:
    parser = experiment_parser(__doc__)
    add_dataset_argument(parser)
    add_preset_argument(parser)
    parser.add_argument("--own-words", action="store_true", help="the database's own descriptions and their controls alone")
    parser.add_argument("--linear", action="store_true", help="ridge regressions on views and words, in place of the model")
    parser.add_argument("--text-dropouts", default="0,0.5", metavar="A,B", help="shares of the training images whose text is "
                        "hidden (default: %(default)s)")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        args.shares = [float(value) for value in args.text_dropouts.split(",")]
    except ValueError:
        raise UserError(f"--text-dropouts: wanted numbers with commas, such as 0,0.5; got {args.text_dropouts!r}") from None
    experiments = open_experiments(args, [args.dataset])
    made = [linear(experiments, args)] if args.linear else tables(experiments, args)
    path = experiments.space.results / f"text_worth_{args.dataset}{'_linear' if args.linear else ''}.txt"
    write_tables(made, path)
    print(path.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
