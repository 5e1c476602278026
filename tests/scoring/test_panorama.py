"""mmifn.score and the predictor: the mean of the views, the same from file and pixels, and clear refusals."""

import copy
import dataclasses
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from stand_in import HALF_WIDTH, OFFLINE, make_checkpoint, needs_encoders, panorama, write_model

import mmifn
from mmifn.core.errors import UserError
from mmifn.scoring import panorama as predictor
from mmifn.scoring.model import load_model, save_model
from mmifn.scoring.panorama import open_predictor
from mmifn.scoring.prediction import in_words
from mmifn.simulate import curves
from mmifn.sphere import HEADSET_PPD, SAMPLERS
from mmifn.training.checkpoint import save_checkpoint
from mmifn.training.fit import MosScale

pytestmark = needs_encoders


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "offline.safetensors")


@pytest.fixture
def shipped(model, monkeypatch):
    """Let the stand-in be the model that comes with the package."""
    open_predictor.cache_clear()
    monkeypatch.setattr(predictor, "shipped_path", lambda preset: model)
    yield
    open_predictor.cache_clear()


@pytest.fixture(scope="module")
def said(model):
    return open_predictor("offline", model, "cpu").score_pixels(panorama(256))


def test_the_score_is_the_mean_of_the_viewports(said):
    scores = [view.score for view in said.viewports]
    assert len(scores) == 20 and np.ptp(scores) > 1 and 0 < min(scores) < max(scores) < 100
    assert said.score == pytest.approx(np.mean(scores), abs=1e-9)
    assert said.quality == in_words(said.score) and said.fov_deg == OFFLINE.fov_deg
    assert [(view.lon_deg, view.lat_deg) for view in said.viewports] == [tuple(c) for c in SAMPLERS[OFFLINE.sampler]().tolist()]


def test_the_interval_is_that_of_the_calibration(said):
    assert said.interval == pytest.approx((said.score - HALF_WIDTH, said.score + HALF_WIDTH)) and said.level == 0.9


def test_the_score_is_that_of_the_stages(said, model):
    """The features by the encoders, the scores by the network, without the predictor."""
    loaded = open_predictor("offline", model, "cpu")
    inputs, description = loaded.encoders.encode(panorama(256), OFFLINE)
    with torch.inference_mode():
        raw = loaded.network(inputs)[0].double().numpy()
    np.testing.assert_allclose([view.score for view in said.viewports], raw * 150 + 45, rtol=1e-6)
    scores = np.array([view.score for view in said.viewports])
    reading = description.reading(SAMPLERS[OFFLINE.sampler]().numpy(), scores)
    assert said.description == reading.told and f"{said.description} Overall: " in description.text
    assert "Overall" not in said.description  # the score is the only verdict
    worst = said.viewports[said.worst(1)[0]]
    assert len(said.worst_words) == 3 and said.worst_words[0] == reading.of_view(worst.lon_deg, worst.lat_deg)


@pytest.mark.parametrize("slow", ["describe", "embed_several_views"])
def test_the_whole_is_embedded_where_there_is_time_first(slow, said, model, monkeypatch):
    """Beside the views where the words are done with, by the thread of the views where those are; once, with the same score."""
    embed, waiting, embedded = predictor.embed_several_erps, getattr(predictor, slow), threading.Event()
    by: list[bool] = []

    def embeds(*args):
        by.append(threading.current_thread() is threading.main_thread())
        embedded.set()
        return embed(*args)

    def waits(*args):
        assert embedded.wait(60)
        return waiting(*args)

    monkeypatch.setattr(predictor, "embed_several_erps", embeds)
    monkeypatch.setattr(predictor, slow, waits)
    assert open_predictor("offline", model, "cpu").score_pixels(panorama(256)) == said
    assert by == [slow == "describe"]


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 2), (16, 2)])
def test_words_are_measured_by_the_cores_that_the_views_leave(cores, threads, model, monkeypatch):
    describe, asked = predictor.describe, []
    monkeypatch.setattr(predictor, "usable_cores", lambda: cores)
    monkeypatch.setattr(predictor, "describe", lambda erp, count: asked.append(count) or describe(erp, count))
    open_predictor("offline", model, "cpu").score_pixels(panorama(256))
    assert asked == [threads]


