"""What stands beside MMIFN on the same splits: baselines, other configurations, ablated variants, and the field's habit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from mmifn.core.errors import UserError
from mmifn.data.manifest import SIMULATED
from mmifn.experiment.baselines import FULL_REFERENCE, TOLD, Baseline, baseline_outcomes, gather_baselines
from mmifn.experiment.controls import CONTROLS
from mmifn.experiment.intervals import resampled_figures, with_interval
from mmifn.experiment.runs import Experiments, Job, Outcome, published_job, split_jobs
from mmifn.fullref.metrics import LABEL_METRIC, METRICS
from mmifn.fusion.inputs import Database
from mmifn.fusion.model import VARIANTS
from mmifn.metrics import Agreement, agreement
from mmifn.report.claims import CLAIMED_ABLATION
from mmifn.report.evaluation import (
    FIGURE_COLUMNS,
    P_NOTE,
    common_notes,
    configuration_words,
    evaluation_table,
    interval_note,
    overall_agreement,
    paired_p,
    pooled,
    pooled_rows,
    summary_row,
)
from mmifn.report.tables import Table, mean_sd
from mmifn.training.configs import Config


def baseline_table(number: str, database: Database, runs: list[Outcome], baselines: list[Baseline],
                   scored: dict[str, list[Outcome]], left_out: list[str], logistic: int = 4, *,
                   others: dict[str, list[Outcome]] | None = None) -> Table:
    """Build the block of baselines: every one on the splits of MMIFN's runs, all test images, with paired differences.

    others: runs of MMIFN by other configurations, on the same splits, by name.
    """
    table = Table(f"Table {number}, baselines on the same splits of {database.name}",
                  ["method", "PLCC", "SRCC", "RMSE", "PLCC pooled [95%]", "SRCC pooled [95%]", "PLCC - MMIFN", "p (Wilcoxon)",
                   "pooled PLCC - MMIFN [95%]"])
    own, first = _Row.of(runs, database, logistic), f"MMIFN ({runs[0].job.model.variant})"
    table.rows.append([first, *own.cells(), "–", "–", "–"])
    configured = {f"MMIFN, {name}": group for name, group in (others or {}).items()}
    rows = {name: _Row.of(group, database, logistic) for name, group in configured.items()}
    table.rows += [[name, *row.against(own)] for name, row in rows.items()]
    block, failed, fits = None, 0, 0
    for each in baselines:
        table.rows += [None] if each.block != block else []
        block, row = each.block, _Row.of(scored[each.name], database, logistic)
        rows[_label(each)] = row
        table.rows.append([_label(each), *row.against(own)])
        failed, fits = failed + sum(not one.converged for one in row.figures), fits + len(row.figures)
    table.notes = [*common_notes(database, runs, own.figures, logistic), *left_out,
                   *[f"{name}: {configuration_words(group[0].job)}." for name, group in configured.items()],
                   *_baseline_notes(database, baselines),
                   f"Logistic fits of baselines that failed (a straight line used): {failed} of {fits}.",
                   _median_note({first: own} | rows), interval_note(runs, database), P_NOTE]
    return table


def ablation_table(database: Database, by_variant: dict[str, list[Outcome]], logistic: int = 4) -> Table:
    """Build Table IV: every variant trained anew on the same splits and seeds, with a paired test against the full model."""
    table = Table(f"Table IV. Ablation on {database.name}",
                  ["variant", "PLCC", "SRCC", "RMSE", "PLCC - full", "p (Wilcoxon)", "pooled PLCC - full [95%]",
                   "PLCC claimed (OIQA)"])
    rows = {variant: _Row.of(outcomes, database, logistic) for variant, outcomes in by_variant.items()}
    full, runs = rows["full"], by_variant["full"]
    for variant, row in rows.items():
        if variant in CONTROLS and None not in table.rows:
            table.rows.append(None)
        number = f"{VARIANTS[variant]} " if variant in VARIANTS else "– "
        claim = f"{CLAIMED_ABLATION[variant]:.3f}" if variant in CLAIMED_ABLATION else "–"
        table.rows.append([number + variant, *row.cells()[:3], *(["–"] * 3 if row is full else row.against(full)[-3:]), claim])
    table.notes = [*common_notes(database, runs, full.figures, logistic), _median_note(rows), interval_note(runs, database)]
    table.notes += [P_NOTE, *(f"Control, {name}: {CONTROLS[name]}." for name in by_variant if name in CONTROLS)]
    return table


def _median_note(rows: dict[str, _Row]) -> str:
    each = [f"{name} {median(one.plcc for one in row.figures):.3f}" for name, row in rows.items()]
    return f"Median PLCC over runs: {'; '.join(each)}."


@dataclass(frozen=True)
class _Row:
    """A method's figures: of each run, over the pooled predictions, and of the latter's bootstrap draws."""

    figures: list[Agreement]
    pooled: Agreement
    draws: dict[str, np.ndarray]

    @classmethod
    def of(cls, runs: list[Outcome], database: Database, logistic: int) -> _Row:
        figures, scored = [overall_agreement(run, database, logistic) for run in runs], pooled(runs, database)
        return cls(figures, agreement(scored.pred, scored.mos, logistic), resampled_figures(scored, logistic))

    def cells(self) -> list[str]:
        runs = [mean_sd([getattr(one, name) for one in self.figures], digits)
                for name, digits in (("plcc", 3), ("srcc", 3), ("rmse", 2))]
        return [*runs, *(with_interval(getattr(self.pooled, name), self.draws[name]) for name in ("plcc", "srcc"))]

    def against(self, own: _Row) -> list[str]:
        """Return the cells, and the paired differences to MMIFN's row."""
        gaps = [one.plcc - other.plcc for one, other in zip(self.figures, own.figures, strict=True)]
        return [*self.cells(), mean_sd(gaps), paired_p(gaps),
                with_interval(self.pooled.plcc - own.pooled.plcc, self.draws["plcc"] - own.draws["plcc"])]


