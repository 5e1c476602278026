"""The VMamba network against published sizes, closed forms and goldens of the official code."""

import json
import math
import zlib

import numpy as np
import pytest
import torch
from skips import SHARED, needs_shared

from mmifn.core.errors import UserError
from mmifn.encoders.vmamba import VARIANTS, VMamba, VMambaConfig, build_vmamba, variant_name
from mmifn.encoders.vmamba.blocks import SS2D, DropPath, Mlp, PatchMerging, layer_norm

GOLDEN = SHARED / "golden" / "vmamba"
SMALL = VMambaConfig(dims=(8, 16, 24, 32), depths=(1, 1, 2, 1), drop_path=0.3)


def filled(key, shape):
    """The reproducible value of a parameter, as the goldens' rule has it."""
    n = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape, dtype=np.float32)
    f = np.float32
    if key.endswith("A_logs"):
        value = np.log(np.arange(1, shape[1] + 1)).astype(f)[None] + f(0.1) * n
    elif key.endswith("dt_projs_bias"):
        value = f(-4) + f(0.5) * n
    elif key.endswith("Ds") or (key.endswith("weight") and len(shape) == 1):
        value = f(1) + f(0.1) * n
    elif key.endswith(("x_proj_weight", "dt_projs_weight")):
        value = n / f(math.sqrt(shape[-1]))
    elif key.endswith("bias"):
        value = f(0.02) * n
    else:
        value = n / f(math.sqrt(math.prod(shape[1:])))
    return torch.from_numpy(np.ascontiguousarray(value))


def fill(module):
    module.load_state_dict({key: filled(key, tuple(v.shape)) for key, v in module.state_dict().items()})
    return module.eval()


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_have_their_published_number_of_parameters(name):
    with torch.device("meta"):
        model = build_vmamba(name)
    assert sum(p.numel() for p in model.parameters()) == VARIANTS[name].parameters


@needs_shared("golden", "vmamba")
@pytest.mark.parametrize("path", sorted(GOLDEN.glob("keys_*.json")), ids=lambda path: path.stem)
def test_state_dict_is_the_official_one(path):
    with torch.device("meta"):
        state = build_vmamba(path.stem.removeprefix("keys_")).state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == json.loads(path.read_text())["shapes"]


def golden_input(tag, dtype):
    shape = {"sq": (2, 3, 224, 224), "erp": (1, 3, 256, 512)}[tag]
    return torch.from_numpy(np.random.default_rng(0).random(shape, dtype=np.float32)).to(dtype)


def check_sample(file, name, value, atol):
    flat = value.contiguous().flatten()
    at = (np.arange(64, dtype=np.uint64) * np.uint64(2654435761)) % np.uint64(flat.numel())
    np.testing.assert_allclose(flat[at.astype(np.int64)], file[f"{name}_sample"], rtol=0, atol=atol, err_msg=name)
    assert tuple(value.shape) == tuple(file[f"{name.split('_', 1)[1]}_shape"])


@needs_shared("golden", "vmamba")
@pytest.mark.parametrize("name", ["vssm1_tiny_0230s", "vssm_tiny_0230", "vssmtiny_dp01_v0"])
@pytest.mark.parametrize("dtype, tag, atol_logits, atol", [
    (torch.float64, "erp", 1e-10, 1e-10), (torch.float32, "sq", 2e-5, 2e-4)])
@torch.no_grad()
def test_network_golden(name, dtype, tag, atol_logits, atol):
    file, model = np.load(GOLDEN / f"golden_{name}.npz"), fill(build_vmamba(name)).to(dtype)
    prefix, seen = f"f{torch.finfo(dtype).bits}_{tag}", {}
    first = model.layers[0].blocks[0]
    for key, module in {"patch_embed": model.patch_embed, "l0b0_ss2d": first.op, "l0b0": first}.items():
        module.register_forward_hook(lambda _, __, out, key=key: seen.update({key: out.permute(0, 3, 1, 2)}))
    maps = model.forward_features(golden_input(tag, dtype))
    np.testing.assert_allclose(model.classifier(maps[-1].permute(0, 2, 3, 1)), file[f"{prefix}_logits"], rtol=0,
                               atol=atol_logits)
    for key, value in {**seen, **{f"stage{i + 1}": value for i, value in enumerate(maps)}}.items():
        check_sample(file, f"{prefix}_{key}", value, atol)
    if dtype == torch.float64:
        np.testing.assert_allclose(maps[-1], file[f"{prefix}_stage4_full"], rtol=0, atol=1e-10)


