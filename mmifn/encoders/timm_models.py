"""Any view encoder of timm, such as the method's ViT, with downloaded weights or a local file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from mmifn.core import torchvision_shim as compat  # noqa: F401  (before timm and transformers)
from mmifn.core.errors import UserError, first_line
from mmifn.encoders.encoder import Encoder, Family, freeze
from mmifn.encoders.published import DownloadFailed, Published, cached_hub_file, published_views, require_publisher
from mmifn.encoders.state import load_strictly, read_state


def _network(name: str, weights: Path | None) -> nn.Module:
    """Return a timm model with all of its weights and without its classifier: from a file, or downloaded."""
    import timm

    if not timm.is_model(name.split(".")[0]):
        raise UserError(f"viewport encoder {name!r} is unknown; use vit_s14, lite0, or a model name of timm")
    with torch.device("meta"):
        blank = timm.create_model(name)
    repository = blank.pretrained_cfg.get("hf_hub_id") or f"timm/{name}"
    weights = weights or cached_hub_file(repository, "model.safetensors")
    if weights is not None:
        network = timm.create_model(name)  # with its own classifier, so that every tensor can be checked
        load_strictly(network, read_state(weights), weights, name, head=network.pretrained_cfg["classifier"],
                      remedy=f"Wanted: the file that timm publishes for {name} (model.safetensors), unchanged.")
    else:
        network = _download(published_views(name, repository, sum(parameter.numel() for parameter in blank.parameters())))
    network.reset_classifier(0)
    return network


def _download(published: Published) -> nn.Module:
    import timm

    require_publisher(published)
    try:
        return timm.create_model(published.network, pretrained=True)  # with its classifier, timm takes every tensor or none
    except Exception as error:
        raise DownloadFailed(f"the weights of {published.network} could not be downloaded ({first_line(error)}):\n"
                             f"{published.lines()}\nOr do without: --preset offline.") from error


def _views(name: str, weights: Path | None, device: torch.device) -> Encoder:
    return view_encoder(name, _network(name, weights), device)


def view_encoder(name: str, network: nn.Module, device: torch.device) -> Encoder:
    """Return a network of timm, without its classifier, as it looks at views."""
    config = network.pretrained_cfg
    network, digest = freeze(network, device)
    # forward_features then the class token: one vector per view, before any classification head
    def run(images: Tensor) -> Tensor:
        states = network.forward_features(images)
        return network.forward_head(states, pre_logits=True).float()

    return Encoder(name, digest, {"pool": "pre-logits (class token for ViT)"}, device, config["mean"], config["std"], run,
                   network)


FAMILY = Family(views=_views, view_names=None)
