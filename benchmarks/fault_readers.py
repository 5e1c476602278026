"""What benchmarks/faults.py spoils and reads: for every reader of the package a sound file, and a way to spoil it."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.io import savemat

from benchmarks.fault_containers import containers
from benchmarks.fault_spoil import NAMES, Reader, row_of, spoil_bytes, spoil_text, spoil_torch
from mmifn.core.artefact import Provenance, load, load_torch, save, save_torch, sha256_tensors
from mmifn.core.errors import UserError, out_of_memory
from mmifn.core.files import sha256_text, write_text
from mmifn.data.features import FusedFeatures, GlobalFeatures, TextFeatures, ViewportFeatures
from mmifn.data.importers.scores import read_scores
from mmifn.data.manifest import read_manifest
from mmifn.data.measurements import Measurements
from mmifn.data.split_files import read_splits, write_splits
from mmifn.data.splits import Split, make_splits
from mmifn.data.workspace import Workspace
from mmifn.describe.journal import append, journal_of
from mmifn.describe.table import Row, read_rows, write_rows
from mmifn.experiment.predictions import COLUMNS, SCHEMA, read_predictions
from mmifn.fusion.config import ModelConfig
from mmifn.fusion.inputs import Dimensions
from mmifn.fusion.model import MMIFN
from mmifn.report.tables import Table, read_tables, write_tables
from mmifn.scoring.interval import Calibration, read_residuals
from mmifn.scoring.model import Model, load_model, save_model
from mmifn.scoring.prediction import Prediction, columns
from mmifn.scoring.results import ResultFile
from mmifn.simulate.database import claim_folder
from mmifn.simulate.settings import Simulation
from mmifn.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mmifn.training.configs import TrainConfig
from mmifn.training.fit import MosScale

SCENES = [f"s{scene}" for scene in range(6) for _ in range(3)]


def _made_by(names: list[str]) -> Provenance:
    return Provenance("net", "w", {"size": 1, "adapted_on": ["x"]}, {name: sha256_text(name) for name in names})


def _caches() -> dict[str, Any]:
    """Return one small artefact of every kind."""
    n, rng = len(NAMES), np.random.default_rng(0)

    def some(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.normal(size=shape)).float()

    made = _made_by(NAMES)
    return {"text features": TextFeatures("DS", NAMES, made, some(n, 4, 5), some(n, 4) > 0, some(n, 5)),
            "viewport features": ViewportFeatures("DS", NAMES, made, some(n, 7, 5).half(), some(7, 2)),
            "global features": GlobalFeatures("DS", NAMES, made, [some(n, 8, c).half() for c in (4, 6, 8)]),
            "fused features": FusedFeatures("DS", NAMES, _made_by(["database"]), some(n, 8, 6), "gff", {"w": some(2)},
                                            {"model": {}, "train": {}, "seed": 0}, {"seed": 0, "test": ["s1"]}),
            "measurements": Measurements("DS", NAMES, made, some(n, 2).double(), ["a", "b"])}


def make_database(root: Path) -> None:
    """Write a database DS of made-up features into a workspace: all that stages 5-7 read."""
    space = Workspace(root)
    space.manifest("DS").parent.mkdir(parents=True)
    _manifest(space.manifest("DS"))
    caches = _caches()
    for name, cache in (("text_features", "text features"), ("viewport_features", "viewport features"),
                        ("global_features", "global features")):
        made = replace(caches[cache].made_by, encoder=name)
        save(replace(caches[cache], made_by=made), space.features("DS", name))


def small_checkpoint() -> Checkpoint:
    """Return a checkpoint of a tiny network, untrained."""
    dims, config = Dimensions(10, 12, (6, 8, 10), 5), ModelConfig(level_widths=(8, 8, 8), lit_hidden=8, width=8)
    torch.manual_seed(0)
    return Checkpoint(config, TrainConfig(), dims, Split(1, "reference", ("a", "b"), ("c",), ("d",)), MosScale(50.0, 20.0), 3, 4,
                      "DS", "digest", {"text_features": "t"}, "human", "0-100",
                      [{"epoch": 1, "loss": 0.5, "validation": 0.25}], MMIFN(config, dims).state_dict())


def _manifest(path: Path) -> None:
    rows = [(name, 30 + 3.5 * i, "JPEG", scene, i % 3 + 1, "simulated")
            for i, (name, scene) in enumerate(zip(NAMES, SCENES, strict=True))]
    names = ["image_name", "MOS", "distortion_type", "reference", "level", "mos_source"]
    pd.DataFrame(rows, columns=names).to_csv(path, index=False)


def _predictions() -> pd.DataFrame:
    return pd.DataFrame([("DS", "full", "", 0, "DS", name, scene, "JPEG", "test", 30.0 + i, 31.5 + i)
                         for i, (name, scene) in enumerate(zip(NAMES, SCENES, strict=True))], columns=COLUMNS)


def _write_predictions(path: Path) -> None:
    run = {"source": "DS", "variant": "full", "control": "", "seed": 0, "epoch": 1, "curve": [{"epoch": 1, "loss": 1.0}],
           "split": {"seed": 0, "unit": "reference", "train": ["s0"], "val": ["s1"], "test": ["s2"]}}
    save_torch({"schema": SCHEMA, "columns": {name: values.tolist() for name, values in _predictions().items()}, "runs": [run],
                "labels": {"DS": "human"}}, path)


def _write_results(path: Path) -> None:
    file = ResultFile(path, "m", columns() if path.suffix == ".csv" else None)
    for name in NAMES[:5]:
        file.add(row_of(name))
    file.close()


def _read_results(path: Path) -> list[Prediction]:
    file = ResultFile(path, "m", columns() if path.suffix == ".csv" else None)
    try:
        return [Prediction.from_row(row) for row in file.rows() if "score" in row]
    finally:
        file.close()


def _write_journal(path: Path) -> None:
    append(path.with_name("des.csv"), [dict(vars(Row("DS", name, "soft, \"and\" noisy"))) for name in NAMES])
    journal_of(path.with_name("des.csv")).replace(path)


def _read_journal(path: Path) -> list[Row]:
    path.replace(journal_of(path.with_name("des.csv")))
    return read_rows(path.with_name("des.csv"))


def _claim(path: Path) -> None:
    record = {"seed": 0, "scenes": {"a": ["b", "c"]}, "levels": [1, 2]}
    if not path.exists():
        write_text(path, json.dumps(record))
    claim_folder(path.parent, Simulation("OIQA", "DS", "synthetic", 2, 0), record)


def _labels(path: Path) -> None:
    head = "image,MOS,type,level,reference\n" if path.suffix == ".csv" else ""
    line = "{0} {1:.2f}\n" if path.suffix == ".txt" else "{0},{1:.2f},JPEG,{2},{3}\n"
    write_text(path, head + "".join(line.format(name, 30 + i, i % 3 + 1, SCENES[i]) for i, name in enumerate(NAMES)))


def readers() -> dict[str, Reader]:
    """Return every reader by what it reads."""
    found = containers()
    for name, cache in _caches().items():
        found[name] = Reader(lambda path, cache=cache: save(cache, path), lambda path, cache=cache: load(path, type(cache)),
                             spoil_torch, "c.pt")
    calibration = Calibration(0.9, 7.5, 20, 400, "human", (40.0,), (6.0, float("inf")))
    network = small_checkpoint()
    found |= {
        "checkpoint": Reader(lambda path: save_checkpoint(network, path),
                             lambda path: load_checkpoint(path).network(torch.device("cpu")), spoil_torch, "c.pth"),
        "model": Reader(lambda path: save_model(Model(network, calibration), path), load_model, spoil_bytes, "m.safetensors",
                        lambda model: sha256_tensors(model.checkpoint.state) + repr(model.calibration)),
        "predictions": Reader(_write_predictions, lambda path: read_predictions(path, "evaluate.py"), spoil_torch, "p.pt"),
        "torch file": Reader(lambda path: save_torch({"a": [1, "x"]}, path), load_torch, spoil_torch, "t.pt"),
        "des.csv": Reader(_manifest, lambda path: read_manifest(path, "DS"), spoil_text, "des.csv"),
        "text/des.csv": Reader(lambda path: write_rows(path, [Row("DS", name, "=soft,\n\"x\"", "vlm") for name in NAMES]),
                               read_rows, spoil_text, "des.csv"),
        "journal": Reader(_write_journal, _read_journal, spoil_text, "journal"),
        "splits": Reader(lambda path: write_splits(path, {"DS": make_splits(SCENES, 2)}),
                         lambda path: read_splits(path, "DS", SCENES), spoil_text, "splits.json"),
        "results csv": Reader(_write_results, _read_results, spoil_text, "r.csv"),
        "results json": Reader(_write_results, _read_results, spoil_text, "r.json"),
        "tables": Reader(lambda path: write_tables([Table("T", ["a", "b"], [["x", "-1.5 ± 0.2"]], ["note"])], path), read_tables,
                         spoil_text, "t.csv"),
        "predictions.csv": Reader(lambda path: _predictions().to_csv(path, index=False),
                                  lambda path: read_residuals(path, "DS", "full"), spoil_text, "p.csv"),
        "simulation.json": Reader(_claim, _claim, spoil_text, "simulation.json"),
        "labels mat": Reader(lambda path: savemat(path, {"mos": np.arange(30.0)}), read_scores, spoil_bytes, "l.mat"),
    }
    return found | {f"labels {kind}": Reader(_labels, read_scores, spoil_text, f"l.{kind}") for kind in ("csv", "txt")}


def read_spoilt(name: str, rng: random.Random, folder: Path) -> str:
    """Spoil the file of a reader and read it; return what was wrong with the answer, "" where nothing was."""
    reader = readers()[name]
    path = folder / reader.name
    reader.write(path)
    sound = reader.identity(reader.read(path)) if reader.identity else ""
    path.write_bytes(reader.spoil(path.read_bytes(), rng))
    try:
        found = reader.read(path)
    except (UserError, PermissionError):
        return ""
    except Exception as error:
        return "" if out_of_memory(error) else f"{type(error).__name__}: {str(error)[:200]}"
    return "" if reader.identity is None or reader.identity(found) == sound else "a changed content was used in silence"