def _label(baseline: Baseline) -> str:
    return baseline.name + (" (full reference)" if baseline.block == FULL_REFERENCE else "")


def _baseline_notes(database: Database, baselines: list[Baseline]) -> list[str]:
    notes = ["Learnt baselines: fitted on training scenes, strengths chosen on validation scenes by the quality that chooses "
             "MMIFN's epoch, features standardised on training scenes; viewport features are the mean over the views, global "
             "ones the mean over the grid, text the pooled vector."]
    if any(each.block == TOLD for each in baselines):
        notes.append("Rows that are told type or level read des.csv, which no method has when it is used; they show how much "
                     "of the scores the design of the database explains.")
    if database.manifest.mos_source == SIMULATED and any(each.block == FULL_REFERENCE for each in baselines):
        notes.append(f"{METRICS[LABEL_METRIC].title} is left out: the simulated labels rest on it.")
    return notes


def published_protocol_table(number: str, database: Database, honest: list[Outcome], habit: Outcome, logistic: int = 4) -> Table:
    """Build the field's habit (one split, the epoch chosen on the test scenes) beside the honest runs of the same training.

    honest: the runs over all splits, that of the habit's scenes among them; habit: of `protocol.published_job`.
    """
    same = next(run for run in honest if run.job.split.test == habit.job.split.val)
    figures = [overall_agreement(run, database, logistic) for run in honest]
    one, other = overall_agreement(same, database, logistic), overall_agreement(habit, database, logistic)
    table = Table(f"Table {number}, published protocol on {database.name}: NOT AN HONEST ESTIMATE, for comparison with papers",
                  ["protocol", *FIGURE_COLUMNS])
    table.rows = [
        summary_row(f"honest, {len(honest)} splits", figures), *pooled_rows(honest, database, logistic), None,
        summary_row(f"honest, split {same.job.seed} alone", [one]),
        summary_row("published: the same test scenes chose the epoch", [other]),
        ["published - honest, same test scenes", f"{other.plcc - one.plcc:+.3f}", f"{other.srcc - one.srcc:+.3f}",
         f"{other.krcc - one.krcc:+.3f}", f"{other.rmse - one.rmse:+.2f}", f"{other.plcc_raw - one.plcc_raw:+.3f}", "–"]]
    habits, trained = habit.job.split, len(same.job.split.train)
    listed = ", ".join(habits.val[:5]) + (" …" if len(habits.val) > 5 else "")
    table.notes = [
        f"Published protocol: ONE split of {len(habits.train)} training and {len(habits.val)} test scenes "
        f"({listed}), no validation scenes; of all epochs of every stage the one that is best on the TEST scenes "
        f"is kept (here epoch {habit.epoch} of {habit.job.train.epochs}, honestly {same.epoch}). Many papers of the field "
        "measure like this; on average it overestimates.",
        f"The same training code, settings and seed as the honest run of these test scenes, which has {trained} training scenes. "
        "Of the honest rows:",
        *common_notes(database, honest, figures, logistic), interval_note(honest, database)]
    return table


