"""Tables of what stands beside MMIFN on the same splits: baselines, other configurations, variants, the field's habit."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import numpy as np

from mmifn.data.manifest import SIMULATED
from mmifn.experiment.baselines import FULL_REFERENCE, TOLD, Baseline
from mmifn.experiment.controls import CONTROLS
from mmifn.experiment.intervals import resampled_figures, with_interval
from mmifn.experiment.runs import Outcome
from mmifn.fullref.metrics import LABEL_METRIC, METRICS
from mmifn.fusion.config import VARIANTS
from mmifn.fusion.inputs import Database
from mmifn.metrics import Agreement, agreement, holm
from mmifn.report.claims import CLAIMED_ABLATION
from mmifn.report.evaluation import (
    FIGURE_COLUMNS,
    P_NOTE,
    common_notes,
    configuration_words,
    interval_note,
    overall_agreement,
    p_text,
    paired_p,
    pooled,
    pooled_rows,
    summary_row,
)
from mmifn.report.tables import Table, mean_sd


def baseline_table(number: str, database: Database, outcomes: list[Outcome], scored: dict[Baseline, list[Outcome]],
                   left_out: list[str], logistic: int = 4, *, others: dict[str, list[Outcome]] | None = None) -> Table:
    """Build the block of baselines: every one on the splits of MMIFN's runs, all test images, with paired differences.

    outcomes: MMIFN's runs; scored: the same splits scored by every baseline; left_out: in words, which baselines are not
    there; others: runs of MMIFN by other configurations, on the same splits, by name.
    """
    table = Table(f"Table {number}, baselines on the same splits of {database.name}",
                  ["method", "PLCC", "SRCC", "RMSE", "PLCC pooled [95%]", "SRCC pooled [95%]", "PLCC - MMIFN", "p (Wilcoxon)",
                   "pooled PLCC - MMIFN [95%]"])
    own, first = _Row.of(outcomes, database, logistic), f"MMIFN ({outcomes[0].run.config.model.variant})"
    table.rows.append([first, *own.cells(), "–", "–", "–"])
    configured = {f"MMIFN, {name}": group for name, group in (others or {}).items()}
    rows = {name: _Row.of(group, database, logistic) for name, group in configured.items()}
    table.rows += [[name, *row.against(own)] for name, row in rows.items()]
    block, fits = None, []
    for baseline, group in scored.items():
        table.rows += [None] if baseline.block != block else []
        block, row = baseline.block, _Row.of(group, database, logistic)
        rows[baseline_label(baseline)] = row
        table.rows.append([baseline_label(baseline), *row.against(own)])
        fits += [figure.converged for figure in row.figures]
    table.notes = [*common_notes(database, outcomes, own.figures, logistic), *left_out,
                   *[f"{name}: {configuration_words(group[0].run.config)}." for name, group in configured.items()],
                   *_baseline_notes(database, list(scored)),
                   f"Logistic fits of baselines that failed (a straight line used): {fits.count(False)} of {len(fits)}.",
                   _median_note({first: own} | rows), interval_note(outcomes, database), P_NOTE]
    _add_holm(table, [own, *rows.values()], own)
    return table


def ablation_table(database: Database, by_variant: dict[str, list[Outcome]], logistic: int = 4) -> Table:
    """Build Table IV: every variant trained anew on the same splits and seeds, with a paired test against the full model."""
    table = Table(f"Table IV. Ablation on {database.name}",
                  ["variant", "PLCC", "SRCC", "RMSE", "PLCC - full", "p (Wilcoxon)", "pooled PLCC - full [95%]",
                   "PLCC claimed (OIQA)"])
    rows = {variant: _Row.of(group, database, logistic) for variant, group in by_variant.items()}
    full, outcomes = rows["full"], by_variant["full"]
    for variant, row in rows.items():
        if variant in CONTROLS and None not in table.rows:
            table.rows.append(None)
        number = f"{VARIANTS[variant]} " if variant in VARIANTS else "– "
        claim = f"{CLAIMED_ABLATION[variant]:.3f}" if variant in CLAIMED_ABLATION else "–"
        table.rows.append([number + variant, *row.cells()[:3], *(["–"] * 3 if row is full else row.against(full)[-3:]), claim])
    table.notes = [*common_notes(database, outcomes, full.figures, logistic), _median_note(rows),
                   interval_note(outcomes, database)]
    table.notes += [P_NOTE, *(f"Control, {name}: {CONTROLS[name]}." for name in by_variant if name in CONTROLS)]
    _add_holm(table, list(rows.values()), full)
    return table


def _median_note(rows: dict[str, _Row]) -> str:
    medians = [f"{name} {median(figure.plcc for figure in row.figures):.3f}" for name, row in rows.items()]
    return f"Median PLCC over runs: {'; '.join(medians)}."


@dataclass(frozen=True)
class _Row:
    """A method's figures: of each run, over the pooled predictions, and of the latter's bootstrap draws."""

    figures: list[Agreement]
    pooled: Agreement
    draws: dict[str, np.ndarray]

    @classmethod
    def of(cls, outcomes: list[Outcome], database: Database, logistic: int) -> _Row:
        """Measure a method's runs on the images that each is measured on."""
        figures = [overall_agreement(outcome, database, logistic) for outcome in outcomes]
        scored = pooled(outcomes, database)
        return cls(figures, agreement(scored.pred, scored.mos, logistic), resampled_figures(scored, logistic))

    def cells(self) -> list[str]:
        """Return PLCC, SRCC and RMSE over the runs, and PLCC and SRCC of the pooled predictions with their intervals."""
        over_runs = [mean_sd([getattr(figure, name) for figure in self.figures], digits)
                     for name, digits in (("plcc", 3), ("srcc", 3), ("rmse", 2))]
        return [*over_runs, *(with_interval(getattr(self.pooled, name), self.draws[name]) for name in ("plcc", "srcc"))]

    def gaps(self, own: _Row) -> list[float]:
        """Return the differences in PLCC to another row, run by run."""
        return [mine.plcc - theirs.plcc for mine, theirs in zip(self.figures, own.figures, strict=True)]

    def against(self, own: _Row) -> list[str]:
        """Return the cells, and the paired differences to MMIFN's row."""
        return [*self.cells(), mean_sd(self.gaps(own)), p_text(paired_p(self.gaps(own))),
                with_interval(self.pooled.plcc - own.pooled.plcc, self.draws["plcc"] - own.draws["plcc"])]


