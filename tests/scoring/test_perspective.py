"""Photographs and views: how large they are looked at, what is refused, and the files of a run."""

import json

import numpy as np
import pytest
import torch
from pictures import crop, gpano, photograph, two_lenses
from PIL import Image

from mmifn.core.errors import UserError
from mmifn.scoring import photographs, run
from mmifn.scoring.listing import Listing
from mmifn.scoring.perspective import check_perspective, score_view, seen_size
from mmifn.scoring.photographs import score_photographs
from mmifn.scoring.run import Outputs
from mmifn.simulate.distortions import add_noise
from mmifn.simulate.rendered.panorama import render_scene, scene_names
from mmifn.sphere import render_viewports


@pytest.fixture(scope="module")
def panorama() -> np.ndarray:
    return render_scene(scene_names()[0], 384)


@pytest.fixture(scope="module")
def view(panorama) -> np.ndarray:
    rendered = render_viewports(panorama, torch.tensor([[20.0, 0.0]]), 80.0, 256)[0]
    return (rendered * 255).round().byte().permute(1, 2, 0).numpy()


def test_a_photograph_is_seen_whole_with_the_area_of_448_square():
    assert seen_size(500, 500, None) == (448, 448)
    height, width = seen_size(3000, 4000, None)
    assert width / height == pytest.approx(4 / 3, abs=0.01)
    assert height * width == pytest.approx(448 ** 2, rel=0.01)


def test_a_known_angle_limits_what_is_seen_to_what_a_headset_shows():
    """400 px over 25 degrees are 15.7 px per degree in the middle, of which a headset shows 11.38."""
    ppd = 400 / (2 * np.tan(np.radians(12.5))) * np.pi / 180
    assert seen_size(1000, 1000, 10.0)[0] == 224  # few degrees: the least that the network is given
    assert seen_size(400, 400, 25.0)[0] == round(400 * (4096 / 360) / ppd) == 289
    assert seen_size(300, 300, 90.0) == (300, 300)  # never enlarged


def test_small_pictures_and_whole_panoramas_are_refused_in_words(panorama, view):
    with pytest.raises(UserError, match=r"256x128.*224 px on its shorter side"):
        check_perspective(panorama[:128, :256], "small.png")
    with pytest.raises(UserError, match=r"768x384, but no perspective picture: its left and right edges meet.*without --pers"):
        check_perspective(panorama, "whole.png")
    check_perspective(view, "view.png")
    with pytest.raises(UserError, match="more than 0 and less than 180"):
        score_view(view, fov_deg=180)
    with pytest.raises(UserError, match=r"\(H, W, 3\) uint8"):
        score_view(view[..., 0])


def test_other_pictures_of_a_sphere_are_named_with_the_way_out(panorama):
    other = np.roll(panorama, 9, axis=1)
    for picture, words in ((two_lenses(panorama), "two round pictures.*--projection dual-fisheye"),
                           (np.concatenate([panorama, other])[::2], "one above the other.*--projection stereo-tb"),
                           (np.concatenate([panorama, other], axis=1)[:, ::2], "side by side.*--projection stereo-lr")):
        with pytest.raises(UserError, match=rf"768x384, but no perspective picture: .*{words}"):
            check_perspective(picture, "x.jpg")
    check_perspective(photograph(panorama, 30), "x.jpg")


@pytest.mark.parametrize(("told", "part"), [(crop(0, 40, 768, 300, (768, 384)), "360 x 141"),
                                            (crop(0, 0, 600, 300, (768, 384)), "281 x 141")])
def test_part_of_a_panorama_that_says_so_is_refused_and_wrong_metadata_are_passed_over(panorama, tmp_path, told, part):
    width = told["CroppedAreaImageWidthPixels"]
    (tmp_path / "part.jpg").write_bytes(gpano(panorama[40:340, :width], **told))
    with pytest.raises(UserError, match=rf"part.jpg is no persp.*{part} degrees of a panorama.*without --perspective"):
        score_view(tmp_path / "part.jpg")
    (tmp_path / "cut.jpg").write_bytes(gpano(panorama[40:340, :400], **told))  # cut out later, its metadata kept
    assert 0 <= score_view(tmp_path / "cut.jpg").score <= 100


