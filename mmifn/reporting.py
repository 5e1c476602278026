"""What Tables I-IV say: figures from outcomes, with the notes that a sceptical reader needs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

import numpy as np
from scipy import stats

from mmifn import __version__
from mmifn.errors import UserError
from mmifn.fusion.configs import Config
from mmifn.fusion.inputs import Database
from mmifn.fusion.mmifn import VARIANTS
from mmifn.manifest import SIMULATED
from mmifn.metrics import Agreement, agreement
from mmifn.protocol import Job, Outcome
from mmifn.splits import Split
from mmifn.tables import Table, mean_sd
from mmifn.training import Fit, predict

TYPE_ORDER = ("JPEG", "JP2K", "GN", "GB", "AVC", "HEVC")
MIN_PER_TYPE = 5  # a correlation over fewer images says nothing
# As claimed by the paper: (PLCC, SRCC, RMSE), and PLCC of the ablated variants on OIQA.
CLAIMED = {"OIQA": (0.986, 0.982, 3.253), "CVIQ": (0.984, 0.983, 2.721)}
CLAIMED_CROSS = {("CVIQ", "OIQA"): (0.864, 0.847, 4.866), ("OIQA", "CVIQ"): (0.941, 0.945, 4.591)}
CLAIMED_ABLATION = {"full": 0.986, "w/o text": 0.942, "w/o GFF": 0.658, "w/o LFF": 0.881, "w/o AFM": 0.923, "w/o LIT": 0.951}
# Published on the real databases (PLCC, SRCC, protocol), from the methods' own papers.
PUBLISHED = {
    "WS-PSNR": {"OIQA": (0.581, 0.526), "CVIQ": (0.672, 0.610), "protocol": "full reference"},
    "WS-SSIM": {"OIQA": (0.504, 0.503), "CVIQ": (0.929, 0.911), "protocol": "full reference"},
    "MC360IQA": {"OIQA": (0.925, 0.919), "CVIQ": (0.951, 0.914), "protocol": "one fixed split"},
    "VGCN": {"OIQA": (0.951, 0.958), "CVIQ": (0.963, 0.965), "protocol": "test-selected"},
    "Assessor360": {"OIQA": (0.975, 0.980), "CVIQ": (0.977, 0.964), "protocol": "test-selected, one split"},
    "VU-BOIQA": {"OIQA": (0.973, 0.976), "CVIQ": (0.958, 0.963), "protocol": "test-selected"},
    "GAQC": {"OIQA": (0.985, 0.983), "CVIQ": (0.959, 0.957), "protocol": "code splits by image"},
    "VUGA": {"OIQA": (0.974, 0.973), "CVIQ": (0.984, 0.970), "protocol": "code splits by image"},
    "RL-ScanIQA": {"OIQA": (0.967, 0.941), "CVIQ": (0.970, 0.970), "protocol": "mean of 10 splits"},
    "GSR": {"OIQA": (0.954, 0.945), "CVIQ": (0.962, 0.945), "protocol": "5 splits, validation-selected"},
    "MMIFN": {"OIQA": (0.986, 0.982), "CVIQ": (0.984, 0.983), "protocol": "as claimed by the paper"},
}


def test_agreement(outcome: Outcome, database: Database, kind: str | None = None) -> Agreement | None:
    """Measure one outcome on the test scenes of its split (all images if the database is only a target).

    kind: keep one distortion type; None where fewer than MIN_PER_TYPE images are left.
    """
    job, manifest = outcome.job, database.manifest
    own = job.source == database.name
    rows = job.split.rows(manifest.scenes(job.split_by), "test") if own else list(range(len(manifest)))
    if kind is not None:
        rows = [i for i in rows if manifest.types[i] == kind]
    if len(rows) < MIN_PER_TYPE:
        return None
    return agreement(outcome.scores[database.name][rows], manifest.mos[rows])


def overall_agreement(outcome: Outcome, database: Database) -> Agreement:
    """Measure one outcome over all types. Raises UserError where there are too few images."""
    figures = test_agreement(outcome, database)
    if figures is None:
        raise UserError(f"{database.name}: fewer than {MIN_PER_TYPE} images to score in split {outcome.job.split.seed}; a "
                        "correlation over so few says nothing")
    return figures


def types_in_order(types: Iterable[str]) -> list[str]:
    """Return the distortion types that occur, once each, in the field's order of columns."""
    present = set(types)
    return [kind for kind in TYPE_ORDER if kind in present] + sorted(present - set(TYPE_ORDER))


