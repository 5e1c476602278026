"""What Tables I-IV say: figures from outcomes, with the notes that a sceptical reader needs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

import numpy as np
from scipy import stats

from mmifn.core.errors import UserError
from mmifn.core.version import code_version
from mmifn.data.features import CACHES
from mmifn.data.importers import partial_note
from mmifn.data.manifest import SIMULATED
from mmifn.encoders.presets import PRESETS
from mmifn.experiment.intervals import MIN_SCENES, RESAMPLES, SEED, Scored, interval_text, resampled_figures
from mmifn.experiment.runs import Outcome, Run
from mmifn.fusion.inputs import Database
from mmifn.metrics import Agreement, agreement
from mmifn.report.claims import CLAIMED, CLAIMED_CROSS, claim_note
from mmifn.report.tables import Table, mean_sd
from mmifn.training.configs import Config
from mmifn.training.fit import Fit, image_scores
from mmifn.training.trial import Trial

TYPE_ORDER = ("JPEG", "JP2K", "GN", "GB", "AVC", "HEVC")
MIN_PER_TYPE = 5  # a correlation over fewer images says nothing


def agreement_on_test(outcome: Outcome, database: Database, kind: str | None = None, logistic: int = 4) -> Agreement | None:
    """Measure one outcome on the test scenes of its split (all images if the database is only a target).

    kind: keep one distortion type; None where fewer than MIN_PER_TYPE images are left; logistic: parameters of the fit.
    """
    manifest = database.manifest
    rows = [i for i in outcome.run.measured_rows(manifest) if kind is None or manifest.types[i] == kind]
    if len(rows) < MIN_PER_TYPE:
        return None
    return agreement(outcome.scores[database.name][rows], manifest.mos[rows], logistic)


def pooled(outcomes: list[Outcome], database: Database) -> Scored | None:
    """Return the predictions of all runs on the images they are measured on, one after the other; None where too few."""
    manifest, places = database.manifest, database.manifest.places
    rows = [(outcome, i) for outcome in outcomes for i in outcome.run.measured_rows(manifest)]
    if len(rows) < MIN_PER_TYPE:
        return None
    return Scored(np.array([outcome.scores[database.name][i] for outcome, i in rows]), manifest.mos[[i for _, i in rows]],
                  [places[i] for _, i in rows])


def pooled_rows(outcomes: list[Outcome], database: Database, logistic: int) -> list[list[str]]:
    """Format the figures over the pooled predictions of all runs, and their 95% intervals over scenes."""
    scored = pooled(outcomes, database)
    if scored is None:
        return []
    draws = resampled_figures(scored, logistic)
    return [summary_row(f"{len(outcomes)} runs pooled", [agreement(scored.pred, scored.mos, logistic)]),
            ["95% interval", interval_text(draws["plcc"]), interval_text(draws["srcc"]), *["–"] * (len(FIGURE_COLUMNS) - 2)]]


def interval_note(outcomes: list[Outcome], database: Database) -> str:
    """Say how the intervals of these runs are made, and over how many scenes."""
    places = database.manifest.places
    scenes = {places[i] for outcome in outcomes for i in outcome.run.measured_rows(database.manifest)}
    return (f"Runs pooled: the test predictions of all runs on {database.name} together, one logistic fit. 95% interval: "
            f"percentile bootstrap of the pooled figure over the {len(scenes)} scenes tested ({RESAMPLES} draws with "
            f"replacement, seed {SEED}; a prediction counts as often as its scene was drawn); models and fit held fixed. Below "
            f"about 10 scenes it is rather too narrow; below {MIN_SCENES} none is given.")


def overall_agreement(outcome: Outcome, database: Database, logistic: int = 4) -> Agreement:
    """Measure one outcome over all types. Raises UserError where there are too few images."""
    figures = agreement_on_test(outcome, database, logistic=logistic)
    if figures is None:
        raise UserError(f"{database.name}: fewer than {MIN_PER_TYPE} images to score in split {outcome.run.split.seed}; a "
                        "correlation over so few says nothing")
    return figures


def types_in_order(types: Iterable[str]) -> list[str]:
    """Return the distortion types that occur, once each, in the field's order of columns."""
    present = set(types)
    return [kind for kind in TYPE_ORDER if kind in present] + sorted(present - set(TYPE_ORDER))


