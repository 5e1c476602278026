"""What evaluate.py does: MMIFN and the baselines on the same splits of every database, and their tables."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from mmifn.core.errors import ArtefactError, UserError
from mmifn.experiment.baselines import baseline_outcomes, gather_baselines
from mmifn.experiment.runs import Experiments, Outcome, Run, published_run, split_runs
from mmifn.report.comparisons import baseline_label, baseline_table, published_protocol_table
from mmifn.report.evaluation import evaluation_table, training_table
from mmifn.report.per_type import per_type_table
from mmifn.report.tables import Table
from mmifn.training.checkpoint import load_checkpoint, require_method
from mmifn.training.configs import Config
from mmifn.training.fit import Fit
from mmifn.training.trial import Trial
from mmifn.training.tuning import opened


@dataclass(frozen=True)
class Comparison:
    """What to compare on every database.

    splits: how many, or a file of splits; unit: "reference" or "image"; logistic: parameters of the fit before PLCC and RMSE;
    published: add the field's habit, one split whose test scenes choose the epoch; also: further configurations by name, a
    row each.
    """

    config: Config
    splits: int | str
    unit: str = "reference"
    logistic: int = 4
    published: bool = False
    full_reference: bool = True
    statistics: bool = True
    also: dict[str, Config] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (name for name, config in self.also.items() if config == self.config):
            raise UserError(f"--also-config {name}: that is what is evaluated already; name another configuration, or leave it "
                            "out")


@dataclass
class Evaluation:
    """What evaluate.py found: its tables, MMIFN's runs, and those of other configurations and of the baselines."""

    tables: list[Table]
    outcomes: list[Outcome]
    baselines: list[Outcome]


def evaluate_databases(experiments: Experiments, datasets: list[str], wanted: Comparison) -> Evaluation:
    """Train MMIFN on every split of every database, measure the baselines on the same splits, and build all tables.

    Raises UserError for databases that cannot be split.
    """
    splits = {name: split_runs(experiments, name, wanted.splits, wanted.config, wanted.unit) for name in datasets}
    habits = {name: [published_run(experiments, name, wanted.config, wanted.unit)] for name in datasets if wanted.published}
    gathered = {name: gather_baselines(experiments, name, wanted.full_reference, wanted.statistics) for name in datasets}
    trained = experiments.run({("split", name): runs for name, runs in splits.items()}
                              | {("published", name): runs for name, runs in habits.items()}, "training")
    configured = {f"configuration {name}": _configured(experiments, splits, f"configuration {name}", config)
                  for name, config in wanted.also.items()}
    evaluation = Evaluation([], [outcome for group in trained.values() for outcome in group], [])
    for place, name in enumerate(datasets, 1):
        database, (baselines, left_out), number = experiments.databases[name], gathered[name], _number(place)
        outcomes = trained["split", name]
        others = {label: by_dataset[name] for label, by_dataset in configured.items()}
        scored = baseline_outcomes(baselines, database, outcomes)
        evaluation.baselines += [outcome for group in (*others.values(), *scored.values()) for outcome in group]
        evaluation.tables += [evaluation_table(number, database, outcomes, wanted.logistic),
                              baseline_table(number, database, outcomes, scored, left_out, wanted.logistic, others=others)]
        methods = {f"MMIFN ({wanted.config.model.variant})": outcomes, **others,
                   **{baseline_label(baseline): group for baseline, group in scored.items()}}
        evaluation.tables.append(per_type_table(f"Table {number}, every method by distortion type on {name}", database, methods,
                                                wanted.logistic))
        if name in habits:
            [habit] = trained["published", name]
            evaluation.tables.append(published_protocol_table(number, database, outcomes, habit, wanted.logistic))
    return evaluation


def checkpoint_table(experiments: Experiments, path: Path) -> Table:
    """Score a checkpoint of train.py, with tuned encoders where it holds such: its test scenes, and all of the other databases.

    Raises UserError where its own database is not among them, ArtefactError where features or scores are not those that it
    was trained on.
    """
    checkpoint = load_checkpoint(path)
    if checkpoint.database not in experiments.databases:
        raise UserError(f"--checkpoint {path} was trained on {checkpoint.database}: name it in --datasets, too")
    source = experiments.databases[checkpoint.database]
    if source.digest != checkpoint.digest:
        raise ArtefactError(f"{path} was trained on other features or scores of {source.name} than are there now.\n"
                            f"Train again: python train.py --dataset {source.name}")
    databases = [source, *(database for name, database in experiments.databases.items() if name != source.name)]
    for database in databases:
        require_method(checkpoint, database.method, database.name, path, "Encode it as the other one was encoded")
    if checkpoint.tuned:
        encoders = opened(source, checkpoint.tuned, experiments.device)
        databases = [encoders.database(database) for database in databases]
    fit = Fit(checkpoint.network(experiments.device), checkpoint.scale, checkpoint.epoch, checkpoint.curve)
    return training_table(fit, Trial(databases[0], checkpoint.split, checkpoint.config, checkpoint.seed), databases[1:])


def _number(place: int) -> str:
    """Return the number of a database's table: I and II as in the paper, which has no further ones, then 3, 4, …"""
    return {1: "I", 2: "II"}.get(place, str(place))


def _configured(experiments: Experiments, splits: dict[str, list[Run]], label: str, config: Config) -> dict[str, list[Outcome]]:
    """Train another configuration on the splits of these runs; its outcomes are told apart by the label as control."""
    trained = experiments.run({dataset: [replace(run, config=config) for run in runs] for dataset, runs in splits.items()}, label)
    return {dataset: [replace(outcome, run=replace(outcome.run, control=label)) for outcome in outcomes]
            for dataset, outcomes in trained.items()}
