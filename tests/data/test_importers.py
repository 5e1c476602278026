"""prepare_dataset.py on made downloads: complete ones around the real label files, and every kind of broken one."""

from __future__ import annotations

import errno
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import io as matlab
from skips import SHARED, needs_shared

import prepare_dataset
from mmifn.core.errors import UserError
from mmifn.data import importers
from mmifn.data.importers import cviq, oiqa
from mmifn.data.importers import files as files_module
from mmifn.data.importers.database import Database, Slot
from mmifn.data.importers.prepare import Import, prepare
from mmifn.data.importers.scores import read_scores
from mmifn.data.manifest import read_manifest
from mmifn.data.workspace import Workspace

MOS = SHARED / "mos"


def save_noise(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)).save(path)


def save_flat(path: Path) -> None:
    Image.new("RGB", (64, 32), (90, 120, 150)).save(path)


def fake_oiqa(root: Path, noise_block: int = 3) -> Path:
    """Lay out 320 + 16 tiny images as OIQA does, mixed .jpg and .png, with noise in the given block."""
    noisy, flat = root / "noise.png", root / "flat.png"
    (root / "OIQA" / "distorted_images").mkdir(parents=True)
    (root / "OIQA" / "reference_images").mkdir()
    (root / "OIQA" / "MOS").mkdir()
    save_noise(noisy), save_flat(flat)
    save_noise(root / "noise.jpg"), save_flat(root / "flat.jpg")
    for i in range(1, 337):
        block = (i - 1) % 20 // 5 + 1
        suffix = "jpg" if i % 3 == 0 else "png"
        folder = "distorted_images" if i <= 320 else "reference_images"
        source = root / f"{'noise' if block == noise_block else 'flat'}.{suffix}"
        shutil.copy(source, root / "OIQA" / folder / f"img{i}.{suffix}")
    return root / "OIQA"


def made_mos(path: Path, count: int = 336) -> np.ndarray:
    """Write a made .mat with both scales; returns the 1-10 scores."""
    mos = np.random.default_rng(1).uniform(1.2, 9.2, (count, 1))
    matlab.savemat(path, {"MOS": mos, "MOSz": 15 + 7 * mos})
    return mos[:, 0]


def fake_cviq(root: Path) -> Path:
    folder = root / "CVIQ"
    folder.mkdir()
    save_flat(root / "flat.png")
    for i in range(1, 545):
        shutil.copy(root / "flat.png", folder / f"{i:03d}.png")
    return folder


def run(root: Path, dataset: str, source: Path, *more: str) -> int:
    return prepare_dataset.main(["--root", str(root), "--dataset", dataset, "--source", str(source), *more])


# --- complete downloads ----------------------------------------------------------------------------------------------

@needs_shared("mos")
@pytest.mark.parametrize("noise_block", (3, 4))
def test_oiqa_as_distributed(tmp_path, noise_block, capsys):
    source = fake_oiqa(tmp_path, noise_block)
    shutil.copy(MOS / "OIQA_360IQA_MOS.mat", source / "MOS" / "360IQA_MOS.mat")
    assert run(tmp_path, "OIQA", source) == 0
    manifest = read_manifest(tmp_path / "datasets" / "OIQA" / "des.csv", "OIQA")
    truth = pd.read_csv(MOS / "OIQA.csv")
    assert [name.split(".")[0] for name in manifest.names] == truth["image_stem"].tolist()
    assert manifest.mos == pytest.approx(truth["MOSz"].to_numpy())
    assert [int(scene) for scene in manifest.references] == truth["ref_id"].tolist()
    assert manifest.levels == truth["level"].tolist()
    kinds = {1: "JPEG", 2: "JP2K", 3: "GN", 4: "GB"} if noise_block == 3 else {1: "JPEG", 2: "JP2K", 3: "GB", 4: "GN"}
    assert manifest.types == [kinds[block] for block in truth["type_block"]]
    said = capsys.readouterr().out
    assert "0-100" in said and "64x32 (320)" in said and f"blocks 3 and 4 are {kinds[3]} and {kinds[4]}" in said
    assert float(re.search(r"differs by a factor of ([\d.]+) or more", said)[1]) > 100  # noise, and one grey
    assert "16 of 16 pristine" in said and "need them all" not in said
    assert len(list((tmp_path / "datasets" / "OIQA" / "references").iterdir())) == 16
    assert (tmp_path / "datasets" / "OIQA" / "images" / "img3.jpg").is_symlink()


