"""The three feature caches of one database, joined by image name into what the model reads."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mmifn.core.artefact import Artefact, require_names
from mmifn.core.errors import ArtefactError
from mmifn.core.files import sha256_json
from mmifn.data.features import GLOBAL, TEXT, VIEWPORT, GlobalFeatures, TextFeatures, ViewportFeatures, load_caches
from mmifn.data.manifest import Manifest, read_manifest
from mmifn.data.workspace import Workspace
from mmifn.sphere import SAMPLER_NAMES, dodecahedron


@dataclass(frozen=True)
class Dimensions:
    """Sizes that a model is built for: text, one viewport, the three levels, and the number of viewports."""

    text: int
    view: int
    levels: tuple[int, int, int]
    viewports: int


@dataclass(frozen=True)
class Inputs:
    """Model inputs of N images, float32 on one device.

    text (N, S, D) and mask (N, S), true on words; pooled (N, D), or (N, V, D) where each viewport has words of its own;
    views (N, V, D_v); levels f2, f3, f4 (N, T, C_l).
    """

    text: Tensor
    mask: Tensor
    pooled: Tensor
    views: Tensor
    levels: tuple[Tensor, Tensor, Tensor]

    @classmethod
    def of(cls, tokens: Tensor, mask: Tensor, pooled: Tensor, views: Tensor, levels: list[Tensor]) -> Inputs:
        """Take features as the caches hold them, in half or single precision."""
        return cls(tokens.float(), mask, pooled.float(), views.float(), tuple(level.float() for level in levels))

    def __len__(self) -> int:
        return len(self.pooled)

    def __getitem__(self, rows: Tensor | list[int]) -> Inputs:
        """Return some rows, cutting the text to the longest among them."""
        mask = self.mask[rows]
        longest = max(1, int(mask.any(dim=0).nonzero().max()) + 1 if mask.any() else 1)
        return Inputs(self.text[rows][:, :longest], mask[:, :longest], self.pooled[rows], self.views[rows],
                      tuple(level[rows] for level in self.levels))

    def to(self, device: torch.device) -> Inputs:
        return Inputs(self.text.to(device), self.mask.to(device), self.pooled.to(device), self.views.to(device),
                      tuple(level.to(device) for level in self.levels))

    @property
    def pooled_text(self) -> Tensor:
        """Return one text vector of each image, (N, D): the mean over its viewports where each has words of its own."""
        return self.pooled if self.pooled.dim() == 2 else self.pooled.mean(dim=1)

    @property
    def dimensions(self) -> Dimensions:
        return Dimensions(self.pooled.shape[-1], self.views.shape[2], tuple(level.shape[2] for level in self.levels),
                          self.views.shape[1])


@dataclass(frozen=True)
class FusedInputs:
    """What AFM reads, of N images: F_G3 (N, T, D_g) and F_L (N, V, D_l) of branches that are not trained further."""

    fused_global: Tensor
    fused_local: Tensor

    def __len__(self) -> int:
        return len(self.fused_global)

    def __getitem__(self, rows: Tensor | list[int]) -> FusedInputs:
        return FusedInputs(self.fused_global[rows], self.fused_local[rows])

    def to(self, device: torch.device) -> FusedInputs:
        return FusedInputs(self.fused_global.to(device), self.fused_local.to(device))


@dataclass(frozen=True)
class Database:
    """A manifest with its features; row i of both is image i.

    method: how the features were made (must agree between databases that one model reads); encoders: by which networks;
    digest: identity of names, scores and features, for finding finished runs again; taught: scenes that an encoder was
    adapted on, as far as its features say; space: where all of it was read, None for a database that was made up;
    computed: on which devices and in which precision the features were, as far as they say.
    """

    manifest: Manifest
    inputs: Inputs | FusedInputs
    method: dict[str, str]
    digest: str
    encoders: dict[str, str]
    taught: frozenset[str] = frozenset()
    space: Workspace | None = None
    computed: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.manifest.dataset

    @property
    def mos(self) -> np.ndarray:
        return self.manifest.mos

    def with_text(self, rows: list[int], label: str) -> Database:
        """Return the same database with image i described by the text of image rows[i] (a control)."""
        inputs = replace(self.inputs, text=self.inputs.text[rows], mask=self.inputs.mask[rows],
                         pooled=self.inputs.pooled[rows])
        return replace(self, inputs=inputs, digest=sha256_json([self.digest, label, rows]))


def load_database(space: Workspace, dataset: str) -> Database:
    """Read des.csv and the three caches of a database, refusing what is missing or does not fit together."""
    manifest = read_manifest(space.manifest(dataset), dataset)
    caches = load_caches(space, dataset)
    rows = {name: require_names(cache, manifest.names, space.features(dataset, name)) for name, cache in caches.items()}
    text, views, whole = caches[TEXT], caches[VIEWPORT], caches[GLOBAL]
    _same_pixels(views, whole, manifest)
    _same_viewports(text, views)
    inputs = Inputs.of(text.tokens[rows[TEXT]], text.mask[rows[TEXT]], text.pooled[rows[TEXT]], views.features[rows[VIEWPORT]],
                       [level[rows[GLOBAL]] for level in whole.levels])
    method = {name: cache.made_by.method_digest() for name, cache in caches.items()}
    identity = [manifest.names, manifest.mos.tolist(), manifest.types, manifest.references, manifest.locations,
                manifest.mos_source, [cache.digest() for cache in caches.values()]]
    encoders = {name: cache.made_by.encoder for name, cache in caches.items()}
    taught = frozenset(scene for cache in caches.values() for scene in _adapted_on(cache))
    computed = sorted({words for cache in caches.values() for words in cache.made_by.computed.split("; ")} - {""})
    return Database(manifest, inputs, method, sha256_json(identity), encoders, taught, space, tuple(computed))


def _adapted_on(cache: Artefact) -> list[str]:
    """Return the scenes that the encoder of a cache was adapted on, as far as it says."""
    scenes = cache.made_by.preprocess.get("adapted_on", [])
    if not isinstance(scenes, list) or not all(isinstance(scene, str) for scene in scenes):
        raise ArtefactError(f"{cache.SCHEMA} of {cache.dataset}: adapted_on is no list of scenes; rebuild it: "
                            f"python {cache.STAGE} --dataset {cache.dataset}")
    return scenes


def _same_pixels(views: ViewportFeatures, whole: GlobalFeatures, manifest: Manifest) -> None:
    differ = [name for name in manifest.names if views.made_by.inputs[name] != whole.made_by.inputs[name]]
    if differ:
        raise ArtefactError(
            f"{manifest.dataset}: {len(differ)} images changed between viewport_encoder.py and "
            f"global_feature_extractor.py, first {differ[0]}\nRun both again: python viewport_encoder.py --dataset "
            f"{manifest.dataset} && python global_feature_extractor.py --dataset {manifest.dataset}")


def _same_viewports(text: TextFeatures, views: ViewportFeatures) -> None:
    """Refuse words of viewports that look elsewhere than the features do: those are described at a dodecahedron's corners."""
    described = dodecahedron().float()
    if text.pooled.ndim == 3 and not (views.centres_deg.shape == described.shape == (text.pooled.shape[1], 2)
                                      and torch.allclose(views.centres_deg.float(), described, atol=1e-3)):
        raise ArtefactError(
            f"{text.dataset}: the words are of {text.pooled.shape[1]} viewports that look elsewhere than those of "
            f"viewport_encoder.py\nEncode whole descriptions: python text_encoder.py --dataset {text.dataset}, or the views "
            f"that were described: python viewport_encoder.py --dataset {text.dataset} --sampler {SAMPLER_NAMES[0]}")


def require_same_method(source: Database, target: Database) -> None:
    """Refuse two databases whose features were made by different encoders or settings."""
    differ = [name for name in source.method if source.method[name] != target.method[name]]
    if differ:
        raise ArtefactError(f"{source.name} and {target.name} were encoded differently ({', '.join(differ)}); encode "
                            "both with the same preset and flags")
