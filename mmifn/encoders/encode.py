"""Encode whole databases: viewports and panoramas to the caches that the fusion stages read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmifn.core.artefact import Provenance
from mmifn.core.device import feature_words
from mmifn.core.errors import UserError
from mmifn.core.files import sha256_json
from mmifn.core.pixels import to_pixels
from mmifn.core.resumable import Row, RowStore, encode_rows, hash_inputs
from mmifn.core.workers import affordable_workers, usable_cores
from mmifn.data.features import GLOBAL, VIEWPORT, GlobalFeatures, ViewportFeatures
from mmifn.data.images import png_made_from, read_image, write_png
from mmifn.data.manifest import Manifest, image_paths
from mmifn.data.workspace import Workspace
from mmifn.encoders import lens_steps
from mmifn.encoders.encoder import Encoder, in_parts
from mmifn.encoders.people import open_people
from mmifn.encoders.presets import Preset
from mmifn.sphere import HEADSET_PPD, SAMPLERS, render_viewports, resize_erp, seen_ppd

_MOST_READERS = 8
_GPU_IMAGES = 4
_BYTES_A_READER = 4_000_000_000  # two panoramas of 13320x6660 on their way, with what rendering takes


def viewport_pngs(folder: Path, name: str, count: int) -> list[Path]:
    """Return where the views of an image go, by field of view and direction: <folder>/<image stem>/viewport_00.png …"""
    return [folder / Path(name).with_suffix("") / f"viewport_{k:02d}.png" for k in range(count)]


def check_stems(manifest: Manifest) -> None:
    """Refuse image names that would share one folder of viewports (a.png beside a.jpg)."""
    stems: dict[Path, str] = {}
    for name in manifest.names:
        other = stems.setdefault(Path(name).with_suffix(""), name)
        if other != name:
            raise UserError(f"{manifest.dataset}: {other} and {name} would share the viewport folder "
                            f"{Path(name).with_suffix('')}; rename one, or leave the pictures out with --no-png")


def viewport_provenance(preset: Preset, encoder: Encoder, inputs: dict[str, str]) -> Provenance:
    """Return how viewport features are made; inputs: image name -> SHA-256."""
    settings = {**encoder.settings, "sampler": preset.sampler, "fov_deg": _one_or_all(preset.fovs_deg),
                "size_px": _one_or_all(preset.sizes_px), "projection": "gnomonic, bicubic, low-passed"}
    if preset.with_size:
        settings["size"] = f"log2 of px per degree, at most {HEADSET_PPD:.2f}"
    if preset.with_people:
        settings["people"] = open_people("cpu").digest
    if preset.with_steps:
        settings["steps"] = lens_steps.SETTINGS
    return Provenance(encoder.name, encoder.weights_sha256, settings, inputs, computed=feature_words(encoder.device))


def _one_or_all(values: tuple[float, ...]) -> float | list[float]:
    return list(values) if len(values) > 1 else values[0]


def render_preset(erp: np.ndarray, preset: Preset) -> list[Tensor]:
    """Render a preset's views of an ERP (H, W, 3) uint8: for each field of view (V, 3, S, S) float32 in 0..1."""
    centres = SAMPLERS[preset.sampler]()
    return [render_viewports(erp, centres, *scale) for scale in zip(preset.fovs_deg, preset.sizes_px, strict=True)]


def size_of(erp_width_px: int, preset: Preset) -> Tensor:
    """Return what a preset tells of a panorama's size, (K,): log2 of the pixels per degree that are seen of it, or nothing.

    Of a headset other than the one in which people judged, its share of the pixels counts.
    """
    share = seen_ppd(erp_width_px, preset.headset_ppd) / preset.headset_ppd
    return torch.tensor([math.log2(share * HEADSET_PPD)] if preset.with_size else [])


def beside(erp: np.ndarray, views: list[Tensor], preset: Preset, device: torch.device) -> Tensor:
    """Return what a preset tells of every direction beside its view encoder's numbers, (V, K) float32 on the CPU.

    erp: (H, W, 3) uint8; views: what render_preset made of it.
    """
    parts = [size_of(erp.shape[1], preset).expand(len(views[0]), -1)]
    if preset.with_people:
        parts.append(open_people(device.type)(views[0])[:, None] / 100)
    if preset.with_steps:
        parts.append(lens_steps.lens_steps(erp, SAMPLERS[preset.sampler]()))
    return torch.cat(parts, dim=1)


