"""Put the finished features of several databases together as those of their merged database."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mmifn.core.artefact import Artefact, GlobalFeatures, Provenance, TextFeatures, ViewportFeatures, load
from mmifn.core.errors import UserError
from mmifn.data.merge import merged_name
from mmifn.data.workspace import Workspace

KINDS: dict[str, type[Artefact]] = {"text_features": TextFeatures, "viewport_features": ViewportFeatures,
                                    "global_features": GlobalFeatures}


def merged_features(space: Workspace, datasets: list[str], into: str) -> dict[str, Artefact]:
    """Return the caches of `into` by name, rows in the order of the databases.

    Raises UserError where they are missing or were made differently.
    """
    merged: dict[str, Artefact] = {}
    for cache, kind in KINDS.items():
        parts = [load(space.features(name, cache), kind, dataset=name) for name in datasets]
        if len({part.made_by.method_digest() for part in parts}) > 1:
            raise UserError(f"{cache} of {', '.join(datasets)} were made with different encoders or settings; encode them alike")
        first = parts[0].made_by
        inputs = {merged_name(part.dataset, name): part.made_by.inputs[name] for part in parts for name in part.names}
        made_by = Provenance(first.encoder, first.weights_sha256, first.preprocess, inputs)
        merged[cache] = kind(into, list(inputs), made_by, **_tensors(parts))
    return merged


def _tensors(parts: list[Any]) -> dict[str, Any]:
    if isinstance(parts[0], GlobalFeatures):
        return {"levels": [torch.cat(levels) for levels in zip(*(part.levels for part in parts), strict=True)]}
    if isinstance(parts[0], ViewportFeatures):
        return {"features": torch.cat([part.features for part in parts]), "centres_deg": parts[0].centres_deg}
    longest = max(part.mask.shape[1] for part in parts)
    return {"tokens": torch.cat([_pad(part.tokens, longest) for part in parts]),
            "mask": torch.cat([_pad(part.mask[..., None], longest)[..., 0] for part in parts]),
            "pooled": torch.cat([part.pooled for part in parts])}


def _pad(tokens: Tensor, longest: int) -> Tensor:
    return functional.pad(tokens, (0, 0, 0, longest - tokens.shape[1]))
