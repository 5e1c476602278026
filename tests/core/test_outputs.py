"""Outputs are looked at before any work: no input, no other output and no device is written over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmifn.core.errors import UserError
from mmifn.core.files import write_text
from mmifn.core.outputs import check_outputs, refuse_foreign


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a photograph, links to it, a pipe, a folder and a table."""
    monkeypatch.chdir(tmp_path)
    Path("a.jpg").write_bytes(b"photograph")
    Path("symbolic.html").symlink_to("a.jpg")
    os.link("a.jpg", "hard.html")
    Path("folder").mkdir()
    Path("way").symlink_to("folder")
    os.mkfifo("pipe")
    Path("r.csv").write_text("rows")
    Path("later.csv").symlink_to("r2.csv")  # which is not there yet
    return tmp_path


@pytest.mark.parametrize(("files", "folders", "message"), [
    ({"--html": "a.jpg"}, {}, "--html a.jpg is what is read as a.jpg, which would be overwritten"),
    ({"--html": "./folder/../a.jpg"}, {}, "is what is read as a.jpg"),
    ({"--html": "symbolic.html"}, {}, "--html symbolic.html is what is read as a.jpg"),
    ({"--html": "hard.html"}, {}, "--html hard.html is what is read as a.jpg"),
    ({"--csv": "r.csv", "--json": "./r.csv"}, {}, r"--csv r.csv and --json r.csv are one and the same"),
    ({"--csv": "new.csv", "--json": "folder/../new.csv"}, {}, "are one and the same"),
    ({"--csv": "folder/new.csv", "--json": "way/new.csv"}, {}, "are one and the same"),
    ({"--csv": "later.csv", "--json": "r2.csv"}, {}, "are one and the same"),
    ({"--csv": "new/deep"}, {"--map": "new/deep"}, "are one and the same"),
    ({"--csv": "/dev/null"}, {}, "--csv /dev/null is a device, not a file"),
    ({"--csv": "pipe"}, {}, "--csv pipe is a pipe, not a file"),
    ({"--csv": "folder"}, {}, "--csv folder is a folder, not a file"),
    ({"--csv": "way"}, {}, "--csv way is a folder, not a file"),
    ({}, {"--map": "r.csv"}, "--map r.csv is a file, not a folder"),
    ({}, {"--map": "/dev/null"}, "--map /dev/null is a device, not a folder"),
    ({"--csv": "a.jpg/r.csv"}, {}, "cannot be written: .*a.jpg is a file, not a folder"),
    ({"--csv": "pipe/sub/r.csv"}, {}, "cannot be written: .*pipe is a pipe, not a folder"),
])  # fmt: skip
def test_what_cannot_be_meant_is_refused(place, files, folders, message):
    with pytest.raises(UserError, match=message):
        check_outputs({flag: Path(path) for flag, path in files.items()}, [None, Path("a.jpg"), Path("none.jpg")],
                      {flag: Path(path) for flag, path in folders.items()})
    assert Path("a.jpg").read_bytes() == b"photograph" and not Path("new").exists()


def test_what_can_be_written_passes(place):
    check_outputs({"--csv": Path("r.csv"), "--json": Path("later.csv"), "--html": Path("new/deep/p.html"), "--none": None},
                  [Path("a.jpg"), Path("folder")], {"--map": Path("folder"), "--more": Path("new/maps")})
    assert not Path("new").exists()


def test_a_place_that_may_not_be_written_is_said_before_work(place, monkeypatch):
    closed = {"folder": False, "r.csv": True}  # path -> whether a file

    def access(path, mode):
        return Path(path).name not in closed

    monkeypatch.setattr(os, "access", access)  # root may write anything
    with pytest.raises(UserError, match=r"--csv r\.csv may not be written"):
        check_outputs({"--csv": Path("r.csv")})
    with pytest.raises(UserError, match=r"--csv folder/x/r\.csv cannot be written: the folder .*folder does not allow it"):
        check_outputs({"--csv": Path("folder/x/r.csv")})
    with pytest.raises(UserError, match="--map folder may not be written"):
        check_outputs({}, folders={"--map": Path("folder")})


def test_a_file_of_another_kind_is_refused(place):
    Path("page.html").write_text("<!DOCTYPE html>\n<html>")
    Path("empty.html").touch()
    for name in ("page.html", "empty.html", "none.html", "folder"):
        refuse_foreign("--html", Path(name), b"<!doctype html>", "page")
    refuse_foreign("--html", None, b"<!doctype html>", "page")
    with pytest.raises(UserError, match=r"--html a\.jpg is there and is no page; name another file"):
        refuse_foreign("--html", Path("a.jpg"), b"<!doctype html>", "page")


def test_nothing_but_files_is_replaced(place):
    for path, kind in (("pipe", "a pipe"), ("folder", "a folder"), ("/dev/null", "a device")):
        with pytest.raises(UserError, match=f"is {kind}, not a file"):
            write_text(Path(path), "x")
    assert Path("pipe").is_fifo() and Path("/dev/null").is_char_device()