def embed_views(views: list[Tensor], known: Tensor, encoder: Encoder, name: str) -> Tensor:
    """Embed F views (V, 3, S, S) of each direction as they are kept, one row a direction: (V, F D + K) float16 on the CPU.

    known: (V, K), with which the rows end (see `beside`); `name` is for a refusal.
    """
    [row] = embed_several_views([(views, known)], encoder, [name])
    return row


def embed_several_views(seen: list[tuple[list[Tensor], Tensor]], encoder: Encoder, names: list[str]) -> list[Tensor]:
    """Embed (views, known) of several panoramas in one pass for each field of view; rows as `embed_views` gives them."""
    counts = [len(known) for _, known in seen]
    scales = [_embedded(_joined(scale, encoder.device), encoder).split(counts)
              for scale in zip(*(views for views, _ in seen), strict=True)]
    return [_finite(torch.cat([*(scale[i] for scale in scales), known], dim=1).half(), names[i])
            for i, (_, known) in enumerate(seen)]


def _embedded(pictures: Tensor, encoder: Encoder) -> Tensor:
    """Embed pictures (B, 3, S, S): (B, D) float32 on the CPU."""
    return torch.cat([encoder(part).float().cpu() for part in in_parts(pictures, encoder.device)])


def _joined(parts: Sequence[Tensor], device: torch.device) -> Tensor:
    """Put pictures into one batch; on a GPU there, each copied while the one before is joined (they are pinned)."""
    if device.type == "cpu":
        return parts[0] if len(parts) == 1 else torch.cat(list(parts))
    return torch.cat([part.to(device, non_blocking=True) for part in parts])


def global_provenance(preset: Preset, encoder: Encoder, inputs: dict[str, str]) -> Provenance:
    """Return how global features are made; inputs: image name -> SHA-256."""
    height = preset.erp_height_px
    settings = {**encoder.settings, "erp_px": [height, 2 * height], "resize": "antialiased cubic, circular in longitude"}
    return Provenance(encoder.name, encoder.weights_sha256, settings, inputs, computed=feature_words(encoder.device))


def resize_preset(erp: np.ndarray, preset: Preset) -> Tensor:
    """Resize an ERP (H, W, 3) uint8 to what a preset's ERP encoder sees: (3, h, 2h) float32 in 0..1."""
    return resize_erp(np.asarray(erp), preset.erp_height_px, 2 * preset.erp_height_px)


def embed_erp(erp: Tensor, encoder: Encoder, name: str) -> list[Tensor]:
    """Encode a resized ERP as it is kept: f2, f3, f4, each (T, C_l) float16 on the CPU; `name` is for a refusal."""
    [levels] = embed_several_erps([erp], encoder, [name])
    return levels


def embed_several_erps(erps: list[Tensor], encoder: Encoder, names: list[str]) -> list[list[Tensor]]:
    """Encode several resized ERPs in one pass; of each f2, f3, f4 as `embed_erp` gives them."""
    levels = [level.half().cpu() for level in encoder(_joined([erp[None] for erp in erps], encoder.device))]
    return [[_finite(level[i], name) for level in levels] for i, name in enumerate(names)]


def _finite(row: Tensor, name: str) -> Tensor:
    if not torch.isfinite(row).all():
        raise UserError(f"{name}: the encoder gave values that are not finite in float16; the weights do not fit this "
                        "preprocessing, or the network overflows")
    return row


@dataclass(frozen=True)
class _Pictures:
    """The views of one image as PNGs; made_from identifies pixels and geometry and stands in every PNG's header."""

    targets: list[Path]
    made_from: str

    def there(self) -> bool:
        return all(png_made_from(path) == self.made_from for path in self.targets)

    def write(self, views: list[Tensor]) -> None:
        """Write the views of all scales, and remove those of an earlier sampler with more of them."""
        pictures = (picture for scale in views for picture in to_pixels(scale))
        for picture, target in zip(pictures, self.targets, strict=True):
            write_png(picture, target, self.made_from)
        for path in set(self.targets[0].parent.glob("viewport_*.png")) - set(self.targets):
            path.unlink()


def readers_of(device: torch.device) -> int:
    """Return how many threads decode and render ahead: enough that a GPU does not wait; on a CPU they would only take turns."""
    if device.type == "cpu":
        return 1
    return affordable_workers(min(_MOST_READERS, usable_cores()), _BYTES_A_READER)