def summary_row(label: str, figures: list[Agreement]) -> list[str]:
    """Format one row: PLCC, SRCC, KRCC, RMSE, raw PLCC, and RMSE implied by PLCC, mean ± SD over runs."""
    return [label, *[mean_sd([getattr(figure, name) for figure in figures], digits) for name, digits in
                     (("plcc", 3), ("srcc", 3), ("krcc", 3), ("rmse", 2), ("plcc_raw", 3), ("rmse_from_plcc", 2))]]


def medians(figures: list[Agreement]) -> str:
    """Format the medians over runs."""
    return ", ".join(f"{name} {statistics.median(getattr(figure, name.lower()) for figure in figures):.{digits}f}"
                     for name, digits in (("PLCC", 3), ("SRCC", 3), ("KRCC", 3), ("RMSE", 2)))


FIGURE_COLUMNS = ["PLCC", "SRCC", "KRCC", "RMSE", "PLCC raw", "RMSE from PLCC"]


def preset_of(encoders: dict[str, str]) -> str:
    """Return the preset that these encoders are, in words."""
    chosen = tuple(encoders[name] for name in CACHES)
    names = [name for name, preset in PRESETS.items() if (preset.text, preset.viewport, preset.global_) == chosen]
    return f"preset {names[0]}" if names else "no preset"


def common_notes(database: Database, outcomes: list[Outcome], figures: list[Agreement], logistic: int = 4) -> list[str]:
    """Return what stands below every table: data, protocol, and where its labels come from."""
    manifest, run = database.manifest, outcomes[0].run
    notes = []
    if manifest.mos_source == SIMULATED:
        notes.append("SIMULATED: distortions and labels of this database are simulated (anchored in published human means); "
                     "no person looked at these images.")
    notes += [note] if (note := partial_note(manifest)) else []
    scenes = len(set(manifest.references or manifest.names))
    sides = f"{len(run.split.train)} train / {len(run.split.val)} validation / {len(run.split.test)} test"
    seeds = f"{len(outcomes)} runs, seeds {', '.join(str(outcome.run.seed) for outcome in outcomes)}"
    unit = "scenes" if run.split.unit == "reference" else "IMAGES (--split-by image: scenes leak into the test)"
    epoch = "Last epoch kept" if run.config.train.last_epoch else "Epoch chosen on validation scenes"
    computed = sorted({outcome.computed for outcome in outcomes} - {""})
    notes += [
        f"{manifest.dataset}: {len(manifest)} images, {scenes} scenes, MOS scale {manifest.mos_scale}; "
        f"{run.source} split {sides} {unit}; {seeds}.",
        f"{epoch}; every test image scored once per run; mean ± SD over runs. PLCC and RMSE after a "
        f"{logistic}-parameter logistic fit on the scored images, SRCC, KRCC and raw PLCC before it.",
        f"Model: {configuration_words(run.config)}."
        + (f" Computed on: {'; '.join(computed)}." if computed else ""),
        f"RMSE from PLCC = SD(MOS of the scored images) x sqrt(1 - PLCC²), which a least-squares fit implies; "
        f"logistic fits that failed (a straight line used): {sum(not figure.converged for figure in figures)} of {len(figures)}.",
        "Encoders "
        + ", ".join(f"{key.removesuffix('_features')} {name} ({database.method[key]})" for key, name in database.encoders.items())
        + (f", computed on {'; '.join(database.computed)}" if database.computed else "")
        + f"; {preset_of(database.encoders)}; {code_version()}.",
    ]
    return notes + taught_note(database)


def configuration_words(config: Config) -> str:
    """Say how a model was made and trained, as far as configurations differ."""
    model, train = config.model, config.train
    kept = [part for part, wished in (("LIT", model.lit_residual), ("AFM", model.afm_residual)) if wished]
    return (f"{'residual ' + ' and '.join(kept) if kept else 'Eq. 13-19 to the letter'}, width {model.width}, text dropout "
            f"{model.text_dropout:g}; {train.epochs} epochs after {train.branch_epochs} of the branches alone, AdaMax "
            f"{train.learning_rate:g} ({train.schedule}), loss {train.loss}"
            + (f"; {config.tuning.words()}" if config.tuning else ""))


def taught_note(database: Database) -> list[str]:
    """Say whether encoders were adapted on scenes of this database (or of its places), where they were adapted at all."""
    if not database.taught:
        return []
    own = set(database.manifest.references or ()) | set(database.manifest.locations or ())
    seen = sorted(own & database.taught)
    if seen:
        return [f"WARNING: encoders were adapted on {len(seen)} scene(s) of {database.name} ({', '.join(seen)}): these figures "
                "flatter; adapt anew without them (tools/adapt_encoders.py)."]
    return [f"Encoders were adapted to distortions on {len(database.taught)} other scenes, none of {database.name}."]