def _add_holm(table: Table, rows: list[_Row], own: _Row) -> None:
    """Put p values corrected for the number of rows beside the raw ones. rows: in the order of the table's."""
    place = table.columns.index("p (Wilcoxon)") + 1
    corrected = holm([None if row is own else paired_p(row.gaps(own)) for row in rows])
    table.columns.insert(place, "p (Holm)")
    for cells, value in zip((cells for cells in table.rows if cells is not None), corrected, strict=True):
        cells.insert(place, p_text(value))


def baseline_label(baseline: Baseline) -> str:
    """Return a baseline's name in print; those that see the pristine image say so."""
    return baseline.name + (" (full reference)" if baseline.block == FULL_REFERENCE else "")


def _baseline_notes(database: Database, baselines: list[Baseline]) -> list[str]:
    notes = ["Learnt baselines: fitted on training scenes, strengths chosen on validation scenes by the quality that chooses "
             "MMIFN's epoch, features standardised on training scenes; viewport features are the mean over the views, global "
             "ones the mean over the grid, text the pooled vector."]
    if any(baseline.block == TOLD for baseline in baselines):
        notes.append("Rows that are told type or level read des.csv, which no method has when it is used; they show how much "
                     "of the scores the design of the database explains.")
    if database.manifest.mos_source == SIMULATED and any(baseline.block == FULL_REFERENCE for baseline in baselines):
        notes.append(f"{METRICS[LABEL_METRIC].title} is left out: the simulated labels rest on it.")
    return notes


def published_protocol_table(number: str, database: Database, honest: list[Outcome], habit: Outcome, logistic: int = 4) -> Table:
    """Build the field's habit (one split, the epoch chosen on the test scenes) beside the honest runs of the same training.

    honest: the runs over all splits, that of the habit's scenes among them; habit: of `runs.published_run`.
    """
    same = next(outcome for outcome in honest if outcome.run.split.test == habit.run.split.val)
    figures = [overall_agreement(outcome, database, logistic) for outcome in honest]
    fair, flattered = overall_agreement(same, database, logistic), overall_agreement(habit, database, logistic)
    gaps = [f"{getattr(flattered, name) - getattr(fair, name):+.{digits}f}"
            for name, digits in (("plcc", 3), ("srcc", 3), ("krcc", 3), ("rmse", 2), ("plcc_raw", 3))]
    table = Table(f"Table {number}, published protocol on {database.name}: NOT AN HONEST ESTIMATE, for comparison with papers",
                  ["protocol", *FIGURE_COLUMNS])
    table.rows = [
        summary_row(f"honest, {len(honest)} splits", figures), *pooled_rows(honest, database, logistic), None,
        summary_row(f"honest, split {same.run.seed} alone", [fair]),
        summary_row("published: the same test scenes chose the epoch", [flattered]),
        ["published - honest, same test scenes", *gaps, "–"]]
    split, trained = habit.run.split, len(same.run.split.train)
    listed = ", ".join(split.val[:5]) + (" …" if len(split.val) > 5 else "")
    table.notes = [
        f"Published protocol: ONE split of {len(split.train)} training and {len(split.val)} test scenes "
        f"({listed}), no validation scenes; of all epochs of every stage the one that is best on the TEST scenes "
        f"is kept (here epoch {habit.epoch} of {habit.run.config.train.epochs}, honestly {same.epoch}). Many papers of the field "
        "measure like this; on average it overestimates.",
        f"The same training code, settings and seed as the honest run of these test scenes, which has {trained} training scenes. "
        "Of the honest rows:",
        *common_notes(database, honest, figures, logistic), interval_note(honest, database)]
    return table