@needs_shared("golden", "vmamba")
@pytest.mark.parametrize("name, config", [
    ("v05_noz_n1", VMambaConfig((8,), (1,), 1.0, 1)),
    ("v05_noz_n4", VMambaConfig((8,), (1,), 2.0, 4, dt_rank=3)),
    ("v0_n16", VMambaConfig((8,), (1,), 2.0, 16, vanilla=True)),
])
def test_ss2d_golden_with_every_gradient(name, config):
    file, module = np.load(GOLDEN / "golden_units.npz"), fill(SS2D(8, config)).double()
    first = name.startswith("v05")  # these goldens are (B, C, H, W)
    to_last, to_first = ((0, 2, 3, 1), (0, 3, 1, 2)) if first else ((0, 1, 2, 3), (0, 1, 2, 3))
    x = torch.from_numpy(file[f"{name}/x"]).requires_grad_()
    y = module(x.permute(to_last)).permute(to_first)
    np.testing.assert_allclose(y.detach(), file[f"{name}/y"], rtol=0, atol=1e-10)
    (y * torch.from_numpy(file[f"{name}/w"])).sum().backward()
    np.testing.assert_allclose(x.grad, file[f"{name}/gx"], rtol=1e-9, atol=1e-10)
    for key, parameter in module.named_parameters():
        np.testing.assert_allclose(parameter.grad, file[f"{name}/grad/{key}"], rtol=1e-9, atol=1e-10, err_msg=key)


def test_scan_of_a_module_uses_step_bias_decay_skip_and_four_directions():
    # On one pixel each direction gives y = Δ B C x + D x, with Δ = softplus(bias) = ln(1 + e^bias).
    module = SS2D(2, VMambaConfig((2,), (1,), 1.0, 1)).double()
    with torch.no_grad():
        module.dt_projs_weight.zero_()
        module.dt_projs_bias.copy_(torch.tensor([[0.0, 1.0]] * 4))
        module.x_proj_weight.zero_()
        module.x_proj_weight[:, 1:, 0] = 1  # B = C = x_0
        y = module.scan(torch.tensor([2.0, 3.0], dtype=torch.float64).view(1, 1, 1, 2))
    want = [4 * (math.log(2) * 4 * 2 + 2), 4 * (math.log(1 + math.e) * 4 * 3 + 3)]
    assert y.flatten().tolist() == pytest.approx(want, abs=1e-12)


def test_decay_is_minus_the_exponential_of_a_logs():
    # Two pixels, direction 0 alone: h_1 = exp(-ln 2 * 3) ln 2 + ln 2 for A = -3 and Δ = ln 2.
    module = SS2D(1, VMambaConfig((2,), (1,), 1.0, 1)).double()
    with torch.no_grad():
        for parameter in (module.dt_projs_weight, module.dt_projs_bias, module.x_proj_weight, module.Ds):
            parameter.zero_()
        module.A_logs.fill_(math.log(3))
        module.x_proj_weight[0, 1:] = 1
        y = module.scan(torch.ones(1, 1, 2, 1, dtype=torch.float64))
    assert y.flatten().tolist() == pytest.approx([math.log(2), math.log(2) * (1 + 1 / 8)], abs=1e-12)


def test_gelu_is_exact_and_layer_norm_eps_is_1e_5():
    mlp = Mlp(1, 1).double()
    with torch.no_grad():
        for parameter, value in zip(mlp.parameters(), (1.0, 0.0, 1.0, 0.0), strict=True):
            parameter.fill_(value)
        phi = 0.5 * (1 + math.erf(2**-0.5))  # GELU(1) = Φ(1) = 0.84134; the tanh form gives 0.84119
        assert mlp(torch.ones(1, dtype=torch.float64)).item() == pytest.approx(phi, abs=1e-12)
        small = layer_norm(2).double()(torch.tensor([1e-3, -1e-3], dtype=torch.float64))
    assert small[0].item() == pytest.approx(1e-3 / math.sqrt(1e-6 + 1e-5), rel=1e-12)
    with torch.device("meta"):
        model = build_vmamba("T s1l8")
    assert {m.eps for m in model.modules() if isinstance(m, torch.nn.LayerNorm)} == {1e-5}
    assert {m.approximate for m in model.modules() if isinstance(m, torch.nn.GELU)} == {"none"}


