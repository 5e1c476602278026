"""What the designs leave out, and databases put together."""

import os

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import make_workspace

import simulate_dataset
from mmifn.core.errors import UserError
from mmifn.data.images import read_image, write_png
from mmifn.data.manifest import read_manifest
from mmifn.data.workspace import Workspace
from mmifn.fusion.inputs import load_database
from mmifn.simulate import broad, drawn
from mmifn.simulate.broad import COPIED, IMAGES, LIKE, RESIZED, SAME_SIZE, VERSIONS, simulate_broad
from mmifn.simulate.database import Simulation
from tools import merge_databases


def test_a_broad_database_is_whole_and_made_once(tmp_path):
    space = Workspace(tmp_path)
    plan = Simulation(LIKE, "BROAD", "synthetic", 2, height=64, workers=1)
    table = simulate_broad(plan, space)
    manifest = read_manifest(space.manifest("BROAD"), "BROAD")
    assert len(manifest) == 2 * (IMAGES - 1 - len(COPIED)) and manifest.mos_source == "simulated"
    pristine = [name for name in manifest.names if name.endswith("_pristine_0.png")]
    assert len(pristine) == 2 and set(manifest.mos[[manifest.names.index(name) for name in pristine]]) == {71.5}
    scene = pristine[0].rpartition("_pristine")[0]
    others = [name for name in manifest.names if name.startswith(scene) and name not in pristine]
    assert len(others) == IMAGES - 2 - len(COPIED)
    reference = read_image(space.images_dir("BROAD") / pristine[0])
    for name in others:
        assert not np.array_equal(read_image(space.images_dir("BROAD") / name), reference)
    before = {path: path.stat().st_mtime_ns for path in space.images_dir("BROAD").iterdir()}
    pd.testing.assert_frame_equal(simulate_broad(plan, space), table)
    assert before == {path: path.stat().st_mtime_ns for path in space.images_dir("BROAD").iterdir()}


def test_copies_have_the_label_of_what_was_copied_and_resized_ones_that_of_their_size(tmp_path):
    plan = Simulation(LIKE, "BROAD", "synthetic", 1, height=128, workers=1, ppd=512 / 360)
    table = simulate_broad(plan, Workspace(tmp_path)).set_index("image_name")
    assert len(table) == IMAGES
    same, resized = ({way: table[table.index.str.contains(f"_{way}")] for way in ways} for ways in (SAME_SIZE, RESIZED))
    assert all(len(rows) == 1 + len(COPIED) for rows in [*same.values(), *resized.values()])
    for way, rows in same.items():
        for name, row in rows.iterrows():
            of = table.loc[name.replace(f"_{way}", "")]
            assert (row.MOS, row.distortion_type, row.width) == (of.MOS, of.distortion_type, 256)
    assert set(resized["reduced"].width) == {192} and set(resized["enlarged"].width) == {512}
    assert (resized["reduced"].ceiling.astype(float) < same["grey"].ceiling.astype(float).iloc[0]).all()
    assert all(float(row.MOS) <= float(row.ceiling) for rows in resized.values() for _, row in rows.iterrows())
    for name, row in resized["enlarged"].iterrows():  # what was enlarged is hardly another picture
        assert -6 <= float(row.MOS) - float(table.MOS[name.replace("_enlarged", "")]) <= 3


def test_a_panorama_of_the_size_that_the_headset_shows_is_not_enlarged(tmp_path):
    table = simulate_broad(Simulation(LIKE, "BROAD", "synthetic", 1, height=64, workers=1), Workspace(tmp_path))
    assert len(table) == IMAGES - (1 + len(COPIED)) and not table.image_name.str.contains("enlarged").any()


def test_a_broad_database_goes_on_and_mends_what_was_damaged(tmp_path, monkeypatch):
    space, plan = Workspace(tmp_path), Simulation(LIKE, "BROAD", "synthetic", 1, height=64, workers=1)
    table = simulate_broad(plan, space)
    before = {path: path.read_bytes() for path in space.images_dir("BROAD").iterdir()}
    missing, damaged = sorted(before)[:2]
    missing.unlink()
    damaged.write_bytes(before[damaged][:200])
    space.manifest("BROAD").unlink()
    made = []
    monkeypatch.setattr(drawn, "write_png", lambda pixels, path: (made.append(path), write_png(pixels, path)))
    pd.testing.assert_frame_equal(simulate_broad(plan, space), table)
    assert sorted(made) == [missing, damaged]
    assert {path: path.read_bytes() for path in before} == before


