"""Atomic writes: what dead runs leave is removed and is nobody's, links are written through, messages name the target."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmifn.core.files import atomic_path, holds_nothing, is_leftover, remove_leftovers, write_text

KILLED = """
import os, pathlib, sys
from mmifn.core.files import atomic_path
with atomic_path(pathlib.Path(sys.argv[1])):
    os._exit(9)
"""


@pytest.fixture
def killed(tmp_path):
    """A folder in which a run was killed in the middle of its first write."""
    folder = tmp_path / "dead"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-c", KILLED, folder / "simulation.json"]
    assert subprocess.run(command, env=environment, check=False).returncode == 9
    assert [is_leftover(path.name) for path in folder.iterdir()] == [True]
    return folder


def test_what_a_killed_run_left_is_removed_and_counts_as_nothing(killed):
    (killed / ".link.ab12_x").mkdir()
    elsewhere = killed / ".a.0123abcd-1-xyz.tmp.json"  # of a host that may be alive
    elsewhere.touch()
    assert holds_nothing(killed) and [path.name for path in killed.iterdir()] == [elsewhere.name]
    (killed / "des.csv").touch()
    assert not holds_nothing(killed) and (killed / "des.csv").is_file()


def test_what_is_being_written_stays(tmp_path):
    with atomic_path(tmp_path / "a.txt") as temporary:
        remove_leftovers(tmp_path)
        temporary.write_text("whole")
        gone = tmp_path / temporary.name.replace(temporary.name.split("-")[-1], "othername.tmp.txt")
        gone.touch()  # of this very process number, but not of this process: containers count from 1
        remove_leftovers(tmp_path)
        assert not gone.exists()
    assert (tmp_path / "a.txt").read_text() == "whole" and len(list(tmp_path.iterdir())) == 1


def test_links_are_written_through(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "there" / "real.csv")
    for text in ("new", "newer"):
        write_text(link, text)
        assert link.is_symlink() and (tmp_path / "there" / "real.csv").read_text() == text
    with atomic_path(link, through_link=False) as temporary:
        temporary.write_text("alone")
    assert not link.is_symlink() and (tmp_path / "there" / "real.csv").read_text() == "newer"


@pytest.mark.parametrize("named", ["nothing", "temporary", "source"])
def test_a_full_disk_is_said_of_the_file_that_was_to_be_written(tmp_path, named):
    with pytest.raises(OSError) as caught, atomic_path(tmp_path / "a.csv") as temporary:
        raise OSError(errno.ENOSPC, "No space left", *{"nothing": [], "temporary": [str(temporary)], "source": ["b.jpg"]}[named])
    assert caught.value.filename == str(tmp_path / "a.csv") and caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_what_is_durable_is_on_the_disk_before_and_after_it_gets_its_name(tmp_path, monkeypatch):
    steps, sync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: steps.append(os.readlink(f"/proc/self/fd/{handle}")) or sync(handle))
    monkeypatch.setattr(os, "replace", lambda source, target: steps.append("renamed") or replace(source, target))
    write_text(tmp_path / "a.txt", "cheap")
    assert steps == ["renamed"]
    with atomic_path(tmp_path / "a.txt", durable=True) as temporary:
        temporary.write_text("dear")
    assert steps[1:] == [str(temporary), "renamed", str(tmp_path)] and (tmp_path / "a.txt").read_text() == "dear"


def test_other_errors_keep_their_file(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, atomic_path(tmp_path / "a.csv"):
        (tmp_path / "missing").read_text()
    assert caught.value.filename == str(tmp_path / "missing")


def test_a_folder_that_cannot_be_made_is_said_of_the_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError) as caught:
        write_text(tmp_path / "file" / "a.csv", "x")
    assert caught.value.filename == str(tmp_path / "file" / "a.csv")