@needs_shared("mos")
def test_cviq_with_the_real_labels_as_csv(tmp_path):
    source = fake_cviq(tmp_path)
    assert run(tmp_path, "CVIQ", source, "--labels", str(MOS / "CVIQ.csv"), "--copy") == 0
    manifest = read_manifest(tmp_path / "datasets" / "CVIQ" / "des.csv", "CVIQ")
    truth = pd.read_csv(MOS / "CVIQ.csv").query("type != 'ref'")
    assert manifest.names == truth["image"].tolist()
    assert manifest.mos == pytest.approx(truth["MOS"].to_numpy())
    assert manifest.types == truth["type"].tolist() and manifest.levels == truth["level"].tolist()
    assert [int(scene) for scene in manifest.references] == truth["ref_id"].tolist()
    copied = tmp_path / "datasets" / "CVIQ" / "images" / "001.png"
    assert copied.is_file() and not copied.is_symlink()


@needs_shared("mos")
def test_the_raw_scale_is_taken_when_asked_for(tmp_path):
    source = fake_oiqa(tmp_path)
    shutil.copy(MOS / "OIQA_360IQA_MOS.mat", source / "MOS")
    assert run(tmp_path, "OIQA", source, "--mos-scale", "1-10") == 0
    manifest = read_manifest(tmp_path / "datasets" / "OIQA" / "des.csv", "OIQA")
    assert manifest.mos_scale == "1-10"
    assert manifest.mos == pytest.approx(pd.read_csv(MOS / "OIQA.csv")["MOS"].to_numpy())
    assert json.loads((tmp_path / "datasets" / "OIQA" / "import.json").read_text())["mos_scale"] == "1-10"


def test_cviq_from_a_bare_vector_with_and_without_pristine_scores(tmp_path):
    source = fake_cviq(tmp_path)
    scores = np.random.default_rng(2).uniform(16, 77, 544)
    matlab.savemat(source / "CVIQ.mat", {"MOS": scores})
    assert run(tmp_path / "a", "CVIQ", source) == 0
    manifest = read_manifest(tmp_path / "a" / "datasets" / "CVIQ" / "des.csv", "CVIQ")
    keep = np.arange(544) % 34 != 33
    assert manifest.mos == pytest.approx(scores[keep])
    matlab.savemat(source / "CVIQ.mat", {"MOS": scores[keep]})
    assert run(tmp_path / "b", "CVIQ", source) == 0
    again = read_manifest(tmp_path / "b" / "datasets" / "CVIQ" / "des.csv", "CVIQ")
    assert again.names == manifest.names and again.mos == pytest.approx(manifest.mos)


def test_running_twice_changes_nothing_and_another_table_is_not_replaced(tmp_path, capsys):
    source = fake_oiqa(tmp_path)
    made_mos(source / "MOS" / "360IQA_MOS.mat")
    assert run(tmp_path, "OIQA", source) == 0
    before = (tmp_path / "datasets" / "OIQA" / "des.csv").read_bytes()
    assert run(tmp_path, "OIQA", source) == 0
    assert (tmp_path / "datasets" / "OIQA" / "des.csv").read_bytes() == before
    assert run(tmp_path, "OIQA", source, "--mos-scale", "1-10") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "datasets" / "OIQA" / "des.csv").read_bytes() == before
    assert run(tmp_path, "OIQA", source, "--mos-scale", "1-10", "--overwrite") == 0


# --- lists of earlier work, users' own -------------------------------------------------------------------------------

def test_lists_of_mc360iqa_are_collapsed_to_images(tmp_path):
    """Six cube faces and the score of the whole image per line, one line per rotation, in a train and a test list."""
    source = fake_cviq(tmp_path)
    slots = list(cviq.DATABASE.slots)
    for part, keys in (("train", slots[:400]), ("test", slots[400:])):
        lines = [",".join(f"{key}/{turn:03d}/{key}{turn:03d}{face}.jpg" for face in ("BA", "BO", "F", "L", "R", "T"))
                 + f",{20 + int(key) / 10}" for key in keys for turn in (0, 2)]
        (tmp_path / f"CVIQ_{part}.csv").write_text("\n".join(lines))
    lists = [str(tmp_path / f"CVIQ_{part}.csv") for part in ("train", "test")]
    assert run(tmp_path, "CVIQ", source, "--labels", *lists) == 0
    manifest = read_manifest(tmp_path / "datasets" / "CVIQ" / "des.csv", "CVIQ")
    assert manifest.mos == pytest.approx([20 + int(key) / 10 for key in slots])