def test_a_model_whose_labels_count_the_size_says_what_a_flawless_panorama_gets(model, said, tmp_path):
    save_model(dataclasses.replace(load_model(model), counts_size=True), tmp_path / "x.safetensors")
    counting = open_predictor("offline", tmp_path / "x.safetensors", "cpu")
    other = counting.score_pixels(panorama(256))
    assert said.ceiling is None and other.ceiling == curves.ceiling(256) < curves.ceiling(1024) < curves.ceiling(4096)
    assert other.score == said.score and other.model != said.model  # rows with and without are told apart
    finer = open_predictor("offline", tmp_path / "x.safetensors", "cpu", 2 * HEADSET_PPD)
    assert finer.ceiling(4096) == pytest.approx(curves.ceiling(2048)) and finer.identity != counting.identity


def test_a_finer_headset_sees_other_views(model, said):
    finer = open_predictor("offline", model, "cpu", 2 * HEADSET_PPD)
    other = finer.score_pixels(panorama(256))
    assert other.fov_deg == pytest.approx(20.6, abs=0.1) and other.score != said.score and other.model != said.model
    finest = open_predictor("offline", model, "cpu", 3 * HEADSET_PPD)
    assert len({said.model, finer.identity, finest.identity}) == 3  # rows for one are not taken for another's
    with pytest.raises(UserError, match="--pixels-per-degree must lie between 5 and 60, got 3"):
        open_predictor("offline", model, "cpu", 3.0)


def test_a_view_that_is_scored_low_is_not_called_clean(said):
    class Clean:
        def of_view(self, _lon, _lat):
            return "clean, no visible distortion. Vivid colours."

    views = tuple(dataclasses.replace(view, score=score) for view, score in zip(said.viewports, (51.6, 51.4, 90.0), strict=False))
    other = dataclasses.replace(said, viewports=views, ceiling=66.5)  # 15 points below which is 51.5
    assert predictor._worst_words(other, Clean()) == (
        "scored low for what words do not tell. Vivid colours.", *["clean, no visible distortion. Vivid colours."] * 2)
    assert set(predictor._worst_words(dataclasses.replace(other, ceiling=None), Clean())) == {
        "clean, no visible distortion. Vivid colours."}


def test_worst_views_come_in_order(said):
    order = said.worst(20)
    scores = [said.viewports[i].score for i in order]
    assert scores == sorted(scores) and said.worst() == order[:3] and sorted(order) == list(range(20))


@pytest.mark.parametrize(("score", "word"), [(0, "bad"), (19.99, "bad"), (20, "poor"), (40, "fair"), (59.9, "fair"), (60, "good"),
                                             (80, "excellent"), (100, "excellent")])  # fmt: skip
def test_words_are_fifths_of_the_scale(score, word):
    assert in_words(score) == word


def test_file_and_pixels_give_the_same(shipped, tmp_path):
    Image.fromarray(panorama(256)).save(tmp_path / "x.png")
    a, b = mmifn.score(tmp_path / "x.png", device="cpu"), mmifn.score(panorama(256), device="cpu")
    assert a == b == mmifn.score(str(tmp_path / "x.png"), device="cpu") and isinstance(a, mmifn.Prediction)
    assert a != mmifn.score(panorama(256, seed=1), device="cpu")


def test_how_pixels_lie_in_memory_does_not_matter(shipped):
    pixels = panorama(256)
    mirrored = np.ascontiguousarray(pixels[:, ::-1])[:, ::-1]
    frozen = pixels.copy()
    frozen.flags.writeable = False
    assert mmifn.score(pixels) == mmifn.score(mirrored) == mmifn.score(frozen) == mmifn.score(np.asfortranarray(pixels))


def test_the_model_stays_loaded(shipped, monkeypatch):
    mmifn.score(panorama(256), device="cpu")
    monkeypatch.setattr(predictor, "load_model", None)
    mmifn.score(panorama(256), device="cpu")


@pytest.mark.parametrize(("pixels", "message"), [
    (np.zeros((128, 256), np.uint8), r"\(H, W, 3\), uint8 or floating-point in 0..1; got \(128, 256\) uint8"),
    (np.zeros((128, 256, 4), np.uint8), r"got \(128, 256, 4\)"),
    (np.zeros((3, 128, 256), np.uint8), r"got \(3, 128, 256\)"),
    (np.full((128, 256, 3), 2, np.float32), "0..1, found 2"), (np.zeros((128, 256, 3), np.uint8), "one colour"),
    (np.zeros((256, 256, 3), np.uint8), "panorama is 2:1"),
    (np.zeros((16, 32, 3), np.uint8), "at least 256x128"),
    (np.zeros((0, 0, 3), np.uint8), "at least 256x128"),
])  # fmt: skip
def test_pixels_that_are_no_panorama_are_refused_before_a_model_is_loaded(pixels, message, monkeypatch):
    monkeypatch.setattr(predictor, "open_predictor", None)
    with pytest.raises(UserError, match=message):
        mmifn.score(pixels)


