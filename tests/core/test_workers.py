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

from mmifn.core.errors import UserError
from mmifn.core.workers import run_tasks


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


WAITING = """
import os, sys, time
from mmifn.core.workers import run_tasks

def wait(path):
    open(path, "w").write(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    list(run_tasks(wait, sys.argv[1:], 2))
"""


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "waiting.py"
    script.write_text(WAITING)
    notes = [tmp_path / "a", tmp_path / "b"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    parent = subprocess.Popen([sys.executable, str(script), *map(str, notes)], env=environment)
    deadline = time.monotonic() + 120
    while not all(note.exists() and note.read_text() for note in notes):
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    pids = [int(note.read_text()) for note in notes]
    assert all(running(pid) for pid in pids)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while any(running(pid) for pid in pids):
        assert time.monotonic() < deadline, "workers outlived their parent"
        time.sleep(0.05)