@needs_shared("mos")
def test_list_of_assessor360_names_stems_and_raw_scores(tmp_path):
    source = fake_oiqa(tmp_path)
    truth = pd.read_csv(MOS / "OIQA.csv")
    lines = [f"{row.image_stem} {row.MOS}" for row in truth.itertuples()]
    (source / "OIQA_dis_label.txt").write_text("\n".join(lines) + "\n")
    assert run(tmp_path, "OIQA", source) == 0
    manifest = read_manifest(tmp_path / "datasets" / "OIQA" / "des.csv", "OIQA")
    assert manifest.mos_scale == "1-10" and manifest.mos == pytest.approx(truth["MOS"].to_numpy())


def test_a_users_own_database(tmp_path, capsys):
    source = tmp_path / "mine" / "pictures"
    source.mkdir(parents=True)
    for name in ("roof.png", "lake.png", "spare.png"):
        save_flat(source / name)
    (tmp_path / "mine" / "scores.csv").write_text("image,MOS\nroof.png,3.5\nlake.png,4.25\n")
    assert run(tmp_path, "holiday", tmp_path / "mine") == 0
    manifest = read_manifest(tmp_path / "datasets" / "holiday" / "des.csv", "holiday")
    assert manifest.names == ["roof.png", "lake.png"] and manifest.mos.tolist() == [3.5, 4.25]
    assert manifest.references is None and manifest.types == ["unknown", "unknown"] and manifest.levels == [0, 0]
    said = capsys.readouterr().out
    assert "spare.png" in said and "splits by scene are impossible" in said


def test_a_users_own_columns_are_kept(tmp_path):
    source = tmp_path / "mine"
    source.mkdir()
    save_flat(source / "a.png"), save_flat(source / "b.png")
    (source / "scores.csv").write_text("filename,type,level,ref,score\na.png,JPEG,2,house,41\nb.png,HEVC,3,tree,52\n")
    assert run(tmp_path, "mine", source) == 0
    manifest = read_manifest(tmp_path / "datasets" / "mine" / "des.csv", "mine")
    assert (manifest.types, manifest.levels, manifest.references) == (["JPEG", "HEVC"], [2, 3], ["house", "tree"])


def test_a_further_database_is_one_small_module(tmp_path):
    """What such a module holds: how files are called, what each is, how many scores there are."""
    further = Database("Tiny", key=lambda path: path.stem, references={"ref": "only"}, vectors={2: ["x1", "x2"]},
                       slots={"x1": Slot("ST", 1, "only"), "x2": Slot("ST", 2, "only")})
    source = tmp_path / "Tiny"
    source.mkdir()
    for name in ("x1", "x2", "ref"):
        save_flat(source / f"{name}.png")
    (source / "scores.csv").write_text("dis,MOS\nx1.png,60\nx2.png,30\n")
    done = prepare(Import(further, source), Workspace(tmp_path))
    assert done.table["distortion_type"].tolist() == ["ST", "ST"]
    assert importers.database_named("Tiny").slots is None  # an unknown name is a user's own


# --- broken downloads ------------------------------------------------------------------------------------------------

def test_all_findings_come_in_one_message_and_nothing_is_written(tmp_path, capsys):
    source = fake_oiqa(tmp_path)
    made_mos(source / "MOS" / "360IQA_MOS.mat")
    images = source / "distorted_images"
    (images / "img7.png").unlink()
    (images / "img8.png").rename(images / "picture eight.png")
    (images / "img10.png").write_bytes((images / "img10.png").read_bytes()[:-30])
    (images / "img11.png").write_bytes(b"nothing")
    Image.new("RGB", (50, 50)).save(images / "img13.png")
    shutil.copy(images / "img14.png", images / "img14.jpg")
    shutil.copy(images / "img12.jpg", source / "thumbnail.jpg")
    assert run(tmp_path / "ws", "OIQA", source) == 2
    message = capsys.readouterr().err
    for part in ("image img7 is missing", "image img8 is missing", "img10.png is cut off", "img11.png is text, not a picture",
                 "img13.png is 50x50", "are both img14", "picture eight.png", "thumbnail.jpg", "Nothing was written"):
        assert part in message
    assert not (tmp_path / "ws").exists()


