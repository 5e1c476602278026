"""simulate_dataset.py end to end on small pictures: designs, resuming, refusals, and the scenes it chooses."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from skips import SHARED, needs_shared

import simulate_dataset
from mmifn.core.errors import UserError
from mmifn.data import merge
from mmifn.data.images import read_image
from mmifn.data.manifest import read_manifest
from mmifn.simulate import database as module
from mmifn.simulate.curves import RULE, ceiling
from mmifn.simulate.designs import DESIGNS
from mmifn.simulate.human_anchor import HUMAN_MOS
from mmifn.simulate.panoramas import Scene, choose_scenes, find_scenes

torch.set_num_threads(1)  # the pictures are small
PHOTOGRAPHS = SHARED / "panoramas"


@pytest.fixture
def panoramas(tmp_path: Path) -> Path:
    """Five small scenes, two of one place."""
    folder = tmp_path / "panoramas"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in "abcde":
        coarse = Image.fromarray(rng.integers(0, 256, (8, 16, 3), dtype=np.uint8)).resize((128, 64), Image.Resampling.BICUBIC)
        pixels = np.clip(np.asarray(coarse) + rng.normal(0, 3 + 5 * "abcde".index(name), (64, 128, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}.png")
    rows = "\n".join(f"{name}.png,{'old_town' if name in 'ab' else name}" for name in "abcde")
    (folder / "manifest.csv").write_text(f"file,location\n{rows}\nelsewhere.png,x\n")
    return folder


def run(root: Path, panoramas: Path | str, *more: str, like: str = "OIQA", scenes: int = 3) -> int:
    """Simulate on small panoramas, seen by a headset that shows just their pixels."""
    shown = () if "--pixels-per-degree" in more else ("--pixels-per-degree", str(128 / 360))
    return simulate_dataset.main(["--like", like, "--panoramas", str(panoramas), "--root", str(root), "--scenes", str(scenes),
                                  "--workers", "1", *shown, *more])


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("like", ("OIQA", "CVIQ"))
def test_a_design_is_complete_and_its_means_are_human(tmp_path, panoramas, like, capsys):
    assert run(tmp_path, panoramas, like=like) == 0
    manifest = read_manifest(tmp_path / "datasets" / like / "des.csv", like)
    kinds = DESIGNS[like]
    assert len(manifest) == 3 * sum(len(kind.values) for kind in kinds)
    assert manifest.mos_source == "simulated"
    assert len(set(manifest.references)) == 3 and len(set(manifest.locations)) == 3
    table = pd.read_csv(tmp_path / "datasets" / like / "des.csv")
    for (kind, level), rows in table.groupby(["distortion_type", "level"]):
        assert rows["MOS"].mean() == pytest.approx(HUMAN_MOS[like, kind][level - 1][0], abs=0.1)
    for name in manifest.names:
        assert read_image(tmp_path / "datasets" / like / "images" / name).shape == (64, 128, 3)
    for scene in set(manifest.references):
        pristine = read_image(tmp_path / "datasets" / like / "references" / f"{scene}.png")
        assert (pristine == read_image(panoramas / f"{scene}.png")).all()
    assert "simulated" in capsys.readouterr().out


def test_the_size_of_the_panoramas_and_the_headset_move_labels(tmp_path, panoramas):
    """A headset of twice the pixels, half the size and a larger source: seen alike, scored alike; and des.csv says so."""
    at = ["--levels", "2,4"]
    tables = {}
    for name, more in {"whole": [], "dense": ["--pixels-per-degree", str(256 / 360)], "half": ["--height", "32"]}.items():
        assert run(tmp_path / name, panoramas, *at, *more) == 0
        tables[name] = pd.read_csv(tmp_path / name / "datasets" / "OIQA" / "des.csv")
        record = json.loads((tmp_path / name / "datasets" / "OIQA" / "simulation.json").read_text())
        assert record["label_rule"] == RULE == tables[name]["label_rule"].unique().item()
    means = {name: table.groupby(["distortion_type", "level"])["MOS"].mean() for name, table in tables.items()}
    assert (means["dense"] < means["whole"] - 1).all()
    assert means["half"].to_numpy() == pytest.approx(means["dense"].to_numpy(), abs=1e-3)
    assert {name: table["width"].unique().item() for name, table in tables.items()} == {"whole": 128, "dense": 128, "half": 64}
    assert tables["whole"]["ceiling"].unique().item() == 71.5 and tables["half"]["ceiling"].unique().item() == pytest.approx(
        ceiling(2048), abs=0.01)
    assert tables["dense"]["ppd"].unique().item() == pytest.approx(256 / 360, abs=1e-3)


def test_rendered_scenes_are_seen_at_their_own_pixels(tmp_path):
    assert simulate_dataset.main(["--like", "CVIQ", "--panoramas", "synthetic", "--scenes", "1", "--height", "64", "--levels",
                                  "1", "--root", str(tmp_path), "--workers", "1"]) == 0
    table = pd.read_csv(tmp_path / "datasets" / "CVIQ" / "des.csv").set_index("distortion_type")
    assert table["MOS"].to_dict() == {"JPEG": 64.93, "AVC": 65.88, "HEVC": 66.23}
    assert table["ppd"].unique().item() == pytest.approx(128 / 360, abs=1e-3)


def test_jpegs_are_kept_as_files_and_the_rest_as_png(tmp_path, panoramas):
    run(tmp_path, panoramas, "--levels", "2", like="CVIQ", scenes=1)
    images = sorted((tmp_path / "datasets" / "CVIQ" / "images").iterdir())
    assert [path.name.split("_", 1)[1] for path in images] == ["AVC_02.png", "HEVC_02.png", "JPEG_02.jpg"]
    with Image.open(images[2]) as image:
        assert image.format == "JPEG" and image.quantization[0][0] == 18  # 16 at quality 45: (16 * 111 + 50) // 100


def test_workers_levels_and_interruptions_change_nothing(tmp_path, panoramas, monkeypatch):
    monkeypatch.setattr(module, "_WORTH_A_POOL", 0)
    run(tmp_path / "whole", panoramas, "--levels", "1,3")
    run(tmp_path / "parallel", panoramas, "--levels", "1,3", "--workers", "2")
    whole = contents(tmp_path / "whole")
    assert contents(tmp_path / "parallel") == whole
    folder = tmp_path / "whole" / "datasets" / "OIQA"
    (folder / "des.csv").unlink()
    reference = sorted((folder / "references").iterdir())[0]
    (folder / "label_scores" / f"{reference.stem}.json").unlink()
    reference.write_bytes(reference.read_bytes()[:100])  # cut off
    victims = sorted((folder / "images").iterdir())[::3]
    for victim in victims[1:]:
        victim.unlink()
    victims[0].write_bytes(victims[0].read_bytes()[:100])  # cut off
    run(tmp_path / "whole", panoramas, "--levels", "1,3")
    assert contents(tmp_path / "whole") == whole
    run(tmp_path / "all", panoramas)
    images = {name: data for name, data in contents(tmp_path / "all").items() if "/images/" in name}
    assert all(images[name] == data for name, data in whole.items() if "/images/" in name)


def test_finished_images_are_not_made_again(tmp_path, panoramas, monkeypatch):
    run(tmp_path, panoramas, "--levels", "1")
    monkeypatch.setattr(module, "_make_image", lambda *_: pytest.fail("made again"))
    assert run(tmp_path, panoramas, "--levels", "1") == 0


def test_a_full_disk_leaves_nothing_half_written_and_a_rerun_goes_on(tmp_path, panoramas, monkeypatch, capsys):
    real, calls = module.write_png, []

    def full(pixels, path):
        calls.append(path)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(pixels, path)

    monkeypatch.setattr(module, "write_png", full)
    assert run(tmp_path, panoramas, "--levels", "1") == 2
    assert "No space left" in capsys.readouterr().err
    folder = tmp_path / "datasets" / "OIQA"
    assert not (folder / "des.csv").exists()
    assert not [path for path in folder.rglob("*") if ".tmp" in path.name]
    monkeypatch.setattr(module, "write_png", real)
    assert run(tmp_path, panoramas, "--levels", "1") == 0
    run(tmp_path / "fresh", panoramas, "--levels", "1")
    assert contents(folder) == contents(tmp_path / "fresh" / "datasets" / "OIQA")


@pytest.mark.parametrize("change", (["--seed", "1"], ["--height", "32"], ["--levels", "1,2"], ["--exclude-scenes", "c"]))
def test_other_settings_are_refused_until_overwritten(tmp_path, panoramas, change, capsys):
    base = ["--levels", "1"] if "--levels" not in change else []
    run(tmp_path, panoramas, "--levels", "1", scenes=2)
    assert run(tmp_path, panoramas, *base, *change, scenes=2) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(tmp_path, panoramas, *base, *change, "--overwrite", scenes=2) == 0
    record = json.loads((tmp_path / "datasets" / "OIQA" / "simulation.json").read_text())
    made = {path.stem.split("_")[0] for path in (tmp_path / "datasets" / "OIQA" / "images").iterdir()}
    assert made == set(record["scenes"])


def test_a_folder_that_no_simulation_made_is_left_alone(tmp_path, panoramas, capsys):
    real = tmp_path / "datasets" / "OIQA"
    real.mkdir(parents=True)
    (real / "des.csv").write_text("image_name,MOS,distortion_type\nimg1.png,50,JPEG\n")
    assert run(tmp_path, panoramas, "--overwrite") == 2
    assert "real database" in capsys.readouterr().err
    assert [path.name for path in real.iterdir()] == ["des.csv"]


def test_bad_input_is_one_clear_message(tmp_path, panoramas, capsys):
    assert run(tmp_path, panoramas, scenes=9) == 2
    assert "9 were asked for and 5 are there" in capsys.readouterr().err
    assert run(tmp_path, panoramas, "--levels", "6") == 2
    assert "1 (mildest) to 5" in capsys.readouterr().err
    assert run(tmp_path, panoramas, "--exclude-scenes", "zebra") == 2
    assert "zebra" in capsys.readouterr().err
    Image.new("RGB", (100, 64)).save(panoramas / "c.png")
    (panoramas / "d.png").write_bytes(b"not an image")
    assert run(tmp_path, panoramas, scenes=5) == 2
    message = capsys.readouterr().err
    assert "c.png is 100x64" in message and "d.png" in message
    assert not (tmp_path / "datasets").exists()


@pytest.mark.parametrize("flag", ("--height -4", "--height 0", "--height 33", "--seed -1", "--workers -2",
                                  "--pixels-per-degree 0.1"))
def test_impossible_numbers_are_a_message_before_anything_is_written(tmp_path, panoramas, flag, capsys):
    assert run(tmp_path, panoramas, *flag.split()) == 2
    assert f"error: {flag}: wanted" in capsys.readouterr().err
    assert not (tmp_path / "datasets").exists()


def test_the_limit_on_megapixels_is_a_flag(tmp_path, panoramas, capsys):
    assert run(tmp_path, panoramas, "--levels", "1", "--max-megapixels", "0.008") == 2
    assert "raise it with --max-megapixels" in capsys.readouterr().err and not (tmp_path / "datasets").exists()
    assert run(tmp_path, panoramas, "--levels", "1", "--max-megapixels", "0.0082") == 0


def test_no_scenes_at_all_cannot_be_asked_for(tmp_path, panoramas, capsys):
    assert run(tmp_path, panoramas, scenes=0) == 2
    assert "--scenes 0 were asked for" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ("cut", "alpha"))
def test_what_only_the_last_pixel_tells_is_told_before_anything_is_written(tmp_path, panoramas, damage, capsys):
    path = panoramas / "c.png"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-4000])
    else:
        Image.new("RGBA", (128, 64), (9, 9, 9, 100)).save(path)
    (panoramas / "d.png").write_bytes((panoramas / "d.png").read_bytes()[:-4000])
    assert run(tmp_path, panoramas, scenes=5) == 2
    message = capsys.readouterr().err
    assert "2 of 5 panoramas" in message and "c.png" in message and "d.png is truncated" in message
    assert not (tmp_path / "datasets").exists()


def test_damaged_records_are_a_message_or_made_again(tmp_path, panoramas, capsys):
    run(tmp_path, panoramas, "--levels", "1")
    folder = tmp_path / "datasets" / "OIQA"
    before = contents(folder)
    next((folder / "label_scores").iterdir()).write_text("{")
    assert run(tmp_path, panoramas, "--levels", "1") == 0
    assert contents(folder) == before
    (folder / "simulation.json").write_bytes(b"\xff{")
    assert run(tmp_path, panoramas, "--levels", "1") == 2
    assert "simulation.json is damaged" in capsys.readouterr().err
    assert run(tmp_path, panoramas, "--levels", "1", "--overwrite") == 0
    assert contents(folder) == before


def test_other_settings_need_no_leave_while_no_image_is_made(tmp_path, panoramas):
    run(tmp_path, panoramas, "--levels", "1")
    folder = tmp_path / "datasets" / "OIQA"
    for path in (folder / "images").iterdir():
        path.unlink()
    (folder / "des.csv").unlink()
    assert run(tmp_path, panoramas, "--levels", "1", "--height", "32") == 0
    assert {read_image(path).shape[0] for path in (folder / "references").iterdir()} == {32}


def test_missing_or_empty_panoramas(tmp_path, capsys):
    assert run(tmp_path, tmp_path / "nowhere") == 2
    (tmp_path / "empty").mkdir()
    assert run(tmp_path, tmp_path / "empty") == 2
    assert "holds no images" in capsys.readouterr().err


# --- choosing scenes -------------------------------------------------------------------------------------------------

def scenes(count: int, places: int) -> list[Scene]:
    return [Scene(f"s{i:02d}", f"p{i % places}", None) for i in range(count)]


def test_no_two_scenes_of_one_place_while_places_last():
    for seed in range(5):
        assert len({scene.location for scene in choose_scenes(scenes(12, 6), 6, seed)}) == 6
    chosen = choose_scenes(scenes(12, 6), 9, 0)
    assert len({scene.name for scene in chosen}) == 9 and len({scene.location for scene in chosen}) == 6


def test_the_seed_chooses_and_the_order_of_files_does_not():
    names = [tuple(scene.name for scene in choose_scenes(scenes(20, 20), 5, seed)) for seed in range(6)]
    assert len(set(names)) > 3
    assert choose_scenes(scenes(20, 20)[::-1], 5, 0) == choose_scenes(scenes(20, 20), 5, 0)


def test_names_come_from_the_command_or_from_a_file(tmp_path, panoramas):
    (tmp_path / "never.txt").write_text("a\nc\n")
    assert run(tmp_path / "x", panoramas, "--levels", "1", "--exclude-scenes", str(tmp_path / "never.txt"), scenes=2) == 0
    assert sorted(path.stem for path in (tmp_path / "x/datasets/OIQA/references").iterdir()) == ["d", "e"]
    long = ",".join(["d", "e"] * 100)  # longer than any file name may be
    assert run(tmp_path / "y", panoramas, "--levels", "1", "--only-scenes", long, scenes=2) == 0
    assert sorted(path.stem for path in (tmp_path / "y/datasets/OIQA/references").iterdir()) == ["d", "e"]


def test_a_file_of_names_that_is_no_text_is_a_message(tmp_path, panoramas, capsys):
    assert run(tmp_path, panoramas, "--exclude-scenes", str(panoramas / "a.png")) == 2
    assert "is not a text file of scene names" in capsys.readouterr().err


def test_excluding_a_scene_excludes_its_place():
    chosen = choose_scenes(scenes(12, 6), 5, 0, exclude=["s00"])
    assert "p0" not in {scene.location for scene in chosen}
    with pytest.raises(UserError, match="10 are there"):
        choose_scenes(scenes(12, 6), 11, 0, exclude=["s00"])


def test_named_scenes_are_taken_exactly():
    assert [scene.name for scene in choose_scenes(scenes(12, 6), None, 0, only=["s07", "s01"])] == ["s01", "s07"]
    with pytest.raises(UserError, match="excluded"):
        choose_scenes(scenes(12, 6), None, 0, exclude=["s01"], only=["s07"])


@needs_shared("panoramas")
def test_the_shared_panoramas_know_their_places():
    found = find_scenes(PHOTOGRAPHS)
    assert len(found) == 61
    assert {scene.name for scene in found if scene.location == "blaubeuren"} == {"blaubeuren_church_square", "blaubeuren_night"}
    first = {scene.name for scene in choose_scenes(found, 16, 0)}
    second = {scene.name for scene in choose_scenes(found, 16, 0, exclude=first)}
    assert len(first) == len(second) == 16 and not first & second


def test_a_folder_with_only_what_a_killed_run_left_is_nobodys(tmp_path):
    """Killed while its first file was being written, the same command goes on; so does a merge."""
    left = ".simulation.0123abcd-77-x1y2.tmp.json"
    folder, record = tmp_path / "OIQA", {"like": "OIQA"}
    (folder / "images").mkdir(parents=True)
    (folder / left).touch()
    with pytest.raises(UserError, match="real database"):  # images/ is somebody's
        module.claim_folder(folder, module.Simulation("OIQA", "OIQA", "x"), record)
    (folder / "images").rmdir()
    module.claim_folder(folder, module.Simulation("OIQA", "OIQA", "x"), record)
    assert json.loads((folder / "simulation.json").read_text()) == record
    (tmp_path / "ALL").mkdir()
    (tmp_path / "ALL" / left.replace("simulation", "merge")).touch()
    merge._claim_folder(tmp_path / "ALL", ["OIQA"])
    assert (tmp_path / "ALL" / "merge.json").is_file()
