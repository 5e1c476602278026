"""Files that can be read and hold something else: one message that says where, and no traceback."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.io import savemat
from stand_in import small_checkpoint

from benchmarks import fault_readers as made
from mmifn.core.artefact import load_torch, save_torch
from mmifn.core.errors import ArtefactError, UserError
from mmifn.data.importers import mat
from mmifn.data.importers.scores import read_scores
from mmifn.data.manifest import read_manifest
from mmifn.data.split_files import read_splits
from mmifn.describe.journal import journal_of
from mmifn.describe.table import read_rows
from mmifn.experiment.predictions import read_predictions
from mmifn.report.tables import read_tables
from mmifn.scoring.interval import Calibration, read_residuals
from mmifn.scoring.model import Model, load_model, save_model
from mmifn.simulate.database import claim_folder
from mmifn.simulate.settings import Simulation
from mmifn.training.checkpoint import as_content, load_checkpoint
from tools import export_model


def refused(read, words, kind=UserError):
    with pytest.raises(kind, match=words):
        read()


@pytest.mark.parametrize(("text", "words"), [
    ("scene,mos,score\na,1,2\nscene,mos,score\nb,1,2\n", r"line 3: mos 'mos' is not a finite number \(two tables in one file"),
    ('scene,mos,score\na,"1,5",2\n', r"line 2: mos '1,5' is not a finite number \(a decimal comma\? wanted a point\)"),
    ("scene,mos,score\na,1,good\n", "line 2: score 'good'"),
    ("scene,mos,score\na,1e300,2\n", "line 2: mos '1e300' is off every scale of opinions"),
    ("scene;mos;score\na;1;2\n", r"lacks the column\(s\) scene, mos, score; .* \(values separated by ';'\?"),
    ("source,scene,mos,score\nDS,a,1,2\nsource,scene,mos,score\n", "line 3: mos 'mos'"),
    ("scene,mos,score\na,1,2\n".encode("utf-16"), "not a readable csv table in UTF-8"),
])  # fmt: skip
def test_predictions_of_wrong_content_are_refused_by_line(tmp_path, capfd, text, words):
    path = tmp_path / "p.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(lambda: read_residuals(path, "DS", "full"), words)
    save_torch(as_content(small_checkpoint(database="DS")), tmp_path / "c.pth")
    assert export_model.main([str(tmp_path / "c.pth"), "--calibration", str(path), "--out", str(tmp_path / "m.safetensors")]) == 2
    err = capfd.readouterr().err
    assert "p.csv" in err and "Traceback" not in err and not (tmp_path / "m.safetensors").exists()


@pytest.mark.parametrize(("row", "words"), [
    ("a.png,1e300,JPEG,1", "line 2: MOS '1e300' is off every scale"), ("a.png,inf,JPEG,1", "is not a finite number"),
    ("a.png,5,JPEG,²", "level '²' is not a whole number"), ("a.png,5,JPEG,٣", "level '٣' is not a whole number"),
    (f"a.png,5,JPEG,{'9' * 5000}", "is not a whole number"), ('a.png,"5,5",JPEG,1', "a decimal comma"),
])  # fmt: skip
def test_manifests_of_wrong_content_are_refused_by_line(tmp_path, row, words):
    path = tmp_path / "des.csv"
    path.write_text(f"image_name,MOS,distortion_type,level\n{row}\n", encoding="utf-8")
    refused(lambda: read_manifest(path, "DS"), words)


@pytest.mark.parametrize("content", [
    [], 3, None, {"schema": "splits/1"}, {"schema": "splits/1", "splits": [1]}, {"schema": "splits/1", "splits": {"DS": 3}},
    {"schema": "splits/1", "splits": {"DS": [3, None]}}, {"schema": "splits/1", "splits": {"DS": [{"seed": "x", "train": 3}]}},
    {"DS-1": None}, {"DS-1": {"train": [["s0"]], "val": [None], "test": [3]}}, '{"DS-1": {"train": [NaN]}}', "[" * 50_000,
    '"\\ud800"',
])  # fmt: skip
def test_splits_of_wrong_content_are_refused(tmp_path, content):
    path = tmp_path / "splits.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    refused(lambda: read_splits(path, "DS", ["s0", "s1", "s2", "²"]), "splits.json")


@pytest.mark.parametrize("line", [
    "[1]", "3", '{"image_name": 3}', '{"extra": []}', '{"extra": {"a": 1}}', "[" * 50_000, '{"a": NaN}'])  # fmt: skip
def test_a_damaged_journal_is_named(tmp_path, line):
    journal_of(tmp_path / "des.csv").write_text(line + "\n")
    refused(lambda: read_rows(tmp_path / "des.csv"), r"\.des\.csv\.journal is damaged")


@pytest.mark.parametrize("content", [b"\xff\xfe# T\n", b"# T\n", b"# T\na,b\n1\n", b'# T\n"a\n', b"", b"# T\n" + b"x" * 200_000])
def test_tables_of_wrong_content_are_refused(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    refused(lambda: read_tables(tmp_path / "t.csv"), "is not a file of tables")


@pytest.mark.parametrize("cut", [0, 60, 130, 200])
def test_a_short_mat_file_is_refused(tmp_path, cut):
    savemat(tmp_path / "l.mat", {"mos": np.arange(30.0)})
    (tmp_path / "l.mat").write_bytes((tmp_path / "l.mat").read_bytes()[:cut])
    refused(lambda: read_scores(tmp_path / "l.mat"), "is damaged or not a MATLAB 5 file|holds no vector")


def test_a_mat_file_that_takes_its_reader_down_is_refused(tmp_path):
    """Zeros over the name of the vector and the tag of its numbers: scipy 1.17 ends in a segmentation fault."""
    savemat(tmp_path / "l.mat", {"mos": np.arange(18.0)})
    content = bytearray((tmp_path / "l.mat").read_bytes())
    assert bytes(content[172:175]) == b"mos"
    content[170:234] = bytes(64)
    (tmp_path / "l.mat").write_bytes(content)
    refused(lambda: read_scores(tmp_path / "l.mat"), "is damaged or not a MATLAB 5 file")


def test_a_mat_file_that_memory_cannot_hold_is_not_called_damaged(tmp_path, monkeypatch):
    def short(path):
        raise MemoryError("9 GiB")

    savemat(tmp_path / "l.mat", {"mos": np.arange(18.0)})
    monkeypatch.setattr("scipy.io.loadmat", short)
    said = mat._content(str(tmp_path / "l.mat"))
    monkeypatch.setattr(mat.subprocess, "run", lambda *args, **options: SimpleNamespace(returncode=0, stdout=json.dumps(said)))
    with pytest.raises(MemoryError, match=r"l\.mat: 9 GiB"):
        read_scores(tmp_path / "l.mat")


def test_lists_of_scores_with_odd_lines_are_refused(tmp_path):
    for line in (',"a"', ',,,,,,5', '"a,5', ",3", "x" * 200_000 + ",5"):
        (tmp_path / "l.txt").write_text(f"a.png,3\n{line}\n")
        refused(lambda: read_scores(tmp_path / "l.txt"), "not scores|is no table")


@pytest.mark.parametrize("content", ["[]", "3", "null", "{", '{"seed": NaN}', "[" * 50_000])
def test_a_simulation_of_the_wrong_type_is_damaged(tmp_path, content):
    (tmp_path / "simulation.json").write_text(content)
    plan = Simulation("OIQA", "DS", "synthetic", 2, 0)
    refused(lambda: claim_folder(tmp_path, plan, {"seed": 0}), "simulation.json is damaged")
    claim_folder(tmp_path, replace(plan, overwrite=True), {"seed": 0})
    assert json.loads((tmp_path / "simulation.json").read_text()) == {"seed": 0}


@pytest.mark.parametrize(("change", "words"), [
    ({"dims": {"text": "x", "view": 12, "levels": (6, 8, 10), "viewports": 5}}, "dims.text is 'x', wanted int"),
    ({"scale": {"mean": math.nan, "sd": 1.0}}, "scale.mean is nan"), ({"epoch": None}, "epoch is None"),
    ({"curve": [{"epoch": 1, "loss": "x"}]}, r"curve\[0\]\['loss'\] is 'x'"), ({"method": ["a"]}, "method is a list"),
    ({"state": {"w": torch.tensor([math.inf])}}, r"state\['w'\] holds values that are not finite"),
    ({"database": 3}, "database is 3"),
    ({"split": {"seed": 0}}, "is not whole"), ({"model": None}, "is not whole"), ({"train": {"epochs": "x"}}, "is not whole"),
])  # fmt: skip
def test_a_checkpoint_of_wrong_content_is_refused(tmp_path, change, words):
    save_torch(as_content(small_checkpoint()) | change, tmp_path / "c.pth")
    refused(lambda: load_checkpoint(tmp_path / "c.pth"), words, ArtefactError)


def test_a_network_that_cannot_be_built_is_no_traceback(tmp_path):
    content = as_content(small_checkpoint())
    for dims in ({**content["dims"], "text": -3}, {**content["dims"], "levels": (0, 8, 10)}, {**content["dims"], "view": 13}):
        save_torch(content | {"dims": dims}, tmp_path / "c.pth")
        refused(lambda: load_checkpoint(tmp_path / "c.pth").network(torch.device("cpu")), "do not fit its own", ArtefactError)


@pytest.mark.parametrize(("change", "words"), [
    ({"half_width": "x"}, "calibration.half_width|damaged"), ({"level": None}, "calibration"), ({"scenes": 2.5}, "calibration"),
    ({"labels": 3}, "calibration"), ({"edges": ("x",)}, "calibration"),
])  # fmt: skip
def test_a_model_of_wrong_content_is_refused(tmp_path, change, words):
    calibration = replace(Calibration(0.9, 7.5, 20, 400, "human"), **change)
    path = tmp_path / "m.safetensors"
    try:
        save_model(Model(small_checkpoint(), calibration), path)
    except TypeError:  # what JSON cannot hold was never a model
        return
    refused(lambda: load_model(path), words, ArtefactError)


@pytest.mark.parametrize("change", [
    {"runs": 3}, {"runs": [3]}, {"runs": [{}]}, {"labels": []}, {"labels": {}}, {"columns": {}}, {"columns": None},
    {"runs": "split"}, {"runs": "curve"}, {"runs": "epoch"}, {"columns": "text"}, {"columns": "short"}, {"columns": "tensor"},
    {"runs": torch.zeros(2, 3)}, {"labels": torch.zeros(2, 3)}, {"columns": torch.zeros(2, 3)},
])  # fmt: skip
def test_predictions_of_the_wrong_type_are_refused(tmp_path, change):
    path = tmp_path / "p.pt"
    made._write_predictions(path)
    content = load_torch(path)
    if change.get("columns") == "tensor":
        change = {"columns": content["columns"] | {"score": [torch.zeros(2)] * len(content["columns"]["score"])}}
    elif change.get("columns") == "text":
        change = {"columns": content["columns"] | {"mos": ["x"] * len(content["columns"]["mos"])}}
    elif change.get("columns") == "short":
        change = {"columns": content["columns"] | {"mos": [1.0]}}
    elif isinstance(change.get("runs"), str):
        change = {"runs": [content["runs"][0] | {change["runs"]: [None]}]}
    save_torch(content | change, path)
    refused(lambda: read_predictions(path, "evaluate.py"), r"p\.pt is not whole", ArtefactError)