def summary_row(label: str, figures: list[Agreement]) -> list[str]:
    """Format one row: PLCC, SRCC, KRCC, RMSE, raw PLCC, and RMSE implied by PLCC, mean ± SD over runs."""
    return [label, *[mean_sd([getattr(one, name) for one in figures], digits) for name, digits in
                     (("plcc", 3), ("srcc", 3), ("krcc", 3), ("rmse", 2), ("plcc_raw", 3), ("rmse_from_plcc", 2))]]


FIGURE_COLUMNS = ["PLCC", "SRCC", "KRCC", "RMSE", "PLCC raw", "RMSE from PLCC"]


def common_notes(database: Database, outcomes: list[Outcome], figures: list[Agreement]) -> list[str]:
    """Return what stands below every table: data, protocol, and where its labels come from."""
    manifest, job = database.manifest, outcomes[0].job
    notes = []
    if manifest.mos_source == SIMULATED:
        notes.append("SIMULATED: distortions and labels of this database are simulated (anchored in published human means); "
                     "no person looked at these images.")
    scenes = len(set(manifest.references or manifest.names))
    sides = f"{len(job.split.train)} train / {len(job.split.val)} validation / {len(job.split.test)} test"
    seeds = f"{len(outcomes)} runs, seeds {', '.join(str(one.job.seed) for one in outcomes)}"
    unit = "scenes" if job.split_by == "reference" else "IMAGES (--split-by image: scenes leak into the test)"
    notes += [
        f"{manifest.dataset}: {len(manifest)} images, {scenes} scenes, MOS scale {manifest.mos_scale}; "
        f"{job.source} split {sides} {unit}; {seeds}.",
        "Epoch chosen on validation scenes; every test image scored once per run; mean ± SD over runs. PLCC and RMSE after "
        "a 4-parameter logistic fit on the scored images, SRCC, KRCC and raw PLCC before it.",
        f"RMSE from PLCC = SD(MOS of the scored images) x sqrt(1 - PLCC²), which a least-squares fit implies; "
        f"logistic fits that failed (a straight line used): {sum(not one.converged for one in figures)} of {len(figures)}.",
        f"Features {', '.join(f'{key} {value}' for key, value in database.method.items())}; mmifn {__version__}.",
    ]
    return notes


def claim_note(name: str, claim: tuple[float, float, float]) -> str:
    """Return the paper's claim with the RMSE its PLCC implies on the real database."""
    sigma = {"OIQA": 14.39, "CVIQ": 14.29}[name]
    implied = sigma * (1 - claim[0] ** 2) ** 0.5
    return (f"As claimed by the paper on the real {name}: PLCC {claim[0]:.3f}, SRCC {claim[1]:.3f}, RMSE {claim[2]:.3f} "
            f"(its PLCC implies RMSE {implied:.2f} at SD(MOS) {sigma}).")


def evaluation_table(number: str, database: Database, outcomes: list[Outcome]) -> Table:
    """Build Table I or II: MMIFN on the test scenes, per distortion type and overall."""
    table = Table(f"Table {number}. MMIFN ({outcomes[0].job.model.variant}) on {database.name}", ["test images", *FIGURE_COLUMNS])
    for kind in types_in_order(database.manifest.types):
        table.rows.append(summary_row(kind, [one for outcome in outcomes if (one := test_agreement(outcome, database, kind))]))
    overall = [one for outcome in outcomes if (one := test_agreement(outcome, database))]
    table.rows += [None, summary_row("overall", overall)]
    table.notes = common_notes(database, outcomes, overall)
    if overall:
        median_plcc, median_srcc = (statistics.median(getattr(one, name) for one in overall) for name in ("plcc", "srcc"))
        table.notes.append(f"Median over runs: PLCC {median_plcc:.3f}, SRCC {median_srcc:.3f}.")
    if database.name in CLAIMED:
        table.notes.append(claim_note(database.name, CLAIMED[database.name]))
    return table


