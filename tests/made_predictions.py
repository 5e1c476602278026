"""Predictions made by hand: small, seeded, and of the form that the experiment scripts write."""

import numpy as np
import pandas as pd

from mmifn.core.artefact import save_torch
from mmifn.experiment.predictions import COLUMNS, SCHEMA, Predictions

SCENES, LEVELS = 8, 3
TYPES = {"OIQA": ("JPEG", "GN"), "CVIQ": ("AVC", "HEVC", "zoom")}


def rows_of(identity, dataset, sides, noise):
    """Every image of a database (8 scenes x types x 3 levels), scored by one run with noise; sides: of each scene."""
    rng = np.random.default_rng([identity["seed"], len(identity["variant"]), len(identity["control"]), len(dataset), int(noise)])
    rows = [
        {**identity, "dataset": dataset, "image_name": f"s{scene}_{kind}_{level}.png", "scene": f"s{scene}",
         "distortion_type": kind, "side": sides[scene], "mos": 90.0 - 20 * level - 3 * place + scene}
        for scene in range(SCENES) for place, kind in enumerate(TYPES[dataset]) for level in range(1, LEVELS + 1)
    ]
    return [{**row, "score": row["mos"] + noise * rng.normal()} for row in rows]


def run_of(dataset="OIQA", seed=0, *, target=None, variant="full", control="", noise=6.0, unit="reference"):
    """One run as (rows, run): two scenes test and one validates, or, with a target, all but one train."""
    held = ("val",) if target else ("test", "test", "val")
    of_scene = {(seed + i) % SCENES: side for i, side in enumerate(held)}
    sides = [of_scene.get(scene, "train") for scene in range(SCENES)]
    identity = {"source": dataset, "variant": variant, "control": control, "seed": seed}
    rows = rows_of(identity, dataset, sides, noise)
    rows += rows_of(identity, target, ["target"] * SCENES, 1.5 * noise) if target else []
    split = {side: [f"s{scene}" for scene in range(SCENES) if sides[scene] == side] for side in ("train", "val", "test")}
    curve = [{"epoch": i, "loss": 1 / i + 0.1 * seed, "validation": 0.5 + 0.1 * i - 0.05 * seed} for i in (1, 2, 3)]
    return rows, {**identity, "split": {"seed": seed, "unit": unit, **split}, "epoch": 1 + (seed + 1) % 3, "curve": curve}


def predictions_of(*runs, **labels):
    """Join runs; labels: "simulated" for each database whose labels are, all others are human."""
    rows = pd.DataFrame([row for some, _ in runs for row in some])[COLUMNS]
    return Predictions(rows, [run for _, run in runs], {name: "human" for name in rows["dataset"].unique()} | labels)


def evaluated(*datasets, seeds=3, **labels):
    """What evaluate.py would write of these databases (OIQA where none is named)."""
    return predictions_of(*[run_of(name, seed) for name in datasets or ("OIQA",) for seed in range(seeds)], **labels)


def crossed(seeds=2, **labels):
    """What cross_eval.py would write of OIQA and CVIQ."""
    pairs = (("CVIQ", "OIQA"), ("OIQA", "CVIQ"))
    return predictions_of(*[run_of(one, seed, target=other) for one, other in pairs for seed in range(seeds)], **labels)


def ablated(seeds=3, variants=("full", "w/o text", "w/o AFM"), controls=("shuffled text",), **labels):
    """What ablation_study.py would write of OIQA."""
    runs = [run_of(seed=seed, variant=one, noise=6 + 4 * i) for i, one in enumerate(variants) for seed in range(seeds)]
    runs += [run_of(seed=seed, control=one, noise=20) for one in controls for seed in range(seeds)]
    return predictions_of(*runs, **labels)


def save_predictions(predictions, path):
    """Write predictions as the scripts do."""
    save_torch({"schema": SCHEMA, "columns": {name: predictions.rows[name].tolist() for name in COLUMNS},
                "runs": predictions.runs, "labels": predictions.labels}, path)
