"""Put several databases together as one, for training on all of them: images are linked, labels stay as they are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pandas as pd

from mmifn.errors import UserError, listed
from mmifn.manifest import Manifest, image_paths, read_manifest, write_manifest
from mmifn.workspace import Workspace


def merged_name(dataset: str, name: str) -> str:
    """Return what an image is called in the merged database: <dataset>/<name>."""
    return f"{dataset}/{name}"


def merge_images(space: Workspace, datasets: list[str], into: str) -> pd.DataFrame:
    """Link the images of the databases below datasets/<into>/images/<dataset>/ and write its des.csv; return the table.

    Scenes and places keep their names, so that one that two databases share stays on one side of a split. Raises
    UserError where scales or sources of the scores differ, scenes are unknown, or an image is missing.
    """
    manifests = [read_manifest(space.manifest(name), name) for name in datasets]
    for part in ("mos_scale", "mos_source"):
        if len({getattr(manifest, part) for manifest in manifests}) > 1:
            raise UserError(f"scores of different kinds cannot be merged ({part}):\n"
                            + listed([f"{each.dataset}: {getattr(each, part)}" for each in manifests]))
    table = pd.concat([_rows(manifest) for manifest in manifests], ignore_index=True)
    for manifest in manifests:
        for path, name in zip(image_paths(manifest, space.images_dir(manifest.dataset)), manifest.names, strict=True):
            _link(path, space.images_dir(into) / merged_name(manifest.dataset, name))
    write_manifest(table, space.manifest(into))
    return table


def _rows(manifest: Manifest) -> pd.DataFrame:
    scenes = manifest.references
    if scenes is None:
        raise UserError(f"{manifest.dataset}: des.csv does not name the scene of its images; add the column `reference`")
    return pd.DataFrame({
        "image_name": [merged_name(manifest.dataset, name) for name in manifest.names], "MOS": manifest.mos,
        "distortion_type": manifest.types, "level": manifest.levels, "reference": scenes,
        "location": manifest.locations or scenes, "mos_source": manifest.mos_source})


def _link(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and os.path.samefile(path, target):
        return
    target.unlink(missing_ok=True)
    try:
        os.link(path, target)
    except OSError:  # another file system
        shutil.copy2(path, target)
