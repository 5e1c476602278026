"""The calibration of the measured words: scenes never shared, severities on the scale of opinion, kinds told apart."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mmifn.describe.measured import calibration, fitting_local, local
from mmifn.describe.measured.fitting import (
    MILD,
    Sample,
    fit_constants,
    gather_samples,
    ms_ssim_loss,
    severity_of,
    split_scenes,
    write_constants,
)
from mmifn.describe.measured.statistics import NAMES
from tools import calibrate_words


def samples(count=30):
    """Made-up pictures; in each kind one statistic is higher than in the others."""
    rng, made = np.random.default_rng(3), []
    for type_, part, strength, loss, told_by in (
        ("pristine", "", 0.0, 0.0, "fine_q98"),
        ("GN", "noise", 40.0, 0.1, "fine_q10"),
        ("GB", "blur", 4.0, 0.2, "ringing"),
        ("JPEG", "compression", 5.0, 0.3, "middle_q50"),
    ):
        for i in range(count):
            values = rng.uniform(0.2, 0.4, len(NAMES))
            values[NAMES.index(told_by)] += 1
            values[NAMES.index("blocking")] = calibration.BLOCKED * (2 if i % 2 else 0.5)
            made.append(Sample(f"s{i % 5}", type_, strength, values, {part: loss} if part else {}, loss))
    return made


def test_scenes_of_one_place_never_part():
    scenes = [SimpleNamespace(name=f"{place}{i}", location=place) for place in "abcdefghij" for i in range(3)]
    fitting, checking = split_scenes(scenes)
    assert {scene.location for scene in fitting}.isdisjoint(scene.location for scene in checking)
    assert (len(fitting), len(checking)) == (9, 21)  # 27 % of ten places


def test_severity_is_read_through_the_published_opinions():
    assert [severity_of(loss) for loss in (0.0, 0.004, 0.008, 0.30, 0.9)] == pytest.approx([0, 0.1, 0.225, 5, 5])


def test_loss_is_nothing_for_the_same_picture_and_grows_with_noise():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (192, 384, 3), dtype=np.uint8)
    noise = rng.normal(size=picture.shape)
    losses = [ms_ssim_loss(picture, np.clip(picture + sd * noise, 0, 255).astype(np.uint8)) for sd in (0, 10, 40)]
    assert losses[0] == pytest.approx(0, abs=1e-6) and losses[0] < losses[1] < losses[2] < 1


def test_constants_are_written_and_tell_the_kinds_apart(tmp_path):
    made = samples()
    write_constants(fit_constants(made), tmp_path / "constants.json")
    constants = json.loads((tmp_path / "constants.json").read_text(encoding="utf-8"))
    assert constants["kinds"] == ["blur", "compression", "noise", "none"] and constants["samples"] == 120
    assert constants["scenes"] == [f"s{i}" for i in range(5)] and constants["features"] == list(calibration.FEATURES)
    shipped = json.loads(calibration.FILE.read_text(encoding="utf-8"))
    assert set(shipped) == set(constants)
    assert all(np.shape(constants[name]) == np.shape(shipped[name]) for name in ("mean", "kind_weights", "severity_weights"))
    measured = np.array([calibration.features(dict(zip(NAMES, sample.values, strict=True))) for sample in made])
    standard = (measured - constants["mean"]) / constants["scale"]
    told = (standard @ np.transpose(constants["kind_weights"]) + constants["kind_bias"]).argmax(axis=1)
    wanted = [constants["kinds"].index({"pristine": "none", "GN": "noise", "GB": "blur", "JPEG": "compression"}[sample.type])
              for sample in made]
    assert np.mean(told == wanted) > 0.95


def test_a_mild_distortion_is_not_asked_for():
    """With noise too weak to be seen labelled by nothing, only the other kinds are learnt."""
    mild = [replace(sample, strength=MILD["GN"] - 1) if sample.type == "GN" else sample for sample in samples()]
    assert fit_constants(mild)["kinds"] == ["blur", "compression", "none"]


def test_measurements_are_read_again(tmp_path):
    made = samples(2)
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps({**vars(sample), "values": sample.values.tolist()}) + "\n" for sample in made))
    back = gather_samples([], 1, path)
    assert [(sample.scene, sample.type, sample.loss, sample.values.tolist()) for sample in back] == [
        (sample.scene, sample.type, sample.loss, sample.values.tolist()) for sample in made]


def test_the_judge_of_parts_goes_where_it_is_asked_to(tmp_path, monkeypatch, capsys):
    there = local.FILE.read_bytes()
    monkeypatch.setattr(fitting_local, "fit_local", lambda scenes, workers: {"samples": len(scenes), "bias": [0.5]})
    call = ["--panoramas", "synthetic", "--local", "--out", str(tmp_path / "l.json")]
    assert calibrate_words.main(call) == 0
    made = json.loads((tmp_path / "l.json").read_text())
    assert made["bias"] == [0.5] and made["samples"] > 0 and local.FILE.read_bytes() == there
    assert calibrate_words.main([*call, "--samples", str(tmp_path / "s.jsonl")]) == 2
    assert "--local has none to keep" in capsys.readouterr().err
