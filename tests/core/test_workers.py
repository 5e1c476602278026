"""Worker processes: order, threads, exceptions, and an end together with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mmifn.core import workers
from mmifn.core.errors import UserError
from mmifn.core.workers import run_tasks

PRELOAD = "mmifn.core.artefact"  # torch is imported once, not by every process


def square(value: int) -> tuple[int, int, int]:
    if value == 13:
        raise UserError("thirteen")
    return value * value, torch.get_num_threads(), os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_once_with_one_thread(workers):
    results = dict(run_tasks(square, range(5), workers))
    assert [results[i][0] for i in range(5)] == [0, 1, 4, 9, 16]
    assert {threads for _, threads, _ in results.values()} == {1}
    assert (os.getpid() in {pid for *_, pid in results.values()}) == (workers == 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_user_error_comes_through(workers):
    with pytest.raises(UserError, match="thirteen"):
        list(run_tasks(square, [1, 13, 2], workers))


def deadly(job: tuple[int, Path | None]) -> int:
    """Square a number; with a folder, be killed as by the system when memory is out: once, or (a file there) each time."""
    value, folder = job
    if folder and not (folder / f"{value}.seen").exists():
        if not (folder / "always").exists():
            (folder / f"{value}.seen").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return value * value


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system kills otherwise")
def test_a_killed_worker_costs_nothing_but_a_job_that_kills_each_time_is_given_up(tmp_path):
    jobs = [(value, tmp_path if value == 2 else None) for value in range(5)]
    assert workers.run_apart(deadly, (3, tmp_path), preload=PRELOAD) == 9
    assert dict(run_tasks(deadly, jobs, 2, preload=PRELOAD)) == {i: i * i for i in range(5)}
    (tmp_path / "always").touch()
    (tmp_path / "2.seen").unlink()
    with pytest.raises(UserError, match="killed twice"):
        workers.run_apart(deadly, (4, tmp_path), preload=PRELOAD)
    results = dict(run_tasks(deadly, jobs, 2, preload=PRELOAD, killed=lambda job: -job[0]))
    assert results == {0: 0, 1: 1, 2: -2, 3: 9, 4: 16}
    with pytest.raises(UserError, match=r"killed twice.*fewer --workers"):
        list(run_tasks(deadly, jobs[1:3], 2, preload=PRELOAD))


WAITING = """
import os, sys, time
from tqdm import tqdm
from mmifn.core.errors import user_main
from mmifn.core.workers import run_tasks

def wait(path):
    tqdm(disable=True)  # which would make a semaphore of its own
    open(path, "w").write(str(os.getpid()))
    time.sleep(600)

@user_main
def main():
    list(run_tasks(wait, sys.argv[1:], 2, preload="mmifn.core.artefact"))

if __name__ == "__main__":
    sys.exit(main())
"""


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_workers_end_with_their_parent_and_stops_are_answered(tmp_path, number, code):
    script = tmp_path / "waiting.py"
    script.write_text(WAITING)
    notes = [tmp_path / "a", tmp_path / "b"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    parent = subprocess.Popen([sys.executable, str(script), *map(str, notes)], env=environment, stderr=subprocess.PIPE,
                              text=True)
    deadline = time.monotonic() + 120
    while not all(note.exists() and note.read_text() for note in notes):
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    pids = [int(note.read_text()) for note in notes]
    assert all(running(pid) for pid in pids)
    parent.send_signal(number)
    _, said = parent.communicate(timeout=60)
    assert parent.returncode == code and "Traceback" not in said
    assert ("run the same command again to continue" in said) == ("leaked" not in said) == (number != signal.SIGKILL)
    while any(running(pid) for pid in pids):
        assert time.monotonic() < deadline, "workers outlived their parent"
        time.sleep(0.05)


def test_workers_do_not_take_another_package_of_our_name_from_the_current_folder(tmp_path):
    (tmp_path / "mmifn" / "core").mkdir(parents=True)
    for name in ("__init__", "core/__init__", "core/errors"):
        (tmp_path / "mmifn" / f"{name}.py").write_text("class UserError(Exception):\n    pass\n")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "ask.py").write_text(
        "import inspect\nfrom mmifn.core.errors import UserError\nfrom mmifn.core.workers import run_tasks\n"
        "if __name__ == '__main__':\n"
        "    jobs = run_tasks(inspect.getsourcefile, [UserError] * 3, 2, preload='mmifn.core.errors')\n"
        "    print(*sorted({path for _, path in jobs}))\n")
    ours = Path(workers.__file__).parents[2]
    done = subprocess.run([sys.executable, tmp_path / "scripts" / "ask.py"], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ours)}, timeout=120, check=True)
    assert done.stdout.strip() == str(ours / "mmifn" / "core" / "errors.py")


def test_processes_are_limited_by_memory():
    assert workers.affordable_workers(16, 2_000_000_000, free=10_000_000_000) == 4  # nine tenths of 10 GB hold four times 2 GB
    assert workers.affordable_workers(16, 2_000_000_000, free=1_000_000_000) == 1  # one always begins
    assert workers.affordable_workers(3, 1000, free=10_000_000_000) == 3
    assert workers.free_bytes() is None or 0 <= workers.free_bytes() < 1e15
