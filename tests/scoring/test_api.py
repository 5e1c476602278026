"""mmifn.load_model: every kind of picture gives the same score as its pixels, and what is none is refused."""

import doctest
import io

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image
from stand_in import needs_encoders, panorama, write_model

import mmifn
from mmifn.scoring.api import spheres_of


def test_every_kind_of_picture_gives_its_pixels(tmp_path):
    pixels = panorama(256)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    planes = torch.from_numpy(pixels).movedim(-1, 0) / 255
    for image in (pixels, pixels / 255, (pixels / 255).astype(np.float32), planes, planes[None].double(), Image.fromarray(pixels),
                  content, io.BytesIO(content), str(tmp_path / "a.png"), tmp_path / "a.png"):
        np.testing.assert_array_equal(spheres_of(image)[0].erp, pixels)
    black_and_white = np.repeat(np.array([0.0, 1.0]), 64 * 64 * 3).reshape(128, 64, 3).swapaxes(0, 1)
    (halves,) = spheres_of(black_and_white, projection="equirectangular")
    assert set(halves.erp.ravel().tolist()) == {0, 255}  # the ends of the range belong to it


@pytest.mark.parametrize(("image", "message"), [
    (np.zeros((64, 128), np.uint8), r"\(64, 128\)"), (np.zeros((64, 128, 3), np.int32), "int32"),
    (np.full((64, 128, 3), 255.0), "0..1, found 255"), (np.full((64, 128, 3), np.nan), "0..1, found nan"),
    (torch.zeros(2, 3, 64, 128), "score_many"), (torch.zeros(3, 64, 128, dtype=torch.uint8), "uint8"),
    (np.zeros((64, 100, 3), np.uint8), "100"), ("https://example.org/a.jpg", "not fetched"), (ROOT, "is a folder"),
    (b"no picture", "the image")])  # fmt: skip
def test_what_is_no_panorama_is_refused(image, message):
    with pytest.raises(mmifn.UserError, match=message):
        spheres_of(image)


def test_the_limit_is_the_users(tmp_path):
    with pytest.raises(mmifn.UserError, match="the limit is"):
        spheres_of(panorama(256), 0.01)


@needs_encoders
def test_a_model_of_ones_own_scores_one_or_many(tmp_path):
    path, pixels = write_model(tmp_path / "m.safetensors"), [panorama(256, seed) for seed in (0, 1)]
    model = mmifn.load_model(path, device="cpu")
    scores = [model.score(each).score for each in pixels]
    assert scores[0] != scores[1] and scores[0] != mmifn.score(pixels[0], device="cpu").score
    batch = torch.from_numpy(np.stack(pixels)).movedim(-1, 1) / 255
    assert [found.score for found in model.score_many(batch)] == scores
    eyes = model.score_parts(np.concatenate(pixels), "stereo-tb")
    assert [eye.score for eye in eyes] == scores
    with pytest.raises(mmifn.UserError, match="projection 'fisheye' is unknown; there are: auto, equirectangular, dual-fisheye"):
        model.score_parts(pixels[0], "fisheye")
    views = model.views(pixels[0])
    assert len(views) == 20 and [view.score for view in views] == sorted(view.score for view in views)


@needs_encoders
def test_the_documents_examples_hold():
    found = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False)
    assert found.failed == 0 and found.attempted > 8
