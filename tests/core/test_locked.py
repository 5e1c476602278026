"""A file that grows has one writer, whatever path leads to it, and is free again as soon as that one has ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmifn.core.errors import UserError
from mmifn.core.locked import open_locked

HOLD = """
import pathlib, sys
from mmifn.core.locked import open_locked
file = open_locked(pathlib.Path(sys.argv[1]))
file.append("theirs\\n")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_run(tmp_path):
    """Another process that holds r.csv."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "r.csv"], env=environment, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_run_is_refused_by_every_path_until_the_first_has_ended(tmp_path, other_run):
    path = tmp_path / "r.csv"
    (tmp_path / "symbolic.csv").symlink_to(path)
    os.link(path, tmp_path / "hard.csv")
    (tmp_path / "there").symlink_to(tmp_path)
    for name in (path, tmp_path / "symbolic.csv", tmp_path / "hard.csv", tmp_path / "there" / "r.csv"):
        with pytest.raises(UserError, match=r"\.csv is being written by another run"):
            open_locked(name)
    assert path.read_text() == "theirs\n"
    other_run.kill()
    other_run.wait()
    with open_locked(tmp_path / "hard.csv") as file:
        file.append("ours\n")
        assert file.read() == b"theirs\nours\n"


def test_the_lock_goes_over_to_the_file_that_is_put_in_place(tmp_path):
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "r.csv")
    with open_locked(link) as file:
        file.append("first\n")
        before = (tmp_path / "r.csv").stat().st_ino
        file.replace("whole\n")
        file.append("more\n")
        assert (tmp_path / "r.csv").stat().st_ino != before and link.is_symlink()
        assert file.read() == link.read_bytes() == b"whole\nmore\n"
        with pytest.raises(UserError, match="another run"):
            open_locked(tmp_path / "r.csv")
        file.truncate(6)
        assert link.read_text() == "whole\n"
    open_locked(tmp_path / "r.csv").close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.csv", "r.csv"]


def test_a_file_that_is_replaced_while_it_is_opened_is_opened_anew(tmp_path, monkeypatch):
    from mmifn.core import locked

    path, opened = tmp_path / "r.csv", locked._opened

    def late(name):
        handle = opened(name)
        if not (tmp_path / "done").exists():
            (tmp_path / "new").write_text("new\n")
            os.replace(tmp_path / "new", path)
            (tmp_path / "done").touch()
        return handle

    monkeypatch.setattr(locked, "_opened", late)
    with open_locked(path) as file:
        assert file.read() == b"new\n"
        file.append("ours\n")
    assert path.read_text() == "new\nours\n"


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path, "a folder"), (tmp_path / "pipe", "a pipe"), (Path("/dev/null"), "a device")):
        with pytest.raises(UserError, match=f"is {kind}, not a file"):
            open_locked(path)
