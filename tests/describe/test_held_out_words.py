"""What benchmarks/describe_camera.py and describe_local.py share: which scenes are checked, and how they are counted."""

import argparse

import numpy as np
import pytest

from benchmarks.held_out_words import Checked, check_parser, held_out_scenes, print_check, pristine_of
from mmifn.core.errors import UserError
from mmifn.data.images import write_png


@pytest.fixture
def folder(tmp_path):
    """Return a folder of four panoramas: two of a place that the calibration saw, under one of its names and another."""
    for name in ("rathaus", "by_the_rathaus", "harbour", "meadow"):
        write_png(np.full((64, 128, 3), 90, np.uint8), tmp_path / f"{name}.png")
    (tmp_path / "manifest.csv").write_text("file,location\nrathaus.png,square\nby_the_rathaus.png,square\n"
                                           "harbour.png,harbour\nmeadow.png,meadow\n", encoding="utf-8")
    return tmp_path


def asked(folder, *flags: str) -> argparse.Namespace:
    return check_parser("Check.", 32).parse_args(["--panoramas", str(folder), *flags])


def check(job: tuple) -> list[Checked]:
    number, scene = job
    return [Checked("clean", scene.name == "meadow", f"number {number}"), Checked("spoilt", True, "noise")]


def test_no_place_that_was_calibrated_on_is_checked_whatever_its_file_is_called(folder):
    assert [scene.name for scene in held_out_scenes(str(folder))] == ["harbour", "meadow"]


def test_every_scene_is_counted_and_what_is_wrong_is_shown(folder, capsys):
    print_check(check, asked(folder))
    printed = capsys.readouterr()
    assert printed.out == "clean: 1 of 2 right\nspoilt: 2 of 2 right\n" and printed.err == "harbour: clean: number 0\n"


def test_some_scenes_alone_keep_their_numbers_and_an_unknown_one_is_refused(folder, capsys):
    print_check(check, asked(folder, "--only", "meadow"))
    assert capsys.readouterr().out == "clean: 1 of 1 right\nspoilt: 1 of 1 right\n"
    print_check(check, asked(folder, "--scenes", "1"))
    assert capsys.readouterr().err == "harbour: clean: number 0\n"
    with pytest.raises(UserError, match="no held-out scene is called rathaus"):
        print_check(check, asked(folder, "--only", "meadow,rathaus"))


def test_panoramas_are_reduced_and_never_enlarged(folder):
    scene = held_out_scenes(str(folder))[0]
    assert pristine_of(scene, 32).shape == (32, 64, 3)
    with pytest.raises(UserError, match="harbour has 64 rows"):
        pristine_of(scene, 65)
