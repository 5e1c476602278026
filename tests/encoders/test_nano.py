"""The small ViT against its equations, the small networks at any size, and the weights that the package brings."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mmifn.core.errors import UserError
from mmifn.encoders import conv_stem
from mmifn.encoders.adaptable import weights_file
from mmifn.encoders.adapted import NANO_VMAMBA, SCORES, load_adapted
from mmifn.encoders.networks import load_erp_encoder, load_view_encoder
from mmifn.encoders.presets import PRESETS, choose
from mmifn.encoders.state import valueless
from mmifn.encoders.vit_nano import HEADS, LAYERS, MAPS, MLP_RATIO, STRIDE, TAPS, WIDTH, ViTNano, positions

CPU = torch.device("cpu")
NANO = ("vit_nano", "vmamba_nano")


def normed(x, state, key):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * state[f"{key}.weight"] + state[f"{key}.bias"]


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def convolved(x, weight, bias):
    """(H, W, C) with stride 2 and a border of zeros."""
    rows, columns = (-(-side // 2) for side in x.shape[:2])
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    out = np.empty((rows, columns, len(bias)))
    for i in range(rows):
        for j in range(columns):
            patch = padded[2 * i:2 * i + 3, 2 * j:2 * j + 3].transpose(2, 0, 1)
            out[i, j] = (weight * patch).sum((1, 2, 3)) + bias
    return out


def by_the_equations(seen, state):
    """Pre-norm Transformer layers over tokens of the stem's map (C, H, W), in numpy: the tokens after each of TAPS."""
    x = convolved(seen.transpose(1, 2, 0), state["enter.weight"], state["enter.bias"])
    rows, columns = x.shape[:2]
    tokens = x.reshape(-1, WIDTH)
    states = [tokens]
    code = np.zeros((rows * columns, WIDTH))
    quarter = WIDTH // 4
    for token in range(rows * columns):
        for half, place in enumerate(divmod(token, columns)):
            for k in range(quarter):
                angle = place / 10000 ** (k / quarter)
                first = 2 * half * quarter + k
                code[token, first], code[token, first + quarter] = math.sin(angle), math.cos(angle)
    tokens = tokens + code
    for i in range(LAYERS):
        attention = f"layers.{i}.self_attn"
        seen = normed(tokens, state, f"layers.{i}.norm1")
        q, k, v = np.split(seen @ state[f"{attention}.in_proj_weight"].T + state[f"{attention}.in_proj_bias"], 3, 1)
        heads = []
        for part in np.split(np.arange(WIDTH), HEADS):
            weights = np.exp(q[:, part] @ k[:, part].T / math.sqrt(WIDTH / HEADS))
            heads.append(weights / weights.sum(1, keepdims=True) @ v[:, part])
        tokens = tokens + np.concatenate(heads, 1) @ state[f"{attention}.out_proj.weight"].T + state[f"{attention}.out_proj.bias"]
        inner = gelu(normed(tokens, state, f"layers.{i}.norm2") @ state[f"layers.{i}.linear1.weight"].T
                     + state[f"layers.{i}.linear1.bias"])
        tokens = tokens + inner @ state[f"layers.{i}.linear2.weight"].T + state[f"layers.{i}.linear2.bias"]
        states.append(tokens)
    return [states[tap].reshape(rows, columns, WIDTH).transpose(2, 0, 1) for tap in TAPS]


@pytest.mark.parametrize("training", [True, False])
def test_the_small_vit_is_what_its_equations_say(training):
    torch.manual_seed(0)
    network = ViTNano().train(training)
    image = torch.randn(1, 3, 37, 52)
    state = {key: value.double().numpy() for key, value in network.state_dict().items()}
    with torch.no_grad():
        maps = network(image)
    assert torch.equal(maps[0], network.stem.eval()(image))
    for mine, wanted in zip(maps[1:], by_the_equations(maps[0][0].double().numpy(), state), strict=True):
        torch.testing.assert_close(mine[0].double(), torch.from_numpy(wanted), atol=2e-5, rtol=1e-4)
    assert len(state["layers.0.linear1.bias"]) == MLP_RATIO * WIDTH


def test_positions_differ_and_do_not_depend_on_the_size():
    code = positions(3, 5).reshape(3, 5, WIDTH)
    torch.testing.assert_close(code[2, 3], positions(7, 4).reshape(7, 4, WIDTH)[2, 3])
    assert len({tuple(row.tolist()) for row in code.reshape(15, WIDTH)}) == 15