def _images_together(device: torch.device) -> int:
    """Return how many panoramas are embedded in one pass: several on a GPU; on a CPU that would only take memory."""
    return 1 if device.type == "cpu" else _GPU_IMAGES


def _pinned(pictures: Tensor, device: torch.device) -> Tensor:
    """Return pictures from where a GPU copies them beside its work; a reader's thread pays for it."""
    return pictures.pin_memory() if device.type == "cuda" else pictures


def encode_viewports(space: Workspace, manifest: Manifest, preset: Preset, encoder: Encoder, *, write_pngs: bool,
                     max_megapixels: float, together: int | None = None) -> ViewportFeatures:
    """Render the views of every image, optionally as PNGs, embed them, and write viewport_features.pt.

    together: how many images are embedded in one pass (default: as the device likes).
    """
    paths = image_paths(manifest, space.images_dir(manifest.dataset))
    if write_pngs:
        check_stems(manifest)
    centres = SAMPLERS[preset.sampler]()
    made_by = viewport_provenance(preset, encoder, hash_inputs(manifest.names, paths))
    store = RowStore(space.features(manifest.dataset, VIEWPORT), ViewportFeatures, made_by,
                     lambda old: [{"views": row} for row in old.features], {"views": 2})
    geometry = [preset.sampler, made_by.preprocess["fov_deg"], made_by.preprocess["size_px"], made_by.preprocess["projection"]]
    count = len(centres) * len(preset.fovs_deg)
    pictures = [_Pictures(viewport_pngs(space.viewports_dir(manifest.dataset), name, count),
                          sha256_json([*geometry, digest])) for name, digest in made_by.inputs.items()]

    def render(i: int) -> tuple[int, list[Tensor], Tensor]:
        erp = read_image(paths[i], max_megapixels=max_megapixels)
        views = render_preset(erp, preset)
        if write_pngs:
            pictures[i].write(views)
        return i, [_pinned(scale, encoder.device) for scale in views], beside(erp, views, preset, encoder.device)

    def encode(items: list[tuple[int, list[Tensor], Tensor]]) -> list[Row]:
        names = [manifest.names[i] for i, _, _ in items]
        return [{"views": row} for row in embed_several_views([(views, known) for _, views, known in items], encoder, names)]

    rows = encode_rows(store, manifest.names, render, encode, f"viewports {manifest.dataset}", readers_of(encoder.device),
                       together or _images_together(encoder.device))
    if write_pngs:
        for i, picture in enumerate(pictures):
            if not picture.there():  # the features were, from a run without pictures or with others
                render(i)
    result = ViewportFeatures(manifest.dataset, manifest.names, store.made_by,
                              torch.stack([row["views"] for row in rows]), centres)
    store.finish(result)
    return result


def encode_globals(space: Workspace, manifest: Manifest, preset: Preset, encoder: Encoder, *,
                   max_megapixels: float, together: int | None = None) -> GlobalFeatures:
    """Resize every ERP (antialiased, seamless), encode it at three scales, and write global_features.pt; together: as above."""
    paths = image_paths(manifest, space.images_dir(manifest.dataset))
    made_by = global_provenance(preset, encoder, hash_inputs(manifest.names, paths))

    def read(i: int) -> tuple[int, Tensor]:
        erp = resize_preset(read_image(paths[i], max_megapixels=max_megapixels), preset)
        return i, _pinned(erp, encoder.device)

    def encode(items: list[tuple[int, Tensor]]) -> list[Row]:
        names = [manifest.names[i] for i, _ in items]
        return [{f"f{k + 2}": level for k, level in enumerate(levels)}
                for levels in embed_several_erps([erp for _, erp in items], encoder, names)]

    def parts(old: Any) -> list[Row]:
        return [{f"f{k + 2}": level[i] for k, level in enumerate(old.levels)} for i in range(len(old.names))]

    store = RowStore(space.features(manifest.dataset, GLOBAL), GlobalFeatures, made_by, parts,
                     {"f2": 2, "f3": 2, "f4": 2})
    rows = encode_rows(store, manifest.names, read, encode, f"panoramas {manifest.dataset}", readers_of(encoder.device),
                       together or _images_together(encoder.device))
    levels = [torch.stack([row[key] for row in rows]) for key in ("f2", "f3", "f4")]
    result = GlobalFeatures(manifest.dataset, manifest.names, store.made_by, levels)
    store.finish(result)
    return result