def test_missing_images_can_be_accepted(tmp_path, capsys):
    source = fake_oiqa(tmp_path)
    made_mos(source / "MOS" / "360IQA_MOS.mat")
    for name in ("distorted_images/img7.png", "reference_images/img330.png"):
        next(path for path in (source / name, (source / name).with_suffix(".jpg")) if path.exists()).unlink()
    assert run(tmp_path, "OIQA", source, "--allow-missing") == 0
    assert len(read_manifest(tmp_path / "datasets" / "OIQA" / "des.csv", "OIQA")) == 319
    said = capsys.readouterr().out
    assert "missing images, left out: 1\n" in said
    assert "15 of 16 pristine images found; full-reference metrics need them all" in said


def test_pixels_that_do_not_tell_noise_from_blur_are_refused(tmp_path, capsys):
    source = fake_oiqa(tmp_path, noise_block=0)
    made_mos(source / "MOS" / "360IQA_MOS.mat")
    assert run(tmp_path / "ws", "OIQA", source) == 2
    assert "do not tell noise from blur" in capsys.readouterr().err
    assert not (tmp_path / "ws").exists()


def test_scenes_that_disagree_about_noise_are_refused(tmp_path, capsys):
    source = fake_oiqa(tmp_path, noise_block=3)
    made_mos(source / "MOS" / "360IQA_MOS.mat")
    for number, kind in ((15, "flat"), (20, "noise")):
        found = next((source / "distorted_images").glob(f"img{number}.*"))
        shutil.copy(tmp_path / f"{kind}{found.suffix}", found)
    assert run(tmp_path / "ws", "OIQA", source) == 2
    assert "scene 1: block 4 is the noisy one" in capsys.readouterr().err


@pytest.mark.parametrize("break_it,message", (
    (lambda mos: matlab.savemat(mos, {"MOS": np.ones((300, 1))}), "MOS: 300 scores"),
    (lambda mos: matlab.savemat(mos, {"names": np.array(["a", "b"], dtype=object)}), "no vector of numbers"),
    (lambda mos: mos.write_bytes(b"MATLAB?"), "damaged"),
    (lambda mos: matlab.savemat(mos, {"MOS": np.r_[np.full(300, 50.0), np.full(36, 5.0)]}), "scales are never mixed"),
    (lambda mos: matlab.savemat(mos, {"MOS": np.r_[np.full(335, 50.0), 130.0]}), "off the scale"),
    (lambda mos: matlab.savemat(mos, {"MOS": np.linspace(0.1, 1.0, 336)}), "between 0 and 1"),
    (lambda mos: mos.unlink(), "no label file")))
def test_wrong_mos_files_are_refused(tmp_path, break_it, message, capsys):
    source = fake_oiqa(tmp_path)
    mos = source / "MOS" / "360IQA_MOS.mat"
    made_mos(mos)
    break_it(mos)
    assert run(tmp_path / "ws", "OIQA", source) == 2
    assert message in capsys.readouterr().err


def test_lists_on_two_scales_are_never_mixed(tmp_path, capsys):
    source = fake_oiqa(tmp_path)
    (tmp_path / "a.csv").write_text("image,MOS\n" + "\n".join(f"img{i},6.5" for i in range(1, 200)))
    (tmp_path / "b.csv").write_text("image,MOS\n" + "\n".join(f"img{i},61" for i in range(200, 321)))
    assert run(tmp_path, "OIQA", source, "--labels", str(tmp_path / "a.csv"), str(tmp_path / "b.csv")) == 2
    assert "never mixed" in capsys.readouterr().err


def test_bad_lines_of_a_table_are_all_named(tmp_path):
    table = tmp_path / "scores.csv"
    table.write_text("image,MOS\na.png,3\nb.png,good\nc.png\nd.png,nan\n")
    with pytest.raises(UserError) as caught:
        read_scores(table)
    assert all(f"line {number}" in str(caught.value) for number in (3, 4, 5)) and "line 2" not in str(caught.value)


