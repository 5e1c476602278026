"""Clips from end to end: a score a step, the worst moments as pictures, a plot, and a run that goes on."""

import csv

import pytest
from clip import write_clip
from stand_in import needs_encoders, write_model

import predict
from mmifn.core.errors import UserError
from mmifn.data.images import read_image
from mmifn.scoring.clips import draw_over_time
from mmifn.scoring.pieces import Piece, parse_every, pieces_of

pytestmark = needs_encoders


def test_a_clip_is_scored_step_by_step(tmp_path, capfd):
    clip = write_clip(tmp_path / "c.mp4")
    argv = [str(clip), "--every", "1500ms", "--csv", str(tmp_path / "r.csv"), "--map", str(tmp_path / "maps"), "--device", "cpu",
            "--checkpoint", str(write_model(tmp_path / "m.safetensors")), "--workers", "1"]
    assert predict.main(argv) == 0
    out, err = capfd.readouterr()
    rows = list(csv.DictReader((tmp_path / "r.csv").open(encoding="utf-8")))
    assert [row["image"] for row in rows] == ["c.mp4 @ 0s", "c.mp4 @ 1.5s"]
    scores = [float(row["score"]) for row in rows]
    assert scores[0] != scores[1] and f"c.mp4: {sum(scores) / 2:.0f} on average over 2 moments, {min(scores):.0f} at " in out
    folder = tmp_path / "maps" / "c.mp4"
    assert sorted(path.name for path in folder.iterdir()) == ["moment_1.png", "moment_2.png", "over_time.png"]
    assert read_image(folder / "moment_1.png").shape == (128, 256, 3)
    before = (tmp_path / "r.csv").read_bytes()
    assert predict.main(argv) == 0 and (tmp_path / "r.csv").read_bytes() == before
    again, err = capfd.readouterr()
    assert "2 of them from an earlier run" in err and again.splitlines()[-1] == out.splitlines()[-1]


@pytest.mark.parametrize(("text", "seconds"), [("2s", 2), ("500ms", 0.5), ("0.5", 0.5), ("1min", 60), (" 3 s", 3)])
def test_times_in_words(text, seconds):
    assert parse_every(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "-1s", "2h", "0", "1ms", "nan"])
def test_times_that_are_none(text):
    with pytest.raises(UserError, match="such as 2s, 500ms or 1min"):
        parse_every(text)


def test_pieces_of_files(tmp_path):
    clip = write_clip(tmp_path / "c.mp4")
    assert [name for name, _ in pieces_of("c.mp4", clip, "vr180", 2)] == [
        "c.mp4 @ 0s (left eye)", "c.mp4 @ 0s (right eye)", "c.mp4 @ 2s (left eye)", "c.mp4 @ 2s (right eye)"]
    assert list(pieces_of("a.jpg", tmp_path / "a.jpg", "auto", 2)) == [("a.jpg", Piece())]
    (tmp_path / "bad.mp4").write_bytes(b"")
    assert list(pieces_of("bad.mp4", tmp_path / "bad.mp4", "auto", 2)) == [("bad.mp4 @ 0s", Piece(moment_s=0.0))]


def test_the_plot_marks_the_worst_moments(tmp_path):
    moments = [(float(k), score, (score - 8, score + 8)) for k, score in enumerate([60, 40, 70, 55])]
    draw_over_time(moments, "c.mp4", tmp_path / "a.png")
    draw_over_time([(time, 100 - score, None) for time, score, _ in moments], "c.mp4", tmp_path / "b.png")
    pictures = [read_image(tmp_path / name, panorama=False) for name in ("a.png", "b.png")]
    assert pictures[0].shape == (480, 1200, 3) and (pictures[0] != pictures[1]).any()