def test_files_that_are_no_panorama_are_refused(tmp_path, shipped):
    with pytest.raises(UserError, match="does not exist"):
        mmifn.score(tmp_path / "none.png")
    Image.fromarray(panorama(256)[:, :200]).save(tmp_path / "x.png")
    with pytest.raises(UserError, match=r"200x128 .* is 2:1"):
        mmifn.score(tmp_path / "x.png")


def test_unknown_presets_and_presets_without_a_model():
    with pytest.raises(UserError, match="'best' is unknown; there are: offline, offline-lite0, paper"):
        mmifn.score(panorama(256), preset="best")
    with pytest.raises(UserError, match="no trained model comes with the package for the preset 'paper'"):
        mmifn.score(panorama(256), preset="paper")


def test_a_model_of_other_features_is_refused(tmp_path):
    method = make_checkpoint().method | {"viewport_features": "other"}
    path = write_model(tmp_path / "x.safetensors", method=method)
    with pytest.raises(UserError, match=r"other encoders or settings(.|\n)*viewport_features  file other(.|\n)*--checkpoint"):
        open_predictor("offline", path, "cpu")


def test_scores_are_clipped_to_the_scale_and_the_interval_with_them(tmp_path):
    path = write_model(tmp_path / "x.safetensors", scale=MosScale(101.0, 10.0))
    said = open_predictor("offline", path, "cpu").score_pixels(panorama(256))
    assert max(view.score for view in said.viewports) == 100 == said.interval[1] and said.quality == "excellent"
    assert said.interval[0] < said.score <= 100


def test_a_score_that_is_not_finite_is_refused(model):
    loaded = open_predictor("offline", model, "cpu")
    network = copy.deepcopy(loaded.network)
    next(network.parameters()).data.fill_(torch.nan)
    with pytest.raises(UserError, match=r"a\.jpg: .* not finite"):
        dataclasses.replace(loaded, network=network).score_pixels(panorama(256), "a.jpg")


def test_a_scale_of_one_to_ten_becomes_percent(tmp_path, said):
    """45 + 150 x on 0..100 is 1 + .09 (45 + 150 x) = 5.05 + 13.5 x on 1..10; ± 7.5 there is ± 83 points: the whole scale."""
    path = write_model(tmp_path / "x.safetensors", scale=MosScale(5.05, 13.5), mos_scale="1-10")
    other = open_predictor("offline", path, "cpu").score_pixels(panorama(256))
    assert other.score == pytest.approx(said.score, abs=1e-6)
    assert other.viewports[3].score == pytest.approx(said.viewports[3].score, abs=1e-6)
    assert other.interval[1] == 100 and other.interval[0] == pytest.approx(max(0, said.score - 7.5 / 0.09), abs=1e-6)


def test_a_checkpoint_of_training_scores_without_an_interval(tmp_path, said):
    save_checkpoint(make_checkpoint(), tmp_path / "x.pth")
    other = open_predictor("offline", tmp_path / "x.pth", "cpu").score_pixels(panorama(256))
    assert other.interval is None and other.level is None
    # The identity tells the same weights with and without a calibration apart.
    assert other.model != said.model and other.viewports == said.viewports
    assert dataclasses.replace(other, interval=said.interval, level=0.9, model=said.model) == said


def test_what_is_said_of_the_picture_comes_with_the_score(said, model):
    assert said.warnings == () and said.covered == 1 and said.judged_px == 256 and said.heading_deg is None
    predictor = open_predictor("offline", model, "cpu")
    padded = panorama(256)
    padded[100:] = 0
    other = predictor.score_pixels(padded)
    assert "a black cap below" in other.warnings[0] and "views have content; the score is theirs" in other.warnings[1]
    # Of the rings of views at 52.6°, 10.8°, -10.8° and -52.6° the first two look above -50.6°, where content ends; of those at
    # -10.8°, 20° to either side, nearly all of the view does too.
    assert {round(view.lat_deg, 1) for view in other.viewports} == {52.6, 10.8, -10.8}
    assert other.score == pytest.approx(np.mean([view.score for view in other.viewports]), abs=1e-9) and 0.8 < other.covered < 0.9
    with pytest.raises(UserError, match=r"a\.jpg is no equirectangular panorama but all but one colour"):
        predictor.score_pixels(np.zeros((128, 256, 3), np.uint8), "a.jpg")
