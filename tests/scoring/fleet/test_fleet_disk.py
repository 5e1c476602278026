"""A fleet on a real Ray cluster of this machine whose disk is full: one message, what is written stays, and then it goes on."""

import contextlib
import os
import subprocess
import sys

import pytest
from conftest import ROOT
from PIL import Image
from skips import NO_MOUNT
from stand_in import needs_encoders, panorama

from mmifn.scoring.files import ImageJob, Task, score_job

ray_is_needed = "Ray is not installed: pip install 'mmifn[fleet]'"
pytest.importorskip("ray", reason=ray_is_needed)
pq = pytest.importorskip("pyarrow.parquet", reason=ray_is_needed)

pytestmark = [needs_encoders, pytest.mark.xdist_group("ray")]

IMAGES, BLOCK = 12, 2
DISK, FREE = 2 * 2**20, 60_000  # bytes: a block takes some 16,000


@pytest.fixture
def disk(tmp_path):
    """A small file system in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    with contextlib.suppress(FileNotFoundError):
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)]
        if not subprocess.run(mount, capture_output=True, check=False).returncode:
            yield place
            subprocess.run(["umount", "-l", str(place)], check=True)
            return
    pytest.skip(NO_MOUNT)


def run(folder, out, *flags):
    """Run the fleet to its end, as a process of its own; return its exit code and what it said."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "score_fleet.py"), str(folder / "manifest.csv"), "--out", str(out),
               "--cpus-per-actor", "1", "--block-rows", str(BLOCK), *flags]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout + done.stderr


def test_a_full_disk_is_one_message_and_the_run_goes_on_when_there_is_room(tmp_path, disk):
    paths = [tmp_path / f"p{i:02d}.png" for i in range(IMAGES)]
    for i, path in enumerate(paths):
        Image.fromarray(panorama(256, i)).save(path)
    (tmp_path / "manifest.csv").write_text("id,path\n" + "".join(f"{path.stem},{path.name}\n" for path in paths))
    (disk / "filler").write_bytes(b"\0" * (DISK - FREE))

    code, said = run(tmp_path, disk / "out")
    assert code == 2 and said.count("error:") == 1 and "No space left on device" in said and "Traceback" not in said, said
    assert f"What is written to {disk}/out/rows is kept" in said
    before = {path: path.read_bytes() for path in (disk / "out" / "checkpoint").rglob("*.parquet") if ".pending" not in path.name}
    assert before

    (disk / "filler").unlink()
    code, said = run(tmp_path, disk / "out", "--batch", "4")
    assert code == 0 and f"{IMAGES} of {IMAGES} scored" in said and "of them done" in said, said
    assert all(path.read_bytes() == content for path, content in before.items())
    rows = {row["id"]: row for row in pq.read_table(disk / "out" / "rows").to_pylist()}
    assert sorted(rows) == [path.stem for path in paths]
    for path in paths[::4]:
        wanted = score_job(ImageJob(path, str(path), Task(device="cpu"))).row
        assert rows[path.stem]["score"] == pytest.approx(wanted["score"], abs=2e-3)
        assert rows[path.stem]["description"] == wanted["description"]