@dataclass
class Evaluation:
    """What evaluate.py found: its tables, MMIFN's runs, and the baselines' scores as runs."""

    tables: list[Table]
    outcomes: list[Outcome]
    baselines: list[Outcome]


def evaluate_databases(experiments: Experiments, datasets: list[str], count: int, config: Config, split_by: str, logistic: int, *,
                       published: bool, full_reference: bool, statistics: bool = True,
                       also: dict[str, Config] | None = None) -> Evaluation:
    """Train MMIFN on every split of every database, measure the baselines on the same splits, and build all tables.

    also: further configurations by name, trained on the same splits, a row each among the baselines.
    """
    for name in (name for name, other in (also or {}).items() if other == config):
        raise UserError(f"--also-config {name}: that is what is evaluated already; name another configuration, or leave it out")
    jobs = {name: split_jobs(experiments, name, count, config.model, config.train, split_by) for name in datasets}
    habits = {name: published_job(experiments, name, config.model, config.train, split_by) for name in datasets if published}
    gathered = {name: gather_baselines(experiments, name, full_reference, statistics) for name in datasets}
    outcomes = experiments.run([*(job for group in jobs.values() for job in group), *habits.values()], "training")
    others = {name: _other_configurations(experiments, group, also or {}) for name, group in jobs.items()}
    found, done = Evaluation([], outcomes, []), iter(outcomes)
    runs = {name: [next(done) for _ in group] for name, group in jobs.items()}
    for number, name in zip(("I", "II", *map(str, range(3, 99))), datasets, strict=False):
        database, (baselines, left_out) = experiments.databases[name], gathered[name]
        scored = baseline_outcomes(baselines, database, runs[name])
        found.baselines += [outcome for group in (*others[name].values(), *scored.values()) for outcome in group]
        found.tables += [evaluation_table(number, database, runs[name], logistic),
                         baseline_table(number, database, runs[name], baselines, scored, left_out, logistic, others=others[name])]
        if name in habits:
            found.tables.append(published_protocol_table(number, database, runs[name], next(done), logistic))
    return found


def _other_configurations(experiments: Experiments, jobs: list[Job], also: dict[str, Config]) -> dict[str, list[Outcome]]:
    """Train other configurations on the splits of these jobs; return their runs, told apart by the name as control."""
    found = {}
    for name, config in also.items():
        runs = experiments.run([replace(job, model=config.model, train=config.train) for job in jobs], f"configuration {name}")
        found[f"configuration {name}"] = [replace(run, job=replace(run.job, control=f"configuration {name}")) for run in runs]
    return found