@pytest.mark.parametrize("side", [(16, 16), (33, 70), (64, 128), (101, 95)])
def test_the_small_vit_takes_any_size(side):
    maps = ViTNano().eval()(torch.rand(2, 3, *side))
    assert [tuple(level.shape) for level in maps] == [
        (2, channels, -(-side[0] // stride), -(-side[1] // stride))
        for channels, stride in zip(MAPS, (conv_stem.STRIDE, STRIDE, STRIDE), strict=True)]


# --- the weights of the package --------------------------------------------------------------------------------------


def waves(side):
    """A fixed picture (1, 3, side, side) in 0..1."""
    rows, columns = torch.meshgrid(torch.arange(side) / 7, torch.arange(side) / 11, indexing="ij")
    return torch.stack([(rows + i).sin() * (columns * (i + 1)).cos() for i in range(3)])[None] / 2 + 0.5


@pytest.mark.parametrize("name", NANO)
def test_the_weights_are_small_and_name_who_taught_them_and_where(name):
    _, about = load_adapted(name)
    assert weights_file(name).stat().st_size < 10e6
    assert about["config"]["teacher"] == "lite0_adapted" and len(about["scenes"]) >= 25
    _, teacher = load_adapted("lite0_adapted")
    assert about["held_out_scenes"] == teacher["held_out_scenes"]
    held_out = (weights_file(name).parents[3] / "docs" / "held_out_scenes.txt").read_text().split()
    assert not set(held_out) & {*about["scenes"], *about["held_out_scenes"]}
    for figure, bar in (("srcc_mos", 0.9), ("srcc_gmsd", 0.9), ("srcc_ssim", 0.89), ("kind_right", 0.92)):
        assert about["held_out"][figure] > bar


@pytest.mark.parametrize(("name", "side", "wanted"), [("vit_nano", 96, (-1.8055, 2.0927, 2.0672)),
                                                      ("vit_nano", 224, (-1.8893, 1.9842, 1.9704)),
                                                      ("vmamba_nano", 96, (-1.6366, 3.1014, 2.9479)),
                                                      ("vmamba_nano", 224, (-1.6682, 3.2170, 3.0963))])
def test_scores_of_a_fixed_picture_are_what_they_were(name, side, wanted):
    scores = load_view_encoder(name, CPU)(waves(side))
    assert scores.shape == (1, SCORES)
    np.testing.assert_allclose(scores[0].numpy(), wanted, atol=2e-3)


def test_a_network_without_values_is_built_in_one_go():
    """Truncated normals are drawn anew until all values are within bounds, which values that nobody drew may never be."""
    with valueless():
        drawn = torch.nn.init.trunc_normal_(torch.full((4,), 9.0), std=0.02)
    assert (drawn.abs() <= 2).all()


@pytest.mark.parametrize("name", NANO)
def test_weights_with_a_tensor_missing_or_of_another_size_are_refused(name, tmp_path):
    with safe_open(weights_file(name), "pt") as file:
        metadata = file.metadata()
    state = load_file(weights_file(name))
    key = max(state, key=lambda key: state[key].numel())
    save_file({k: v for k, v in state.items() if k != key}, tmp_path / "less", metadata)
    with pytest.raises(UserError, match=f"{key}: missing"):
        load_adapted(name, tmp_path / "less")
    save_file(state | {key: state[key][:-1].contiguous()}, tmp_path / "other", metadata)
    with pytest.raises(UserError, match=rf"{key}: file \("):
        load_adapted(name, tmp_path / "other")


def test_the_default_preset_is_the_methods_pair_and_that_of_its_teacher_differs_by_the_networks_alone():
    pair, teacher = PRESETS["offline"], PRESETS["offline-lite0"]
    assert (pair.viewport, pair.global_) == NANO and pair.with_people and pair.with_steps
    assert teacher == replace(pair, viewport="lite0_adapted", global_="lite0_adapted")


@pytest.mark.parametrize(("name", "channels"), [("vmamba_nano", NANO_VMAMBA.dims), ("vit_nano", MAPS)])
@pytest.mark.parametrize("height", [128, 256])
def test_a_whole_panorama_of_any_size_gives_three_levels(name, channels, height):
    encoder = load_erp_encoder(choose("offline", global_=name, erp_height_px=height, wrap_px=32), CPU)
    erp = waves(2 * height)[..., :height, :]
    levels = encoder(erp)
    assert [tuple(level.shape) for level in levels] == [(1, 32, 2 * count) for count in channels]
    assert all(torch.isfinite(level).all() for level in levels)