def test_noise_is_of_the_scene_and_the_version(tmp_path, monkeypatch):
    """One noise field in all scenes would let a network learn the field."""
    seen = {}

    def noise_alone(self, pixels, rng):
        noise = rng.integers(0, 256, pixels.shape, dtype=np.uint8)
        seen.setdefault(noise.tobytes(), 0)
        seen[noise.tobytes()] += 1
        return noise

    monkeypatch.setattr(broad.Draw, "apply", noise_alone)
    simulate_broad(Simulation(LIKE, "BROAD", "synthetic", 2, height=64, workers=1), Workspace(tmp_path))
    assert len(seen) >= 2 * VERSIONS and set(seen.values()) == {1}


def test_the_script_makes_a_broad_database_and_refuses_what_it_has_not(tmp_path, capsys):
    argv = ["--root", str(tmp_path), "--like", LIKE, "--panoramas", "synthetic", "--scenes", "1", "--height", "64"]
    argv += ["--workers", "1"]
    assert simulate_dataset.main([*argv, "--levels", "1,2"]) == 2
    assert "--levels 1,2 has no meaning with --like BROAD" in capsys.readouterr().err and not (tmp_path / "datasets").exists()
    assert simulate_dataset.main([*argv, "--height", "63"]) == 2
    assert simulate_dataset.main([*argv, "--dataset", "ANY"]) == 0
    assert "labels simulated" in capsys.readouterr().out
    assert len(read_manifest(Workspace(tmp_path).manifest("ANY"), "ANY")) == IMAGES - 1 - len(COPIED)
    assert simulate_dataset.main([*argv, "--dataset", "ANY", "--seed", "1"]) == 2
    assert "was simulated with other settings:\n  seed: there 0, now 1" in capsys.readouterr().err


@pytest.fixture
def two(tmp_path):
    for seed, name in enumerate(("OIQA", "CVIQ")):
        space = make_workspace(tmp_path, name, scenes=4, seed=seed)
        for image in read_manifest(space.manifest(name), name).names:
            write_png(np.full((2, 4, 3), seed, dtype=np.uint8), space.images_dir(name) / image)
    (space.root / "text").mkdir()
    rows = [f"{name},{image},words of {name}" for name in ("OIQA", "CVIQ")
            for image in read_manifest(space.manifest(name), name).names]
    space.descriptions.write_text("\n".join(["dataset,image_name,description", *rows]) + "\n")
    return space


def test_a_merged_database_holds_every_row_of_both(two):
    assert merge_databases.main(["--root", str(two.root), "--datasets", "OIQA", "CVIQ", "--into", "BOTH"]) == 0
    parts, both = [load_database(two, name) for name in ("OIQA", "CVIQ")], load_database(two, "BOTH")
    assert both.manifest.names == [f"{part.name}/{name}" for part in parts for name in part.manifest.names]
    np.testing.assert_allclose(both.mos, np.concatenate([part.mos for part in parts]))
    assert torch.equal(both.inputs.views, torch.cat([part.inputs.views for part in parts]))
    assert torch.equal(both.inputs.levels[1], torch.cat([part.inputs.levels[1] for part in parts]))
    assert both.method == parts[0].method
    assert len(set(both.manifest.scenes())) == 4  # s0 … s3 of both: one scene to one side of a split
    first = parts[0].manifest.names[0]
    assert os.path.samefile(two.images_dir("OIQA") / first, two.images_dir("BOTH") / "OIQA" / first)
    assert "BOTH" in two.descriptions.read_text() and "CVIQ/" in two.descriptions.read_text()