def published_table(names: list[str]) -> Table:
    """Build the block of published numbers, on the real databases, never measured here."""
    table = Table("As published, on the real databases (not measured here)",
                  ["method", *[f"{name} PLCC/SRCC" for name in names], "protocol"])
    for method, row in PUBLISHED.items():
        table.rows.append([method, *[f"{row[name][0]:.3f}/{row[name][1]:.3f}" for name in names], row["protocol"]])
    return table


def cross_table(pairs: list[tuple[Database, Database, list[Outcome]]]) -> Table:
    """Build Table III: trained on the whole source, tested on the whole target."""
    table = Table("Table III. MMIFN across databases", ["train → test", *FIGURE_COLUMNS])
    for source, target, outcomes in pairs:
        figures = [overall_agreement(outcome, target) for outcome in outcomes]
        table.rows.append(summary_row(f"{source.name} → {target.name}", figures))
        table.notes += common_notes(target, outcomes, figures)
        if (source.name, target.name) in CLAIMED_CROSS:
            claim = claim_note(target.name, CLAIMED_CROSS[source.name, target.name])
            table.notes.append(f"{source.name} → {target.name}: {claim}")
    table.notes.append("Nothing is chosen on the target: the epoch comes from validation scenes of the source.")
    return table


def ablation_table(database: Database, by_variant: dict[str, list[Outcome]]) -> Table:
    """Build Table IV: every variant trained anew on the same splits and seeds, with a paired test against the full model."""
    table = Table(f"Table IV. Ablation on {database.name}",
                  ["variant", "PLCC", "SRCC", "RMSE", "PLCC - full", "p (Wilcoxon)", "PLCC claimed (OIQA)"])
    full = [overall_agreement(outcome, database) for outcome in by_variant["full"]]
    for variant, outcomes in by_variant.items():
        figures = [overall_agreement(outcome, database) for outcome in outcomes]
        gaps = [one.plcc - reference.plcc for one, reference in zip(figures, full, strict=True)]
        number = f"{VARIANTS[variant]} " if variant in VARIANTS else "– "
        claim = f"{CLAIMED_ABLATION[variant]:.3f}" if variant in CLAIMED_ABLATION else "–"
        table.rows.append([number + variant, mean_sd([one.plcc for one in figures]), mean_sd([one.srcc for one in figures]),
                           mean_sd([one.rmse for one in figures], 2), "–" if variant == "full" else mean_sd(gaps),
                           "–" if variant == "full" else paired_p(gaps), claim])
    table.notes = common_notes(database, by_variant["full"], full)
    table.notes.append("p: two-sided Wilcoxon signed-rank test on the runs' PLCC against the full model, same splits and seeds; "
                       "runs of one database share scenes, so p is optimistic. With fewer than 6 runs it cannot fall below .05.")
    return table


def paired_p(differences: list[float]) -> str:
    """Return the two-sided Wilcoxon p of paired differences; a dash where it is not defined."""
    values = np.asarray(differences)
    if len(values) < 2 or not np.any(values):
        return "–"
    return f"{stats.wilcoxon(values).pvalue:.3f}"


def training_table(fit: Fit, source: Database, targets: list[Database], split: Split, config: Config, split_by: str) -> Table:
    """Build what train.py prints: one split's test scenes, and every image of the other databases."""
    job = Job(source.name, split, config.model, config.train, split.seed, tuple(target.name for target in targets), split_by)
    scores = {database.name: predict(fit.network, database.inputs, fit.scale).mean(axis=1) for database in [source, *targets]}
    outcome = Outcome(job, scores, fit.epoch, fit.curve)
    table = Table(f"One split of {source.name}, a first look (Tables I-IV average over splits)", ["images", *FIGURE_COLUMNS])
    for database, label in [(source, "test scenes"), *[(target, "whole") for target in targets]]:
        figures = test_agreement(outcome, database)
        table.rows.append(summary_row(f"{database.name} {label}", [figures] if figures else []))
        table.notes += common_notes(database, [outcome], [figures] if figures else [])
    return table