def test_noise_lowers_the_score_and_a_mirror_image_has_the_same(view):
    score = score_view(view).score
    assert score_view(np.ascontiguousarray(view[:, ::-1])).score == pytest.approx(score, abs=1e-3)
    assert score_view(add_noise(view, 40.0, np.random.default_rng(0))).score < score - 5
    assert 0 <= score <= 100
    assert score_view(view, fov_deg=20).score != score
    assert score_view(view[:, ::-1]).score == pytest.approx(score, abs=1e-4)  # its mirror image is the same picture to people


def test_a_run_writes_rows_and_counts_what_failed(tmp_path, view, capsys):
    Image.fromarray(view).save(tmp_path / "a.png")
    Image.fromarray(view[:100]).save(tmp_path / "low.png")
    images = Listing((tmp_path / "a.png", tmp_path / "low.png"))
    failed = score_photographs(images, None, Outputs(str(tmp_path / "rows.jsonl"), tmp_path / "rows.csv"))
    assert failed == 1
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert rows[0]["score"] == pytest.approx(score_view(view).score, abs=1e-3)
    assert "224 px" in rows[1]["error"]
    assert (tmp_path / "rows.csv").read_text().splitlines()[1].startswith("a.png,")
    assert "a.png: " in capsys.readouterr().out
    with pytest.raises(UserError, match="--html"):
        score_photographs(images, None, Outputs(html=tmp_path / "p.html"))


def test_a_process_keeps_two_cores_busy_but_one_a_gpu(monkeypatch):
    for cores, device, wanted in ((9, "cpu", 4), (2, "cpu", 1), (1, "cpu", 1), (9, "auto", 4), (9, "cuda", 1)):
        found = torch.device(device.replace("auto", "cpu"))
        monkeypatch.setattr(run, "usable_cores", lambda cores=cores: cores)
        monkeypatch.setattr(run, "resolve_device", lambda _, found=found: found)
        assert run.default_workers(device) == wanted


@pytest.mark.parametrize(("error", "words"), [(MemoryError(), "does not fit into memory"),
                                              (PermissionError(13, "Permission denied", "b.png"), "may not be read")])
def test_a_photograph_that_cannot_be_had_does_not_stop_the_rest(tmp_path, view, monkeypatch, error, words):
    def scored(path, **options):
        if path.name == "b.png":
            error.filename = path
            raise error
        return score_view(path, **options)

    monkeypatch.setattr(photographs, "score_view", scored)
    for name in "abc":
        Image.fromarray(view).save(tmp_path / f"{name}.png")
    images = Listing(tuple(tmp_path / f"{name}.png" for name in "abc"))
    assert score_photographs(images, None, Outputs(str(tmp_path / "rows.jsonl"))) == 1
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["image"] for row in rows] == ["a.png", "b.png", "c.png"] and words in rows[1]["error"]
    assert rows[0]["score"] == rows[2]["score"]


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_run_of_photographs_that_was_stopped_goes_on(tmp_path, view, monkeypatch, capsys, suffix):
    scored = []

    def counted(path, **options):
        scored.append(path.name)
        if len(scored) == 3:
            raise KeyboardInterrupt
        return score_view(path, **options)

    for name in "abc":
        Image.fromarray(view[:, : 230 + ord(name) - 97]).save(tmp_path / f"{name}.png")
    place = tmp_path / f"rows.{suffix}"
    outputs = Outputs(csv=place) if suffix == "csv" else Outputs(str(place))
    images = Listing(tuple(tmp_path / f"{name}.png" for name in "abc"))
    monkeypatch.setattr(photographs, "score_view", counted)
    with pytest.raises(KeyboardInterrupt):
        score_photographs(images, None, outputs)
    with place.open("a") as file:
        file.write('{"image": "b.png", "sc' if suffix == "jsonl" else "b.png,4")  # half a row, as a kill leaves it
    capsys.readouterr()
    assert score_photographs(images, None, outputs) == 0
    assert scored == ["a.png", "b.png", "c.png", "c.png"]
    assert "3 of 3 scored, 2 of them from an earlier run" in capsys.readouterr().err
    whole = place.read_bytes()
    assert score_photographs(images, None, outputs) == 0 and len(scored) == 4 and place.read_bytes() == whole
    assert score_photographs(images, 70.0, outputs) == 0 and len(scored) == 7  # another angle: other scores
    Image.fromarray(view[:, :240]).save(tmp_path / "b.png")
    assert score_photographs(images, 70.0, outputs) == 0 and scored[7:] == ["b.png"]
    assert place.read_text().count("b.png") == 1
