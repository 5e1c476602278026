"""What the encoders of a database's caches look at, picture by picture: for tuning them, which caches cannot serve."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mmifn.core.artefact import Artefact, load_torch, save_torch
from mmifn.core.defaults import MAX_MEGAPIXELS
from mmifn.core.errors import ArtefactError, UserError
from mmifn.core.files import sha256_file, sha256_json
from mmifn.core.pixels import to_bytes
from mmifn.data.features import GLOBAL, TEXT, VIEWPORT, load_caches
from mmifn.data.images import read_image
from mmifn.data.manifest import Manifest, image_paths
from mmifn.data.workspace import Workspace
from mmifn.encoders.encode import beside, global_provenance, render_preset, resize_preset, viewport_provenance
from mmifn.encoders.encoder import Encoder
from mmifn.encoders.networks import load_erp_encoder, load_view_encoder
from mmifn.encoders.presets import Preset

FOLDER = "rendered"  # beside the caches


@dataclass(frozen=True)
class Seen:
    """One panorama as its encoders see it, in 8 bits.

    views: for each field of view (V, 3, S, S) uint8; known: (V, K), told beside them; erp: (3, h, 2h) uint8.
    """

    views: list[Tensor]
    known: Tensor
    erp: Tensor


@dataclass(frozen=True)
class Pictures:
    """The panoramas of a database by row. Each is decoded and rendered once and then kept in `folder`, which may be deleted."""

    dataset: str
    names: list[str]
    paths: list[Path]
    digests: list[str]
    preset: Preset
    folder: Path

    def __getitem__(self, i: int) -> Seen:
        path = self.folder / f"{sha256_json([self.digests[i], _geometry(self.preset)])[:32]}.pt"
        try:
            return Seen(**load_torch(path))
        except (ArtefactError, TypeError):  # not there yet, or half written by somebody else's hand
            seen = self._render(i)
        save_torch(vars(seen), path)
        return seen

    def _render(self, i: int) -> Seen:
        if sha256_file(self.paths[i]) != self.digests[i]:
            raise UserError(f"{self.paths[i]} is not the picture that the features of {self.dataset} were made of.\n"
                            f"Make them again: python viewport_encoder.py --dataset {self.dataset} and python "
                            f"global_feature_extractor.py --dataset {self.dataset}")
        erp = read_image(self.paths[i], max_megapixels=MAX_MEGAPIXELS)
        views = render_preset(erp, self.preset)
        known = beside(erp, views, self.preset, torch.device("cpu"))
        return Seen([to_bytes(scale) for scale in views], known, to_bytes(resize_preset(erp, self.preset)))


def _geometry(preset: Preset) -> list[object]:
    return [preset.sampler, preset.fovs_deg, preset.sizes_px, preset.erp_height_px, preset.with_size, preset.with_people,
            preset.with_steps]


def preset_of(caches: dict[str, Artefact]) -> Preset:
    """Return the preset that made these caches, as their provenance tells it."""
    views, whole = caches[VIEWPORT].made_by, caches[GLOBAL].made_by
    seen, erp = views.preprocess, whole.preprocess
    fovs_deg, sizes_px = (tuple(value) if isinstance(value, list) else (value,) for value in (seen["fov_deg"], seen["size_px"]))
    return Preset("", caches[TEXT].made_by.encoder, views.encoder, whole.encoder, fovs_deg, sizes_px, seen["sampler"],
                  erp["erp_px"][0], tuple(erp["grid"]), erp["wrap_px"], with_size="size" in seen, with_people="people" in seen,
                  with_steps="steps" in seen)


def open_pictures(space: Workspace, manifest: Manifest) -> Pictures:
    """Return the panoramas of a database as the encoders of its caches look at them. Raises UserError where some are missing."""
    caches = load_caches(space, manifest.dataset)
    inputs = caches[VIEWPORT].made_by.inputs
    folder = space.features(manifest.dataset, VIEWPORT).parent / FOLDER
    return Pictures(manifest.dataset, manifest.names, image_paths(manifest, space.images_dir(manifest.dataset)),
                    [inputs[name] for name in manifest.names], preset_of(caches), folder)


def open_encoders(space: Workspace, dataset: str, device: torch.device, view_weights: Path | None,
                  erp_weights: Path | None) -> tuple[Encoder, Encoder]:
    """Load the very encoders that made a database's caches of views and of whole panoramas, refusing any others."""
    caches = load_caches(space, dataset)
    preset = preset_of(caches)
    views, whole = load_view_encoder(preset.viewport, device, view_weights), load_erp_encoder(preset, device, erp_weights)
    for cache, made, script, flag in (
            (VIEWPORT, viewport_provenance(preset, views, {}), "viewport_encoder.py", "--viewport-weights"),
            (GLOBAL, global_provenance(preset, whole, {}), "global_feature_extractor.py", "--global-weights")):
        if made.method_digest() != caches[cache].made_by.method_digest():
            raise UserError(f"{space.features(dataset, cache)} was made by {made.encoder} with other weights or settings than "
                            f"are there now.\nName the weights that it was made with ({flag}), or make it again: python "
                            f"{script} --dataset {dataset}")
    return views, whole