def test_a_merged_database_keeps_the_scores_of_views(two):
    table = pd.read_csv(two.manifest("CVIQ"))
    table["view_MOS"] = [f"{mos:.2f} 50.00" for mos in table["MOS"]]
    table.to_csv(two.manifest("CVIQ"), index=False)
    assert merge_databases.main(["--root", str(two.root), "--datasets", "OIQA", "CVIQ", "--into", "BOTH"]) == 0
    got = read_manifest(two.manifest("BOTH"), "BOTH")
    from_cviq = np.array([name.startswith("CVIQ/") for name in got.names])
    assert np.isnan(got.view_mos[~from_cviq]).all()
    np.testing.assert_allclose(got.view_mos[from_cviq], np.stack([table["MOS"], np.full(len(table), 50)], axis=1), atol=0.006)


def test_what_does_not_go_together_is_refused(two, capsys):
    at = ["--root", str(two.root), "--datasets", "OIQA", "CVIQ", "--into"]
    assert merge_databases.main([*at, "OIQA"]) == 2
    make_workspace(two.root, "CVIQ", scenes=4, seed=1, encoder="another")
    assert merge_databases.main([*at, "BOTH"]) == 2
    assert "were made with different encoders or settings" in capsys.readouterr().err
    assert not two.dataset_dir("BOTH").exists()
    make_workspace(two.root, "CVIQ", scenes=4, seed=1)
    table = pd.read_csv(two.manifest("CVIQ"))
    table["MOS"] /= 10
    table.to_csv(two.manifest("CVIQ"), index=False)
    assert merge_databases.main([*at, "BOTH"]) == 2
    assert "different kinds cannot be merged (mos_scale)" in capsys.readouterr().err


def test_only_what_a_merge_made_is_written_again(two, capsys):
    at = ["--root", str(two.root), "--datasets", "OIQA", "CVIQ", "--into"]
    make_workspace(two.root, "MINE", scenes=4, seed=2)
    before = two.manifest("MINE").read_bytes()
    assert merge_databases.main([*at, "MINE"]) == 2
    assert "MINE is there and no merge of OIQA, CVIQ; it is left alone" in capsys.readouterr().err
    assert two.manifest("MINE").read_bytes() == before and not two.images_dir("MINE").exists()
    assert merge_databases.main([*at, "../BOTH"]) == 2
    first = read_manifest(two.manifest("OIQA"), "OIQA").names[0]
    hidden = two.images_dir("OIQA") / first
    hidden.rename(two.root / "elsewhere.png")
    assert merge_databases.main([*at, "BOTH"]) == 2
    assert "lacks 1 of the" in capsys.readouterr().err and not two.dataset_dir("BOTH").exists()
    (two.root / "elsewhere.png").rename(hidden)
    assert merge_databases.main([*at, "BOTH"]) == merge_databases.main([*at, "BOTH"]) == 0
    assert merge_databases.main(["--root", str(two.root), "--datasets", "OIQA", "--into", "BOTH"]) == 2
    assert "or --overwrite to make that merge of others anew" in capsys.readouterr().err
    assert len(read_manifest(two.manifest("BOTH"), "BOTH")) == 2 * len(read_manifest(two.manifest("OIQA"), "OIQA"))


def test_a_merge_of_others_is_made_anew_where_that_is_wished_and_no_other_folder_ever(two, capsys):
    at = ["--root", str(two.root), "--overwrite", "--datasets"]
    assert merge_databases.main([*at, "OIQA", "CVIQ", "--into", "BOTH"]) == 0
    assert merge_databases.main([*at, "CVIQ", "--into", "BOTH"]) == 0
    manifest = read_manifest(two.manifest("BOTH"), "BOTH")
    assert manifest.names == [f"CVIQ/{name}" for name in read_manifest(two.manifest("CVIQ"), "CVIQ").names]
    assert not (two.images_dir("BOTH") / "OIQA").exists() and load_database(two, "BOTH").manifest.names == manifest.names
    make_workspace(two.root, "MINE", scenes=4, seed=2)
    assert merge_databases.main([*at, "CVIQ", "--into", "MINE"]) == 2
    assert "left alone.\nUse another name with --into.\n" in capsys.readouterr().err


def test_panoramas_must_be_there():
    with pytest.raises(UserError, match="is not a folder"):
        simulate_broad(Simulation(LIKE, "BROAD", "nowhere", 2), Workspace("."))
