"""Importers of JUFE-10K, OIQ-10K, MVAQD and IQA-ODI: tiny downloads in the official names, and the real labels where they are."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skips import SHARED, needs_shared

import prepare_dataset
from mmifn.core.errors import UserError
from mmifn.data.importers import REGISTRY, partial_note
from mmifn.data.importers.labels import read_labels
from mmifn.data.importers.polarity import as_quality
from mmifn.data.importers.scores import Score
from mmifn.data.manifest import read_manifest

JUFE = [f"{scene}_len{lenses}_{kind}_{degree}.png" for scene in (7, 100) for lenses in ("5", "2_len3") for kind in ("bd", "st")
        for degree in (1, 2, 3)]
ODI = [f"QF{quality}_ERP_human_P{scene}" for scene in (0, 13) for quality in (5, 15, 35, 60)] + ["QF15_cmp_human_P0"]


def download(folder, names, header, rows):
    """Pictures of the given names, numbered by their grey, and a csv of labels."""
    folder.mkdir()
    for i, name in enumerate(names):
        Image.fromarray(np.full((32, 64, 3), i, np.uint8)).save(folder / (name if "." in name else f"{name}.png"))
    with open(folder / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def imported(tmp_path, dataset, *more):
    assert prepare_dataset.main(["--root", str(tmp_path), "--dataset", dataset, "--source", str(tmp_path / "down"), *more]) == 0
    return (pd.read_csv(tmp_path / "datasets" / dataset / "des.csv", dtype=str).set_index("image_name"),
            json.loads((tmp_path / "datasets" / dataset / "import.json").read_text())["notes"])


def test_jufe_keeps_where_the_distortion_is(tmp_path):
    rows = [(name, 5.0 - int(name[-5]), 1, 1, 1, "train") for name in JUFE]
    download(tmp_path / "down", JUFE, ["image", "MOS", "type", "range", "degree", "split"], rows)
    table, notes = imported(tmp_path, "JUFE-10K")
    row = table.loc["100_len2_len3_st_3.png"]
    assert (row.distortion_type, row.level, row.reference) == ("stitching", "3", "100")
    assert (row.distortion_range, row.lenses) == ("2 of 6 lenses", "2+3") and table.loc["7_len5_bd_1.png"].lenses == "5"
    assert float(row.MOS) == pytest.approx(25) and "scale: 1-5, brought to 0-100 linearly" in notes  # 2 of 1-5 is a quarter
    manifest = read_manifest(tmp_path / "datasets" / "JUFE-10K" / "des.csv", "JUFE-10K")
    assert len(set(manifest.references)) == 2 and manifest.mos_scale == "0-100"
    assert partial_note(manifest).startswith("PARTIAL IMPORT: 24 of 10320 images, 2 of 430 scenes of JUFE-10K")


@pytest.mark.parametrize("worse_is_higher", [True, False])
def test_iqa_odis_polarity_is_looked_at(tmp_path, worse_is_higher):
    quality = {"5": 20.0, "15": 45.0, "35": 60.0, "60": 70.0}
    rows = [("x", name, 100 - q if worse_is_higher else q) for name in ODI for q in [quality[name[2:].split("_")[0]]]]
    download(tmp_path / "down", [*ODI, "human_P0", "human_P13"], ["ref", "dis", "DMOS"], rows)
    table, notes = imported(tmp_path, "IQA-ODI")
    assert float(table.loc["QF5_ERP_human_P13.png"].MOS) == pytest.approx(20)
    assert float(table.loc["QF60_ERP_human_P0.png"].MOS) == pytest.approx(70)
    assert any(("WORSE, turned round" in note) == worse_is_higher for note in notes if note.startswith("polarity"))
    row = table.loc["QF15_cmp_human_P0.png"]
    assert (row.distortion_type, row.level, row.reference, row.projection) == ("JPEG in CMP", "3", "human_P0", "CMP")
    assert sorted(path.name for path in (tmp_path / "datasets" / "IQA-ODI" / "references").iterdir()) == [
        "human_P0.png", "human_P13.png"]


def test_mvaqd_takes_scenes_from_its_list(tmp_path):
    rows = [("1.png", "16.png", 4.3), ("1.png", "31.png", 2.25), ("17.png", "2.png", 1.0)]
    download(tmp_path / "down", ["1.png", "16.png", "31.png", "17.png", "2.png"], ["ref", "dis", "MOS"], rows)
    table, _ = imported(tmp_path, "MVAQD")
    assert table.reference.to_dict() == {"16.png": "1", "31.png": "1", "2.png": "17"}
    assert float(table.loc["16.png"].MOS) == pytest.approx(82.5) and float(table.loc["2.png"].MOS) == 0


def test_oiq_10k_tells_its_four_situations(tmp_path):
    scores = {"ref1.jpg": 2.4, "9_len5_bd_1.png": 2.1, "9_len5_len2_gn_2.png": 1.8, "dis3.jpeg": 1.2}
    download(tmp_path / "down", list(scores), ["image", "MOS"], list(scores.items()))
    table, _ = imported(tmp_path, "OIQ-10K")
    assert table.distortion_range.tolist() == ["none", "1 of 6 lenses", "2 of 6 lenses", "all over"]
    assert table.reference.tolist() == ["ref1", "lenses-009", "lenses-009", "dis3"] and table.MOS.astype(float).iloc[0] == 70


def test_scores_that_do_not_follow_severity_are_refused():
    database = REGISTRY["JUFE-10K"]
    scores = {name.removesuffix(".png"): Score(name, 3.0 + i % 2) for i, name in enumerate(JUFE)}
    with pytest.raises(UserError, match="scores do not follow severity"):
        as_quality(database, scores)
    with pytest.raises(UserError, match="off the scale 1-5 that people judged on, such as 7"):
        as_quality(database, {JUFE[0]: Score(JUFE[0], 7.0)})


LABELS = {"JUFE-10K": ("JUFE10K.csv", 10320, "better"), "OIQ-10K": ("OIQ10K.csv", 10000, "better"),
          "MVAQD": ("MVAQD.csv", 300, ""), "IQA-ODI": ("IQA_ODI.csv", 960, "WORSE, turned round")}


@needs_shared("mos")
@pytest.mark.parametrize("name", LABELS)
def test_every_real_label_is_understood(name):
    file, count, polarity = LABELS[name]
    database = REGISTRY[name]
    labels = read_labels(database, [SHARED / "mos" / file], None)
    slots = [database.slot_of(key, line) for key, line in labels.scores.items()]
    assert len(labels.scores) == count == database.images and labels.scale == "0-100"
    assert database.scenes in (None, len({slot.reference for slot in slots})) and all(slot.reference for slot in slots)
    assert any(f"higher is {polarity} (" in note for note in labels.notes) == bool(polarity)
    assert all(0 <= line.mos <= 100 for line in labels.scores.values())
