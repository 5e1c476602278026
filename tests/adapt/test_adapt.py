"""Adapting encoders: which scenes may be used, what is learnt from, resuming, and what the weights file says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import write_csv
from safetensors import safe_open

from mmifn.adapt import fit as training
from mmifn.adapt.samples import KINDS, TARGETS, Making, Samples, make_samples
from mmifn.adapt.scenes import outside_scenes, set_apart
from mmifn.core.errors import UserError
from mmifn.data.workspace import Workspace
from mmifn.encoders import adaptable, adapted
from mmifn.encoders.adapted import BACKBONES, load_adapted
from mmifn.encoders.encoder import HALF
from mmifn.encoders.networks import load_erp_encoder, load_view_encoder
from mmifn.encoders.presets import choose
from mmifn.simulate.panoramas import Scene, find_scenes

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")


def scenes_of(*places):
    return [Scene(f"{place}_{i}", place, None) for i, place in enumerate(places)]


def test_no_scene_of_a_benchmark_nor_of_its_places_is_left(tmp_path):
    space = Workspace(tmp_path)
    write_csv(space.manifest("OIQA"), ["image_name", "MOS", "reference", "location"], [["a.png", "50", "pier_0", "pier"]])
    scenes = scenes_of("pier", "pier", "hall", "hall", "wood", "street", "roof", "lake")
    left = outside_scenes(scenes, space, ["OIQA"], ["hall_2"])
    assert [scene.location for scene in left] == ["wood", "street", "roof", "lake"]
    with pytest.raises(UserError, match="at least 4"):
        outside_scenes(scenes, space, ["OIQA"], ["hall_2", "wood_4"])
    with pytest.raises(UserError, match=r"no panorama is called:\n.*nowhere"):
        outside_scenes(scenes, space, ["OIQA"], ["nowhere"])
    with pytest.raises(UserError, match="does not exist; make or import CVIQ"):
        outside_scenes(scenes, space, ["CVIQ"], [])


def test_scenes_that_are_looked_at_are_of_other_places():
    scenes = scenes_of("a", "a", "b", "b", "c", "d", "e", "f")
    for seed in range(5):
        train, held_out = set_apart(scenes, 2, seed)
        assert len(train) + len(held_out) == 8 and not {s.location for s in train} & {s.location for s in held_out}
        assert len({s.location for s in held_out}) == 2


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    scenes = [Scene(scene.name, scene.location, None) for scene in find_scenes("synthetic")[:2]]
    folder = tmp_path_factory.mktemp("samples")
    return make_samples(scenes, Making(versions=4), folder, 1), scenes, folder


def test_samples_say_what_was_done_to_them(samples):
    made, scenes, folder = samples
    for each in made.values():
        assert each.views.shape == (40, 3, 160, 160) and each.targets.shape == (40, len(TARGETS))
        kinds, (mos, gmsd, ssim) = each.targets[:, :len(KINDS)], each.targets[:, len(KINDS):].T
        pristine = kinds.sum(dim=1) == 0
        assert (gmsd[pristine] < 1e-6).all() and (ssim[pristine] > 1 - 1e-6).all()
        assert (torch.isnan(mos) == (torch.isnan(mos) | (kinds.sum(dim=1) == 2))).all()
        for version in each.targets.split(10):  # one version: one distortion, and metrics of each view
            assert (version[:, :len(KINDS)] == version[0, :len(KINDS)]).all()
    before = sorted(path.stat().st_mtime_ns for path in folder.iterdir())
    again = make_samples(scenes, Making(versions=4), folder, 1)
    assert sorted(path.stat().st_mtime_ns for path in folder.iterdir()) == before
    assert all(torch.equal(again[name].views, made[name].views) for name in made)


def made_up_samples(count=64):
    """Views whose brightness is their quality: anything that learns at all learns that."""
    generator = torch.Generator().manual_seed(0)
    quality = torch.rand(count, generator=generator)
    views = (quality[:, None, None, None] * 200 + 20 * torch.rand(count, 3, 32, 32, generator=generator)).byte()
    targets = torch.zeros(count, len(TARGETS))
    targets[:, 0] = (quality > 0.5).float()
    targets[:, -3], targets[:, -2], targets[:, -1] = 20 + 50 * quality, 0.3 * (1 - quality), quality
    targets[::7, -3] = torch.nan
    return Samples(views, targets)


@pytest.fixture
def config():
    return training.AdaptConfig("lite0_adapted", 6, 1e-3, batch_size=16)


def test_an_encoder_learns_and_says_what_it_was_taught(tmp_path, config):
    out = tmp_path / "w.safetensors"
    found = training.adapt(config, {"a": made_up_samples()}, {"b": made_up_samples()}, out, tmp_path / "state.pt", CPU)
    assert found["srcc_mos"] > 0.9 and found["srcc_gmsd"] > 0.9 and not (tmp_path / "state.pt").exists()
    _, about = load_adapted("lite0_adapted", out)
    assert about["scenes"] == ["a"] and about["held_out_scenes"] == ["b"] and about["targets"] == list(TARGETS)
    assert about["held_out"] == found
    with safe_open(out, "pt") as file:
        dtypes = {key: file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118
    counts = {key for key in dtypes if key.endswith("num_batches_tracked")}
    assert counts and {dtypes[key] for key in dtypes if key not in counts} == {torch.float16}
    erp = load_erp_encoder(choose("offline", global_="lite0_adapted", erp_height_px=128), CPU, out)
    levels = erp(torch.rand(1, 3, 128, 256))
    assert [tuple(level.shape) for level in levels] == [(1, 32, 80), (1, 32, 224), (1, 32, 640)]
    assert erp.settings["adapted_on"] == ["a"]


def test_a_killed_adaptation_ends_as_if_it_had_not_been(tmp_path, config, monkeypatch):
    monkeypatch.setattr(training, "_SAVE_EVERY", 5)
    data = {"a": made_up_samples()}
    training.adapt(config, data, data, tmp_path / "whole", tmp_path / "s1", CPU)
    saved, keep = [], training.keep

    def save_and_stop(path, run, step, parts):
        keep(path, run, step, parts)
        saved.append(step)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "keep", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        training.adapt(config, data, data, tmp_path / "cut", tmp_path / "s2", CPU)
    assert not (tmp_path / "cut").exists() and saved == [5, 10]
    training.adapt(config, data, data, tmp_path / "cut", tmp_path / "s2", CPU)
    assert (tmp_path / "cut").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_view_gives_the_scores_of_the_head(tmp_path, config):
    data = {"a": made_up_samples(32)}
    training.adapt(config, data, data, tmp_path / "w", tmp_path / "s", CPU)
    network, _ = load_adapted("lite0_adapted", tmp_path / "w")
    images = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in HALF)
    with torch.no_grad():
        wanted = network.eval()((images - mean) / std)[1][:, -3:]
    assert TARGETS[-3:] == ("mos", "gmsd", "ssim")
    torch.testing.assert_close(load_view_encoder("lite0_adapted", CPU, tmp_path / "w")(images), wanted, atol=1e-4, rtol=1e-4)


def test_weights_that_are_missing_damaged_or_of_another_encoder(tmp_path, config):
    with pytest.raises(UserError, match="does not exist: the adapted weights of lite0_adapted"):
        load_adapted("lite0_adapted", tmp_path / "none")
    (tmp_path / "broken").write_bytes(b"no safetensors")
    with pytest.raises(UserError, match="not a readable safetensors file"):
        load_adapted("lite0_adapted", tmp_path / "broken")
    data = {"a": made_up_samples(32)}
    training.adapt(config, data, data, tmp_path / "lite0", tmp_path / "s", CPU)
    with pytest.raises(UserError, match=r"holds lite0_adapted .* wanted vmamba_nano"):
        load_adapted("vmamba_nano", tmp_path / "lite0")


@pytest.mark.parametrize("name", [name for name in sorted(BACKBONES) if adaptable.weights_file(name).is_file()])
def test_the_weights_in_the_repository_load_and_name_their_scenes(name):
    _, about = load_adapted(name)
    assert len(about["scenes"]) >= 20 and not set(about["scenes"]) & set(about["held_out_scenes"])
    encoder = load_view_encoder(name, CPU)
    features = encoder(torch.rand(2, 3, 224, 224))
    assert features.shape == (2, adapted.SCORES) and torch.isfinite(features).all()


def test_the_script_refuses_bad_wishes(tmp_path):
    def run(*args):
        return subprocess.run([sys.executable, str(ROOT / "tools" / "adapt_encoders.py"), "--root", str(tmp_path), *args],
                              capture_output=True, text=True, check=False)

    common, nano = ("--encoder", "lite0_adapted", "--panoramas"), ("--encoder", "vmamba_nano", "--panoramas", "synthetic")
    for args, message in (((*common, str(tmp_path / "none")), "is not a folder"),
                          ((*common, "synthetic"), "make or import OIQA first"),
                          ((*common, "synthetic", "--datasets", "--held-out", "99"), "--held-out 99: wanted 1 to"),
                          ((*common, "synthetic", "synthetic", "--datasets"), "two pictures have the name of one scene"),
                          ((*common, "synthetic", "--datasets", "--versions", "0"), "--versions 0: at least 1 is needed"),
                          ((*common, "synthetic", "--datasets", "--seed", "-1"), "--seed -1: wanted 0 or more"),
                          ((*nano, "--datasets", "--parts", "0"), "--parts 0: at least 1 is needed"),
                          ((*nano, "--datasets"), "is of a place that lite0_adapted learnt from; wanted some of:")):
        result = run(*args)
        assert result.returncode == 2 and message in result.stderr and "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="--epochs 0: at least 1 is needed"):
        training.AdaptConfig("vmamba_nano", 0, 1e-3)
    for rate in (0.0, -1e-3, float("nan"), float("inf")):
        with pytest.raises(UserError, match="--learning-rate"):
            training.AdaptConfig("vmamba_nano", 1, rate)


def test_metadata_is_readable_by_anyone(tmp_path, config):
    data = {"a": made_up_samples(32)}
    training.adapt(config, data, data, tmp_path / "w", tmp_path / "s", CPU)
    with safe_open(tmp_path / "w", "pt") as file:
        about = json.loads(file.metadata()["about"])
    assert about["config"]["seed"] == 0 and about["config"]["encoder"] == "lite0_adapted"
