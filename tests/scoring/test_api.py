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
from mmifn.encoders import people
from mmifn.scoring import panorama as panorama_module
from mmifn.scoring.api import spheres_of


def test_every_kind_of_picture_gives_its_pixels(tmp_path):
    pixels = panorama(256)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    planes = torch.from_numpy(pixels).movedim(-1, 0) / 255
    for image in (pixels, pixels / 255, (pixels / 255).astype(np.float32), planes, planes[None].double(), Image.fromarray(pixels),
                  content, io.BytesIO(content), str(tmp_path / "a.png"), tmp_path / "a.png"):
        np.testing.assert_array_equal(spheres_of(image)[0].erp, pixels)
    black_and_white = np.repeat(np.array([0.0, 1.0]), 128 * 128 * 3).reshape(256, 128, 3).swapaxes(0, 1)
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
def test_batches_go_through_each_network_at_once_and_give_the_same_scores(tmp_path, monkeypatch):
    model = mmifn.load_model(write_model(tmp_path / "m.safetensors"), device="cpu")
    pixels = [panorama(256, seed) for seed in (0, 1, 2)]
    alone, passes = [model.score(erp) for erp in pixels], []
    embed = panorama_module.embed_several_views
    monkeypatch.setattr(panorama_module, "embed_several_views", lambda *args: passes.append(len(args[0])) or embed(*args))
    batched = list(model.score_many((erp for erp in pixels), batch_size=2))
    assert passes == [2, 1]
    for one, other in zip(alone, batched, strict=True):
        assert other.score == pytest.approx(one.score, abs=2e-3) and other.description == one.description
        assert [view.score for view in other.viewports] == pytest.approx([view.score for view in one.viewports], abs=5e-3)
    said = model.score_many([pixels[0], np.zeros((64, 100, 3), np.uint8), pixels[1]], batch_size=3)
    assert next(said).score == alone[0].score
    with pytest.raises(mmifn.UserError, match="100"):
        next(said)
    with pytest.raises(mmifn.UserError, match="batch_size 0: at least 1"):
        model.score_many(pixels, batch_size=0)


@needs_encoders
def test_one_checkpoint_is_one_model_by_whichever_way(tmp_path):
    path, pixels = write_model(tmp_path / "m.safetensors"), panorama(256)
    said = mmifn.score(pixels, checkpoint=str(path), device="cpu")
    assert said == mmifn.load_model(path, device="cpu").score(pixels) and said.score != mmifn.score(pixels, device="cpu").score


@needs_encoders
@pytest.mark.skipif(not people.weights_file().is_file(), reason="weights of the offline preset's encoders are not there")
def test_a_view_of_any_kind_is_scored_as_its_pixels(tmp_path):
    model = mmifn.load_model(write_model(tmp_path / "m.safetensors"), device="cpu")
    view = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    Image.fromarray(view).save(tmp_path / "view.png")
    wanted = mmifn.score_view(view, fov_deg=60, device="cpu")
    for image in (tmp_path / "view.png", (tmp_path / "view.png").read_bytes(), Image.fromarray(view),
                  torch.from_numpy(view).movedim(-1, 0) / 255):
        assert model.score_view(image, fov_deg=60) == wanted
    assert model.score_view(view).score != wanted.score
    with pytest.raises(mmifn.UserError, match="is 100x100"):
        model.score_view(np.zeros((100, 100, 3), np.uint8))


@needs_encoders
def test_the_documents_examples_hold():
    found = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False)
    assert found.failed == 0 and found.attempted > 8
