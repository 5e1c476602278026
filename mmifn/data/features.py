"""The features of a database: the three caches that the encoders make of it, read together, merged, and what is fused of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from mmifn.core.artefact import Artefact, Provenance, load
from mmifn.core.errors import UserError
from mmifn.core.schema import shaped
from mmifn.data.merge import merged_name
from mmifn.data.workspace import Workspace


@dataclass(frozen=True)
class TextFeatures(Artefact):
    """Encoded quality descriptions; row i belongs to names[i].

    tokens: (N, T, D) float16 or float32, zero beyond the mask; mask: (N, T) bool, true on real tokens;
    pooled: (N, D) float32, or (N, V, D) where each viewport has words of its own. made_by.inputs maps each image name to the
    SHA-256 of its description (or of all of its descriptions).
    """

    SCHEMA: ClassVar[str] = "text_features/1"
    STAGE: ClassVar[str] = "text_encoder.py"
    tokens: Tensor = field(metadata=shaped("N T D"))
    mask: Tensor = field(metadata=shaped("N T", "bool"))
    pooled: Tensor = field(metadata=shaped("N D | N V D"))


@dataclass(frozen=True)
class ViewportFeatures(Artefact):
    """Embedded tangent views; row i belongs to names[i].

    features: (N, V, D) float16; centres_deg: (V, 2) float32, longitude in [-180, 180) and latitude in [-90, 90].
    """

    SCHEMA: ClassVar[str] = "viewport_features/1"
    STAGE: ClassVar[str] = "viewport_encoder.py"
    features: Tensor = field(metadata=shaped("N V D"))
    centres_deg: Tensor = field(metadata=shaped("V *"))


@dataclass(frozen=True)
class GlobalFeatures(Artefact):
    """Multi-scale features of the whole panorama, pooled to one small grid; row i belongs to names[i].

    levels: f2, f3, f4, each (N, T, C_l) float16, T = rows x columns of the grid in row-major order, top row first.
    """

    SCHEMA: ClassVar[str] = "global_features/1"
    STAGE: ClassVar[str] = "global_feature_extractor.py"
    levels: list[Tensor] = field(metadata=shaped("N T *", count=3))


# The caches by name, which is that of their files; every model reads all of them.
CACHES: dict[str, type[Artefact]] = {"text_features": TextFeatures, "viewport_features": ViewportFeatures,
                                     "global_features": GlobalFeatures}
TEXT, VIEWPORT, GLOBAL = CACHES


@dataclass(frozen=True)
class FusedFeatures(Artefact):
    """Features of one fusion branch by its trained weights; row i belongs to names[i].

    fused: (N, T, D) float32, T = global tokens (GFF) or viewports (LFF); state: the branch's parameters;
    branch: "gff" or "lff"; config and split: plain dicts of what it was trained with and on.
    """

    SCHEMA: ClassVar[str] = "fused_features/2"
    STAGE: ClassVar[str] = "gff_module.py and lff_module.py"
    fused: Tensor = field(metadata=shaped("N T D"))
    branch: str
    state: dict[str, Tensor]
    config: dict[str, Any]
    split: dict[str, Any]

    def inputs(self) -> list[str]:
        """Return what made_by.inputs must tell the origin of: the database as a whole."""
        return ["database"]


def load_caches(space: Workspace, dataset: str) -> dict[str, Artefact]:
    """Return the three caches of a database by name; raises ArtefactError where one is missing or unusable."""
    return {name: load(space.features(dataset, name), kind, dataset=dataset) for name, kind in CACHES.items()}


def merged_features(space: Workspace, datasets: list[str], into: str) -> dict[str, Artefact]:
    """Return the caches of `into` by name, rows in the order of the databases.

    Raises UserError where they are missing or were made differently.
    """
    merged: dict[str, Artefact] = {}
    for cache, kind in CACHES.items():
        parts = [load(space.features(name, cache), kind, dataset=name) for name in datasets]
        if len({part.made_by.method_digest() for part in parts}) > 1:
            raise UserError(f"{cache} of {', '.join(datasets)} were made with different encoders or settings; encode them alike")
        first = parts[0].made_by
        inputs = {merged_name(part.dataset, name): part.made_by.inputs[name] for part in parts for name in part.names}
        computed = "; ".join(sorted({words for part in parts for words in part.made_by.computed.split("; ")} - {""}))
        made_by = Provenance(first.encoder, first.weights_sha256, first.preprocess, inputs, computed=computed)
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
