"""Stage 4 with VMamba: the preset `paper` from a checkpoint and panoramas to features, on a small stand-in variant."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

import global_feature_extractor
from mmifn.core.artefact import load
from mmifn.data.features import GlobalFeatures
from mmifn.data.images import read_image
from mmifn.data.workspace import Workspace
from mmifn.encoders.pooling import pool_erp_grid
from mmifn.encoders.vmamba import VMambaConfig, build_vmamba, config, wrapped_features
from mmifn.sphere import resize_erp

DIMS = (8, 16, 24, 32)


@pytest.fixture(autouse=True)
def small_variants(monkeypatch):
    for name, vanilla in (("small", False), ("small_vanilla", True)):
        shape = VMambaConfig(DIMS, (1, 1, 1, 1), vanilla=vanilla)
        monkeypatch.setitem(config.VARIANTS, name, config.Variant(shape, f"http://127.0.0.1:1/{name}.pth", 100, ()))
        monkeypatch.setitem(config._NAMES, name, name)


@pytest.fixture
def space(tmp_path):
    space, rng = Workspace(tmp_path / "ws"), np.random.default_rng(0)
    space.images_dir("DS").mkdir(parents=True)
    rows = ["image_name,MOS,distortion_type,reference"]
    for i in range(2):
        Image.fromarray(rng.integers(0, 256, (160, 320, 3), dtype=np.uint8)).save(space.images_dir("DS") / f"{i}.png")
        rows.append(f"{i}.png,{5 + i},GN,s{i}")
    space.manifest("DS").write_text("\n".join(rows) + "\n")
    return space


def checkpoint(path, name="small", seed=0, classes=1000):
    torch.manual_seed(seed)
    model = build_vmamba(name, num_classes=classes)
    torch.save({"model": model.state_dict()}, path)
    return model.eval()


def run(space, *more):
    return global_feature_extractor.main(["--root", str(space.root), "--dataset", "DS", "--device", "cpu", "--global-encoder",
                                          "small", "--erp-height-px", "128", *more])


@torch.no_grad()
@pytest.mark.parametrize("wrap_px", (0, 32))
def test_features_are_the_pooled_stages_2_to_4_of_the_reduced_panorama(space, tmp_path, wrap_px):
    weights = tmp_path / "w.pth"
    model = checkpoint(weights)
    assert run(space, "--global-weights", str(weights), "--wrap-px", str(wrap_px)) == 0
    features = load(space.features("DS", "global_features"), GlobalFeatures, dataset="DS")
    assert [tuple(level.shape) for level in features.levels] == [(2, 32, dim) for dim in DIMS[1:]]
    assert {level.dtype for level in features.levels} == {torch.float16}
    assert features.made_by.encoder == "small" and features.made_by.preprocess["wrap_px"] == wrap_px
    assert features.made_by.weights_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    erp = resize_erp(read_image(space.images_dir("DS") / "1.png"), 128, 256)[None]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    wanted = [pool_erp_grid(maps, (4, 8))[0] for maps in wrapped_features(model, (erp - mean) / std, wrap_px)[1:]]
    for level, want in zip(features.levels, wanted, strict=True):
        torch.testing.assert_close(level[1].float(), want, rtol=2e-3, atol=2e-3)


def test_other_weights_or_another_seam_are_encoded_anew(space, tmp_path):
    seen = []
    for seed, wrap in ((0, "0"), (1, "0"), (1, "32")):
        checkpoint(tmp_path / "w.pth", seed=seed)
        assert run(space, "--global-weights", str(tmp_path / "w.pth"), "--wrap-px", wrap) == 0
        seen.append(load(space.features("DS", "global_features"), GlobalFeatures))
    assert len({each.made_by.method_digest() for each in seen}) == 3
    assert not torch.equal(seen[0].levels[0], seen[1].levels[0]) and not torch.equal(seen[1].levels[0], seen[2].levels[0])


def test_bad_weights_are_one_message_and_write_nothing(space, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MMIFN_CACHE", str(tmp_path / "cache"))
    weights = tmp_path / "w.pth"
    checkpoint(weights, "small_vanilla")
    named = ["--global-weights", str(weights)]
    broken = {"not a checkpoint of small, but of small_vanilla": named,
              "does not exist": ["--global-weights", str(tmp_path / "none.pth")],
              "or anywhere, and name it: --global-weights FILE": []}
    for words, argv in broken.items():
        assert run(space, *argv) == 2
        err = capsys.readouterr().err
        assert words in err and err.count("error: ") == 1
    checkpoint(weights, classes=3)
    assert run(space, *named) == 2
    err = capsys.readouterr().err
    assert "does not fit small (2 tensors differ)" in err and "classifier.head.bias: file (3,), network (1000,)" in err
    state = checkpoint(weights).state_dict()
    state["patch_embed.0.weight"].fill_(float("nan"))
    torch.save({"model": state}, weights)
    assert run(space, *named) == 2
    assert "not finite" in capsys.readouterr().err
    assert not space.features("DS", "global_features").exists()
