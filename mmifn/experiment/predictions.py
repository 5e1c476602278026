"""results/predictions: the score of every image by every run, for readers and for further analysis."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmifn.core.artefact import load_torch, save_torch
from mmifn.core.csv_cells import neutral_frame
from mmifn.core.errors import ArtefactError
from mmifn.core.files import atomic_path
from mmifn.core.schema import built
from mmifn.data.manifest import Manifest
from mmifn.experiment.runs import Outcome, Run
from mmifn.fusion.inputs import Database

SCHEMA = "predictions/2"
RUN = ["source", "variant", "control", "seed"]  # what tells one run from another
COLUMNS = [*RUN, "dataset", "image_name", "scene", "distortion_type", "side", "mos", "score"]


@dataclass(frozen=True)
class _StoredSplit:
    """The split of a stored run, in plain lists."""

    seed: int
    unit: str
    train: list[str]
    val: list[str]
    test: list[str]


@dataclass(frozen=True)
class _StoredRun:
    """A run as predictions keep it; see RUN."""

    source: str
    variant: str
    control: str
    seed: int
    split: _StoredSplit
    epoch: int
    curve: list[dict[str, float]]


@dataclass(frozen=True)
class Predictions:
    """What one experiment script wrote.

    rows: COLUMNS, one row per run and image; runs: of every run, RUN, its split, chosen epoch and curve ({epoch, loss,
    validation} of every epoch); labels: "human" or "simulated" for each database.
    """

    rows: pd.DataFrame
    runs: list[dict[str, Any]]
    labels: dict[str, str]

    def __post_init__(self) -> None:
        if not isinstance(self.runs, list) or not isinstance(self.labels, dict):
            raise ValueError("no list of runs, or no labels by database")
        if not self.runs or any({*RUN, "split", "epoch", "curve"} - set(run) for run in self.runs):
            raise ValueError("runs without split, epoch or curve")
        for run in self.runs:
            built(_StoredRun, run)
        if unlabelled := set(self.rows["dataset"]) - set(self.labels):
            raise ValueError(f"no origin of the labels of {', '.join(sorted(unlabelled))}")
        if not np.isfinite(self.rows[["mos", "score"]].to_numpy(float)).all():
            raise ValueError("scores that are not finite")

    @property
    def split_by(self) -> str:
        """Return "reference" or "image"."""
        return self.runs[0]["split"]["unit"]


def _identity(run: Run) -> dict[str, Any]:
    """Return RUN of a run; control is empty, or says what was taken from the model."""
    return {"source": run.source, "variant": run.config.model.variant, "control": run.label, "seed": run.seed}


def prediction_rows(outcomes: list[Outcome], databases: dict[str, Database]) -> pd.DataFrame:
    """Return one row per run and image; side is train, val or test of the run's split, or target for another database.

    control: the run's label: empty, a control of Table IV, a baseline, or "published protocol" (measured on its side val).
    """
    frames = [_rows_of(outcome, databases[name].manifest) for outcome in outcomes for name in outcome.scores]
    return pd.concat(frames, ignore_index=True)[COLUMNS]


def _rows_of(outcome: Outcome, manifest: Manifest) -> pd.DataFrame:
    """Return the rows of one database in one outcome; scene is what the run was split by, in a target its place."""
    run = outcome.run
    scenes = manifest.scenes(run.split.unit) if run.source == manifest.dataset else manifest.places
    return pd.DataFrame({**_identity(run), "dataset": manifest.dataset, "image_name": manifest.names, "scene": scenes,
                         "distortion_type": manifest.types, "side": run.sides(manifest), "mos": manifest.mos,
                         "score": outcome.scores[manifest.dataset]})


def write_predictions(outcomes: list[Outcome], databases: dict[str, Database], path: Path) -> None:
    """Write predictions as `path` (.pt: plain dicts, with splits and curves) and as .csv beside it."""
    rows = prediction_rows(outcomes, databases)
    runs = [{**_identity(outcome.run), "split": outcome.run.split.as_dict(), "epoch": outcome.epoch, "curve": outcome.curve}
            for outcome in outcomes]
    runs = json.loads(json.dumps(runs))  # pickles tell equal strings from the same string: a run found on disk is no other
    save_torch({"schema": SCHEMA, "columns": {column: rows[column].tolist() for column in rows.columns}, "runs": runs,
                "labels": {name: databases[name].manifest.mos_source for name in databases}}, path)
    with atomic_path(path.with_suffix(".csv")) as temporary:
        neutral_frame(rows).to_csv(temporary, index=False, lineterminator="\n", float_format="%.4f")


def read_predictions(path: Path, script: str) -> Predictions | None:
    """Read what `script` wrote; None where it has not run yet. Raises ArtefactError for a damaged or foreign file."""
    if not path.exists():
        return None
    again = f"\nMake it again: python {script}"
    try:
        content = load_torch(path)
    except ArtefactError as error:
        raise ArtefactError(f"{error}{again}") from error
    found = content.get("schema") if isinstance(content, dict) else type(content).__name__
    if found != SCHEMA:
        raise ArtefactError(f"{path} is not what the report reads:\n  schema  found {found}, wanted {SCHEMA}{again}")
    try:
        if not isinstance(content["columns"], dict):
            raise ValueError("no columns by name")
        lacking = [name for name in COLUMNS if name not in content["columns"]]
        if lacking:
            raise ValueError(f"columns lack {', '.join(lacking)}")
        cells = itertools.chain.from_iterable(content["columns"][name] for name in COLUMNS)
        if not all(isinstance(cell, str | int | float) for cell in cells):
            raise ValueError("columns hold other things than texts and numbers")
        return Predictions(pd.DataFrame(content["columns"])[COLUMNS], content["runs"], content["labels"])
    except (LookupError, TypeError, ValueError) as error:
        raise ArtefactError(f"{path} is not whole ({error}){again}") from error
