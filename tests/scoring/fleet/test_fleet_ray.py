"""A fleet on a real Ray cluster of this machine: an actor is killed, then the driver, and in the end every image has one row.

What a process of the fleet opens is written down by a hook that Python starts with (sitecustomize), and one picture kills
whoever opens it: the product itself is the one that users run.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from stand_in import needs_encoders, panorama

ray_is_needed = "Ray is not installed: pip install 'mmifn[fleet]'"
pytest.importorskip("ray", reason=ray_is_needed)
pq = pytest.importorskip("pyarrow.parquet", reason=ray_is_needed)

pytestmark = [
    needs_encoders,
    pytest.mark.xdist_group("ray"),
    pytest.mark.skipif(not hasattr(signal, "SIGKILL") or not Path("/proc/self").exists(), reason="no Linux"),
]

IMAGES, BLOCK, ACTORS = 80, 5, 2
DAMAGED, KILLER = ("p07", "p31", "p66"), "p23"
COMPARED = [f"p{i:02d}" for i in range(0, IMAGES, 5)]
LIMIT_S = 600  # of a run; on two free cores both take about a minute

HOOK = '''
import os, signal, sys

if os.environ.get("OPENED"):
    def opened(event, args, log=os.environ["OPENED"], pictures=os.environ["PICTURES"]):
        if event == "open" and str(args[0]).startswith(pictures) and isinstance(args[1], str):
            name = os.path.basename(args[0]).partition(".")[0]
            line = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(line, f"{name} {os.getpid()}\\n".encode())
            os.close(line)
            if name == os.environ["KILLER"]:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(opened)
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Eighty small panoramas, three of them damaged, with a manifest; and the hook."""
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "pictures").mkdir()
    rows = ["id,path"]
    for i in range(IMAGES):
        name = f"p{i:02d}"
        path = folder / "pictures" / f"{name}.png"
        Image.fromarray(panorama(256, i)).save(path)
        if name in DAMAGED:
            path.write_bytes(path.read_bytes()[:9000])
        rows.append(f"{name},pictures/{path.name}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    (folder / "hook").mkdir()
    (folder / "hook" / "sitecustomize.py").write_text(HOOK)
    return folder


def start(place):
    """Start the fleet, as a process of its own."""
    environment = os.environ | {"PYTHONPATH": f"{place / 'hook'}{os.pathsep}{ROOT}", "OPENED": str(place / "opened"),
                                "PICTURES": str(place / "pictures"), "KILLER": KILLER}
    environment.pop("RAY_ADDRESS", None)
    command = [sys.executable, str(ROOT / "score_fleet.py"), str(place / "manifest.csv"), "--out", str(place / "out"),
               "--actors", str(ACTORS), "--cpus-per-actor", "1", "--block-rows", str(BLOCK)]
    return subprocess.Popen(command, env=environment, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def opened(place):
    """Return the pictures opened so far, each with the process that did it."""
    log = place / "opened"
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def wait_until(condition, process=None):
    deadline = time.monotonic() + LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline and (process is None or process.poll() is None), process and process.stdout.read()
        time.sleep(0.1)
    return found


def alive(pid):
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def twice(log):
    """Return the good pictures that were scored more than once: scoring opens one to hash it and one to decode it."""
    good = [name for name, _ in log if name not in (*DAMAGED, KILLER)]
    return {name for name, count in Counter(good).items() if count > 2}


@pytest.fixture(scope="module")
def finished(place):
    """Kill an actor, then the driver, and run again to the end; return what was opened before each, and what was said."""
    process = start(place)
    wait_until(lambda: len({name for name, _ in opened(place)}) >= 12, process)
    victim = int(opened(place)[-1][1])
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len({name for name, _ in opened(place)}) >= 40, process)
    before, log = twice(opened(place)), opened(place)
    process.kill()
    process.communicate()
    wait_until(lambda: not any(alive(int(pid)) for _, pid in log))
    last = start(place)
    said, _ = last.communicate(timeout=LIMIT_S)
    return {"code": last.returncode, "said": said, "before": before, "log": opened(place), "first": len(log)}


def test_every_image_has_one_row(place, finished):
    rows = pq.read_table(place / "out" / "rows").to_pylist()
    assert sorted(row["id"] for row in rows) == [f"p{i:02d}" for i in range(IMAGES)], finished["said"]
    errors = {row["id"]: row["error"] for row in rows if row["error"]}
    assert set(errors) == {*DAMAGED, KILLER} and "was killed, twice" in errors[KILLER]
    assert all("truncated or damaged" in errors[name] for name in DAMAGED)
    assert finished["code"] == 1 and "76 of 80 scored, 4 could not be" in finished["said"] and "Traceback" not in finished["said"]


def test_little_is_scored_twice(finished):
    assert len(finished["before"]) <= 2  # a killed actor loses the picture that it had in hand: one by us, one by chance
    assert len(twice(finished["log"])) <= len(finished["before"]) + ACTORS * BLOCK  # a killed driver the blocks under way
    assert "of them done" in finished["said"]
    done_before = {name for name, _ in finished["log"][:finished["first"]]}
    assert len(done_before - {name for name, _ in finished["log"][finished["first"]:]}) >= 40 - ACTORS * BLOCK - 1


def test_values_are_those_of_predict(place, finished, capfd):
    import predict

    paths = [f"{place}/pictures/{name}.png" for name in COMPARED]
    (place / "list").write_text("\n".join(paths))
    assert predict.main(["--list", f"{place}/list", "--json", f"{place}/r.json", "--workers", "1", "--device", "cpu"]) == 0
    wanted = {row["image"]: row for row in map(json.loads, (place / "r.json").read_text(encoding="utf-8").split("\n")[:-1])}
    found = {row["image"]: row for row in pq.read_table(place / "out" / "rows").to_pylist()}
    assert set(wanted) == set(paths)
    for path, row in wanted.items():
        views = [[view["lon_deg"], view["lat_deg"], view["score"]] for view in found[path]["viewports"]]
        assert row == {name: views if name == "viewports" else found[path][name] for name in row}
    assert len({row["score"] for row in wanted.values()}) > 10 and np.isfinite([row["score"] for row in wanted.values()]).all()


def test_a_third_run_has_nothing_to_do_and_starts_no_ray(place, finished):
    before = len(opened(place))
    process = start(place)
    said, _ = process.communicate(timeout=LIMIT_S)
    assert "80 of them done" in said and "76 of 80 scored" in said and len(opened(place)) == before