@pytest.mark.parametrize("vanilla, sizes", [
    (False, [(17, 25), (9, 13), (5, 7), (3, 4)]), (True, [(16, 24), (8, 12), (4, 6), (2, 3)])])
@torch.no_grad()
def test_any_image_size(vanilla, sizes):
    config = VMambaConfig((8, 16, 24, 32), (1, 1, 1, 1), 2.0, 2, vanilla=vanilla)
    model = VMamba(config, num_classes=5).eval()
    maps = model.forward_features(torch.rand(2, 3, 67, 99))
    assert [tuple(m.shape) for m in maps] == [(2, c, *s) for c, s in zip(config.dims, sizes, strict=True)]
    assert model(torch.rand(2, 3, 67, 99)).shape == (2, 5)


@torch.no_grad()
def test_patch_merging_takes_column_neighbours_first_and_pads_with_zeros():
    merge = PatchMerging(1, 4)
    merge.reduction.weight.copy_(torch.eye(4))
    merge.norm = torch.nn.Identity()
    merged = merge(torch.tensor([[1.0, 2, 3], [4, 5, 6]])[None, ..., None])
    assert merged[0, 0].tolist() == [[1, 4, 2, 5], [3, 6, 0, 0]]


def test_drop_path_rises_linearly_and_keeps_the_mean():
    model = VMamba(SMALL, num_classes=2)
    rates = [m.rate for m in model.modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx([0, 0.075, 0.15, 0.225, 0.3])
    torch.manual_seed(0)
    out = DropPath(0.25)(torch.ones(4000, 2, 1, 1))
    assert sorted(out.unique().tolist()) == pytest.approx([0, 4 / 3])
    assert torch.equal(out[:, 0], out[:, 1])  # a sample is dropped as a whole
    assert out.mean().item() == pytest.approx(1, abs=0.04)
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(model.eval()(x), model(x), rtol=0, atol=0)


def test_training_reaches_every_parameter():
    model = VMamba(VMambaConfig((8, 16), (1, 1)), num_classes=3).train()
    model(torch.rand(2, 3, 24, 40)).square().sum().backward()
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_initial_scan_parameters_follow_mamba():
    torch.manual_seed(0)
    module = SS2D(64, VMambaConfig((64,), (1,), 2.0, 16))
    step = torch.nn.functional.softplus(module.dt_projs_bias)
    assert 1e-3 <= step.min() < 1.5e-3 and 0.07 < step.max() <= 0.1
    assert step.log().mean().item() == pytest.approx(math.log(1e-2), abs=0.2)  # log-uniform
    torch.testing.assert_close(module.A_logs[5].exp(), torch.arange(1.0, 17))
    assert module.x_proj_weight.abs().max().item() == pytest.approx(128**-0.5, rel=0.01)
    assert module.dt_projs_weight.abs().max().item() == pytest.approx(0.5, rel=0.01)


def test_autocast_output_stays_close():
    torch.manual_seed(0)
    model, x = VMamba(SMALL, num_classes=4).eval(), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        want = model.forward_features(x)[-1]
        with torch.autocast("cpu", torch.bfloat16):
            got = model.forward_features(x)[-1]
    assert ((got - want).abs().max() / want.abs().max()).item() < 0.05


def test_names_and_bad_configurations():
    assert variant_name("T s1l8") == variant_name("vssm1_tiny_0230s_ckpt_epoch_264.pth") == "vmamba_tiny_s1l8"
    assert variant_name("vssmtiny_dp01_v0") == variant_name("Vanilla T") == "vanilla_vmamba_tiny"
    with pytest.raises(UserError, match=r"(?s)'vmamba_huge'.*vanilla_vmamba_base"):
        build_vmamba("vmamba_huge")
    with pytest.raises(UserError, match="one length"):
        VMambaConfig(dims=(8, 16), depths=(1,))
    with pytest.raises(UserError, match="drop_path must be in"):
        VMambaConfig(drop_path=1.0)