def test_lines_are_counted_as_a_text_editor_counts_them(tmp_path):
    table = tmp_path / "scores.csv"
    table.write_bytes(b"\xef\xbb\xbfimage,MOS\r\n\r\na.png,3\r\n\r\nb.png,good\r\n")
    with pytest.raises(UserError, match=r"has 1 line.*\n  line 5: MOS 'good'"):
        read_scores(table)


@pytest.mark.parametrize("content,message", (
    ("image,MOS\n", "a header and no scores"),
    ("image,DMOS\na.png,30\n", "a column DMOS and no MOS: higher may be worse"),
    ("image,quality\na.png,30\n", "wanted one of image_name.*MOS, MOSz, score"),
    ("", "is empty")))
def test_tables_that_do_not_tell_scores_are_refused(tmp_path, content, message):
    (tmp_path / "scores.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        read_scores(tmp_path / "scores.csv")


def test_a_dmos_beside_a_mos_is_left_alone(tmp_path):
    (tmp_path / "scores.csv").write_text("image,DMOS,MOS\na.png,30,70\n")
    assert [line.mos for line in read_scores(tmp_path / "scores.csv").lines] == [70.0]


def test_the_limit_on_megapixels_is_a_flag(tmp_path, capsys):
    source = fake_oiqa(tmp_path)
    made_mos(source / "MOS" / "360IQA_MOS.mat")
    assert run(tmp_path / "ws", "OIQA", source, "--max-megapixels", "0.002") == 2
    message = capsys.readouterr().err
    assert "the limit is 0.002; raise it with --max-megapixels" in message and "336 finding(s)" in message
    assert not (tmp_path / "ws").exists()
    assert run(tmp_path / "ws", "OIQA", source, "--max-megapixels", "0.0021") == 0


def test_one_image_with_two_scores_and_unknown_names_are_refused(tmp_path, capsys):
    source = fake_cviq(tmp_path)
    lines = [f"{key}.png,50" for key in cviq.DATABASE.slots]
    (source / "CVIQ.csv").write_text("\n".join(["image,MOS", *lines, "001.png,51", "999.png,50"]))
    assert run(tmp_path, "CVIQ", source) == 2
    message = capsys.readouterr().err
    assert "001.png" in message and "999.png" in message and "2 label(s)" in message


def test_several_tables_ask_for_a_choice(tmp_path, capsys):
    source = fake_cviq(tmp_path)
    (source / "a.csv").write_text("x"), (source / "b.csv").write_text("x")
    assert run(tmp_path, "CVIQ", source) == 2
    assert "--labels" in capsys.readouterr().err


def test_a_full_disk_while_copying_leaves_no_table_and_a_rerun_goes_on(tmp_path, monkeypatch, capsys):
    source = fake_oiqa(tmp_path)
    made_mos(source / "MOS" / "360IQA_MOS.mat")
    real, calls = shutil.copyfile, []

    def full(origin, target):
        calls.append(target)
        if len(calls) == 30:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        return real(origin, target)

    monkeypatch.setattr(files_module.shutil, "copyfile", full)
    assert run(tmp_path, "OIQA", source, "--copy") == 2
    folder = tmp_path / "datasets" / "OIQA"
    assert "No space left" in capsys.readouterr().err and not (folder / "des.csv").exists()
    assert len(list((folder / "images").iterdir())) == 29
    assert run(tmp_path, "OIQA", source, "--copy") == 0
    assert len(calls) == 30 + 320 - 29 + 16


def test_a_simulated_database_is_not_overwritten(tmp_path, capsys):
    source = fake_cviq(tmp_path)
    matlab.savemat(source / "CVIQ.mat", {"MOS": np.full(544, 50.0)})
    (tmp_path / "datasets" / "CVIQ").mkdir(parents=True)
    (tmp_path / "datasets" / "CVIQ" / "simulation.json").write_text("{}")
    assert run(tmp_path, "CVIQ", source, "--overwrite") == 2
    assert "never mixed" in capsys.readouterr().err


def test_reference_files_are_known_by_either_numbering():
    database = replace(oiqa.DATABASE)
    assert database.key(Path("reference_images/img325.png")) == "img325"
    assert database.key(Path("reference_images/5.jpg")) == "img325"
    assert database.key(Path("distorted_images/5.jpg")) is None
    assert database.key(Path("distorted_images/IMG005.JPG")) == "img5"
