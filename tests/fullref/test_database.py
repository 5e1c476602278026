"""fullref.py end to end on a small simulated database."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import simulate_dataset
from mmifn.core import workers
from mmifn.data.images import read_image
from mmifn.data.manifest import read_manifest
from mmifn.data.workspace import Workspace
from mmifn.experiment.measurements import measure_full_reference
from mmifn.fullref import database
from mmifn.fullref.metrics import METRICS, measure
from mmifn.metrics import agreement
from tools import full_reference as script

DATASET = "OIQA"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rendered scenes of 128 rows with three levels each."""
    root = tmp_path_factory.mktemp("scoring")
    assert simulate_dataset.main(["--like", DATASET, "--panoramas", "synthetic", "--scenes", "2", "--height", "128",
                                  "--levels", "1,3,5", "--root", str(root)]) == 0
    return root


def run(root: Path, *more: str) -> int:
    return script.main(["--root", str(root), "--dataset", DATASET, *more])


def test_every_image_is_scored_against_its_own_reference(root, capsys):
    assert run(root, "--workers", "1") == 0
    scores = pd.read_csv(root / "results" / f"fullref_{DATASET}.csv")
    labels = pd.read_csv(root / "datasets" / DATASET / "des.csv")
    assert list(scores.columns) == ["image_name", *METRICS]
    assert scores["image_name"].tolist() == labels["image_name"].tolist()
    row = len(scores) // 2 + 3
    pictures = root / "datasets" / DATASET
    expected = measure(read_image(pictures / "references" / f"{labels['reference'][row]}.png"),
                       read_image(pictures / "images" / labels["image_name"][row]))
    assert scores.loc[row, list(METRICS)].astype(float).to_dict() == pytest.approx(expected, rel=1e-4)
    said = capsys.readouterr().out
    found = agreement(scores["ws_psnr"].to_numpy(), labels["MOS"].to_numpy())
    assert next(line for line in said.splitlines() if line.startswith("WS-PSNR")).split()[1:3] == [
        f"{found.plcc:.3f}", f"{found.srcc:.3f}"]
    assert "simulated" in said and "made the labels" in said
    assert (root / "results" / f"fullref_{DATASET}.txt").read_text() in said


def test_workers_change_nothing_and_metrics_can_be_chosen(root):
    target = root / "results" / f"fullref_{DATASET}.csv"
    assert run(root, "--workers", "1", "--metrics", "ws_psnr", "vp_gmsd") == 0
    alone = target.read_bytes()
    (root / "features" / DATASET / "full_reference.pt").unlink()  # else nothing is left to measure
    assert run(root, "--workers", "2", "--metrics", "ws_psnr", "vp_gmsd") == 0
    assert target.read_bytes() == alone
    assert list(pd.read_csv(target).columns) == ["image_name", "ws_psnr", "vp_gmsd"]


def test_gmsd_agrees_with_the_sign_turned(root, capsys):
    """Lower GMSD is better: its row must still correlate positively."""
    assert run(root, "--workers", "1", "--metrics", "vp_gmsd") == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("GMSD"))
    assert float(line.split()[3]) > 0.5


def test_missing_references_are_named(root, capsys):
    reference = sorted((root / "datasets" / DATASET / "references").iterdir())[0]
    hidden = reference.rename(reference.with_suffix(".hidden"))
    assert run(root, "--metrics", "ws_psnr") == 2
    hidden.rename(reference)
    assert f"{reference.stem}.png" in capsys.readouterr().err


def test_damaged_and_oversized_images_come_in_one_message_and_the_old_table_stays(root, capsys):
    run(root, "--workers", "1", "--metrics", "ws_psnr")
    target = root / "results" / f"fullref_{DATASET}.csv"
    before = target.read_bytes()
    images = sorted((root / "datasets" / DATASET / "images").iterdir())[:2]
    contents = [path.read_bytes() for path in images]
    for path in images:
        path.write_bytes(b"nothing")
    assert run(root, "--workers", "1", "--metrics", "ws_psnr") == 2
    message = capsys.readouterr().err
    assert "2 of " in message and all(path.name in message for path in images)
    for path, content in zip(images, contents, strict=True):
        path.write_bytes(content)
    assert run(root, "--workers", "1", "--metrics", "ws_psnr", "--max-megapixels", "0.01") == 2
    assert "raise it with --max-megapixels" in capsys.readouterr().err
    assert target.read_bytes() == before


def test_the_tables_and_the_tool_measure_once(root, monkeypatch):
    """Whatever one of them measured is not measured again for the other, and neither forgets what the other asked for."""
    measured = []
    real = database.score_scene

    def counted(job):
        measured.extend((name, metric) for name in job[2] for metric in job[3])
        return real(job)

    monkeypatch.setattr(database, "score_scene", counted)
    (root / "features" / DATASET / "full_reference.pt").unlink(missing_ok=True)
    assert run(root, "--workers", "1", "--metrics", "ws_psnr", "s_psnr") == 0
    space = Workspace(root)
    manifest = read_manifest(space.manifest(DATASET), DATASET)
    for_tables = measure_full_reference(space, manifest, 1)
    assert for_tables.columns == ["ws_psnr", "ws_ssim", "vp_ms_ssim", "vp_gmsd"]
    assert run(root, "--workers", "1", "--metrics", "s_psnr", "vp_gmsd", "ws_psnr") == 0
    wanted = {(name, metric) for name in manifest.names for metric in ["s_psnr", *for_tables.columns]}
    assert len(measured) == len(wanted) and set(measured) == wanted
    table = pd.read_csv(root / "results" / f"fullref_{DATASET}.csv")
    assert list(table.columns) == ["image_name", "s_psnr", "vp_gmsd", "ws_psnr"]
    assert table["vp_gmsd"].tolist() == pytest.approx(for_tables.values[:, 3].tolist(), rel=1e-12)


def test_large_panoramas_are_announced_and_take_no_more_processes_than_fit(monkeypatch, capsys):
    manifest = range(320)
    monkeypatch.setattr(workers, "free_bytes", lambda: 10_000_000_000)
    assert database._bounded_workers(manifest, (13320, 6660), 16) == 5  # .6 GB and 13 bytes a pixel: 1.75 GB each
    said = capsys.readouterr().err
    assert "320 images of up to 13320x6660, up to 1.8 GB in each of 5 processes (16 wanted; memory is free for 5)" in said
    assert database._bounded_workers(manifest, (2048, 1024), 4) == 4 and not capsys.readouterr().err
    # docs/databases.md: 34 s for all eight metrics of a pair of that size; a 4096 px one has views of the same size
    assert database._seconds(13320 * 6660 / 1e6) == pytest.approx(34, abs=1)
    assert database._seconds(4096 * 2048 / 1e6) == pytest.approx(27.7, abs=0.1)
