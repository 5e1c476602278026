"""results/predictions: the score of every image by every run, for readers and for further analysis."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mmifn.artefact import save_torch
from mmifn.files import atomic_path
from mmifn.fusion.inputs import Database
from mmifn.protocol import Outcome

SCHEMA = "predictions/2"
COLUMNS = ["source", "variant", "seed", "dataset", "image_name", "scene", "distortion_type", "side", "mos", "score"]


def prediction_rows(outcomes: list[Outcome], databases: dict[str, Database]) -> pd.DataFrame:
    """Return one row per run and image; side is train, val or test of the run's split, or target for another database."""
    frames = []
    for outcome in outcomes:
        for name, scores in outcome.scores.items():
            manifest = databases[name].manifest
            sides, scenes = ["target"] * len(manifest), manifest.locations or manifest.references or manifest.names
            if name == outcome.job.source:
                scenes = manifest.scenes(outcome.job.split_by)
                for side in ("train", "val", "test"):
                    for i in outcome.job.split.rows(scenes, side):
                        sides[i] = side
            frames.append(pd.DataFrame({
                "source": outcome.job.source, "variant": outcome.job.model.variant, "seed": outcome.job.seed, "dataset": name,
                "image_name": manifest.names, "scene": scenes, "distortion_type": manifest.types,
                "side": sides, "mos": manifest.mos, "score": scores}))
    return pd.concat(frames, ignore_index=True)[COLUMNS]


def write_predictions(outcomes: list[Outcome], databases: dict[str, Database], path: Path) -> None:
    """Write predictions as `path` (.pt: plain dicts, with splits) and as .csv beside it."""
    rows = prediction_rows(outcomes, databases)
    save_torch({"schema": SCHEMA, "columns": {column: rows[column].tolist() for column in rows.columns},
                "splits": [outcome.job.split.as_dict() for outcome in outcomes],
                "epochs": [outcome.epoch for outcome in outcomes]}, path)
    with atomic_path(path.with_suffix(".csv")) as temporary:
        rows.to_csv(temporary, index=False, lineterminator="\n", float_format="%.4f")