def _agreements(outcomes: list[Outcome], database: Database, kind: str | None, logistic: int) -> list[Agreement]:
    figures = (agreement_on_test(outcome, database, kind, logistic) for outcome in outcomes)
    return [figure for figure in figures if figure]


def evaluation_table(number: str, database: Database, outcomes: list[Outcome], logistic: int = 4) -> Table:
    """Build Table I or II: MMIFN on the test scenes, per distortion type and overall."""
    variant = outcomes[0].run.config.model.variant
    table = Table(f"Table {number}. MMIFN ({variant}) on {database.name}", ["test images", *FIGURE_COLUMNS])
    few = []
    for kind in types_in_order(database.manifest.types):
        figures = _agreements(outcomes, database, kind, logistic)
        if figures:
            table.rows.append(summary_row(kind, figures))
        else:
            few.append(kind)
    overall = _agreements(outcomes, database, None, logistic)
    table.rows += [*[None] * bool(table.rows), summary_row("overall", overall), *pooled_rows(outcomes, database, logistic)]
    table.notes = [*common_notes(database, outcomes, overall, logistic), interval_note(outcomes, database)]
    if few:
        table.notes.append(f"Types with fewer than {MIN_PER_TYPE} test images, in the overall figures only: {', '.join(few)}.")
    table.notes += [f"Median over runs: {medians(overall)}."] if overall else []
    if database.name in CLAIMED:
        table.notes.append(claim_note(database.name, CLAIMED[database.name]))
    return table


def cross_table(outcomes: dict[tuple[str, str], list[Outcome]], databases: dict[str, Database], logistic: int = 4) -> Table:
    """Build Table III: trained on the whole source, tested on the whole target, for every (source, target) of the outcomes."""
    table = Table("Table III. MMIFN across databases", ["train → test", *FIGURE_COLUMNS])
    for (source, target), group in outcomes.items():
        way, database = f"{source} → {target}", databases[target]
        figures = [overall_agreement(outcome, database, logistic) for outcome in group]
        table.rows += [summary_row(way, figures), *pooled_rows(group, database, logistic)]
        table.notes += [*common_notes(database, group, figures, logistic), interval_note(group, database),
                        f"{way}, median over runs: {medians(figures)}."]
        if (source, target) in CLAIMED_CROSS:
            table.notes.append(f"{way}: {claim_note(target, CLAIMED_CROSS[source, target])}")
    table.notes.append("Nothing is chosen on the target: the epoch comes from validation scenes of the source.")
    return table


P_NOTE = ("p: two-sided Wilcoxon signed-rank test on the runs' PLCC against the full model, same splits and seeds; Holm: the "
          "same, corrected for the number of rows of this table. Runs of one database share scenes, so p is optimistic. With "
          "fewer than 6 runs it cannot fall below .05.")


def paired_p(differences: list[float]) -> float | None:
    """Return the two-sided Wilcoxon p of paired differences; None where it is not defined."""
    values = np.asarray(differences)
    if len(values) < 2 or not np.any(values):
        return None
    return float(stats.wilcoxon(values).pvalue)


def p_text(value: float | None) -> str:
    """Format a p value; a dash where there is none."""
    return "–" if value is None else f"{value:.3f}"


def training_table(fit: Fit, trial: Trial, targets: list[Database]) -> Table:
    """Build what train.py prints: one split's test scenes, and every image of the other databases."""
    source = trial.database
    run = Run(source.name, trial.split, trial.config, trial.seed, tuple(target.name for target in targets))
    scores = {database.name: image_scores(fit, database.inputs) for database in [source, *targets]}
    outcome = Outcome(run, scores, fit.epoch, fit.curve)
    table = Table(f"One split of {source.name}, a first look (Tables I-IV average over splits)", ["images", *FIGURE_COLUMNS])
    tested = [(source, "test scenes")] if trial.split.test else []
    for database, label in [*tested, *[(target, "whole") for target in targets]]:
        figures = _agreements([outcome], database, None, 4)
        table.rows.append(summary_row(f"{database.name} {label}", figures))
        table.notes += common_notes(database, [outcome], figures)
    return table
