"""Encode whole databases: viewports and panoramas to the caches that the fusion stages read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmifn.artefact import GlobalFeatures, Provenance, ViewportFeatures, save
from mmifn.encoders.networks import Encoder
from mmifn.encoders.presets import Preset
from mmifn.encoders.rows import Row, encode_rows, finish, hash_inputs
from mmifn.errors import UserError
from mmifn.images import read_image, write_png
from mmifn.manifest import Manifest, image_paths
from mmifn.sphere import SAMPLERS, render_viewports, resize_erp
from mmifn.workspace import Workspace


def viewport_pngs(folder: Path, name: str, count: int) -> list[Path]:
    """Return where the views of an image go: <folder>/<image stem>/viewport_00.png …"""
    return [folder / Path(name).with_suffix("") / f"viewport_{k:02d}.png" for k in range(count)]


def check_stems(manifest: Manifest) -> None:
    """Refuse image names that would share one folder of viewports (a.png beside a.jpg)."""
    stems: dict[Path, str] = {}
    for name in manifest.names:
        other = stems.setdefault(Path(name).with_suffix(""), name)
        if other != name:
            raise UserError(f"{manifest.dataset}: {other} and {name} would share the viewport folder "
                            f"{Path(name).with_suffix('')}; rename one, or leave the pictures out with --no-png")


def _write_views(views: Tensor, targets: list[Path]) -> None:
    pixels = (views.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    for view, target in zip(pixels, targets, strict=True):
        write_png(view, target)


def encode_viewports(space: Workspace, manifest: Manifest, preset: Preset, encoder: Encoder, *, write_pngs: bool,
                     max_megapixels: float) -> ViewportFeatures:
    """Render the views of every image, optionally as PNGs, embed them, and write viewport_features.pt."""
    paths = image_paths(manifest, space.images_dir(manifest.dataset))
    if write_pngs:
        check_stems(manifest)
    centres = SAMPLERS[preset.sampler]()
    settings = {**encoder.settings, "sampler": preset.sampler, "fov_deg": preset.fov_deg, "size_px": preset.size_px,
                "projection": "gnomonic, bicubic, low-passed"}
    made_by = Provenance(encoder.name, encoder.weights_sha256, settings, hash_inputs(manifest.names, paths))
    cache = space.features(manifest.dataset, "viewport_features")

    def read(i: int) -> tuple[Tensor, list[Path]]:
        erp = read_image(paths[i], max_megapixels=max_megapixels)
        targets = viewport_pngs(space.viewports_dir(manifest.dataset), manifest.names[i], len(centres))
        return render_viewports(erp, centres, preset.fov_deg, preset.size_px), targets

    def encode(item: tuple[Tensor, list[Path]]) -> Row:
        views, targets = item
        if write_pngs:
            _write_views(views, targets)
        return {"views": encoder(views).half().cpu()}

    rows = encode_rows(cache, ViewportFeatures, made_by, read, encode,
                       lambda old: [{"views": row} for row in old.features], f"viewports {manifest.dataset}")
    if write_pngs:
        _complete_pngs(read, manifest, space, len(centres))
    result = ViewportFeatures(manifest.dataset, manifest.names, made_by,
                              torch.stack([_finite(row["views"], manifest.names[i]) for i, row in enumerate(rows)]), centres)
    save(result, cache)
    finish(cache, made_by)
    return result


def _complete_pngs(read: Callable[[int], tuple[Tensor, list[Path]]], manifest: Manifest, space: Workspace, count: int) -> None:
    """Write the pictures of images whose features were there already but whose pictures are not."""
    folder = space.viewports_dir(manifest.dataset)
    for i, name in enumerate(manifest.names):
        if not all(path.is_file() for path in viewport_pngs(folder, name, count)):
            _write_views(*read(i))


def encode_globals(space: Workspace, manifest: Manifest, preset: Preset, encoder: Encoder, *,
                   max_megapixels: float) -> GlobalFeatures:
    """Resize every ERP (antialiased, seamless), encode it at three scales, and write global_features.pt."""
    paths = image_paths(manifest, space.images_dir(manifest.dataset))
    height = preset.erp_height_px
    settings = {**encoder.settings, "erp_px": [height, 2 * height], "resize": "antialiased cubic, circular in longitude"}
    made_by = Provenance(encoder.name, encoder.weights_sha256, settings, hash_inputs(manifest.names, paths))
    cache = space.features(manifest.dataset, "global_features")

    def read(i: int) -> Tensor:
        return resize_erp(np.asarray(read_image(paths[i], max_megapixels=max_megapixels)), height, 2 * height)

    def encode(erp: Tensor) -> Row:
        return {f"f{k + 2}": level[0].half().cpu() for k, level in enumerate(encoder(erp[None]))}

    def parts(old: Any) -> list[Row]:
        return [{f"f{k + 2}": level[i] for k, level in enumerate(old.levels)} for i in range(len(old.names))]

    rows = encode_rows(cache, GlobalFeatures, made_by, read, encode, parts, f"panoramas {manifest.dataset}")
    levels = [torch.stack([_finite(row[key], manifest.names[i]) for i, row in enumerate(rows)]) for key in ("f2", "f3", "f4")]
    result = GlobalFeatures(manifest.dataset, manifest.names, made_by, levels)
    save(result, cache)
    finish(cache, made_by)
    return result


def _finite(row: Tensor, name: str) -> Tensor:
    if not torch.isfinite(row).all():
        raise UserError(f"{name}: the encoder gave values that are not finite in float16; the weights do not fit this "
                        "preprocessing, or the network overflows")
    return row
