"""Put several databases together as one, for training on all of them: images are linked, labels stay as they are."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from mmifn.core.errors import UserError, listed
from mmifn.core.files import holds_nothing, write_text
from mmifn.data.manifest import VIEW_MOS, Manifest, image_paths, read_manifest, view_cells, write_manifest
from mmifn.data.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd


def merged_name(dataset: str, name: str) -> str:
    """Return what an image is called in the merged database: <dataset>/<name>."""
    return f"{dataset}/{name}"


def merge_images(space: Workspace, datasets: list[str], into: str, overwrite: bool = False) -> pd.DataFrame:
    """Link the images of the databases below datasets/<into>/images/<dataset>/ and write its des.csv; return the table.

    Scenes and places keep their names, so that one that two databases share stays on one side of a split. Everything is
    checked before the first file is written. Raises UserError where scales or sources of the scores differ, scenes are
    unknown, an image is missing, or <into> is another database; overwrite: a merge of others there is cleared first.
    """
    import pandas as pd

    manifests = [read_manifest(space.manifest(name), name) for name in datasets]
    for part in ("mos_scale", "mos_source"):
        if len({getattr(manifest, part) for manifest in manifests}) > 1:
            raise UserError(f"scores of different kinds cannot be merged ({part}):\n"
                            + listed([f"{manifest.dataset}: {getattr(manifest, part)}" for manifest in manifests]))
    table = pd.concat([_rows(manifest) for manifest in manifests], ignore_index=True)
    paths = [path for manifest in manifests for path in image_paths(manifest, space.images_dir(manifest.dataset))]
    _claim_folder(space.dataset_dir(into), datasets, overwrite)
    for path, name in zip(paths, table["image_name"], strict=True):
        _link(path, space.images_dir(into) / name)
    write_manifest(table, space.manifest(into))
    return table


def _claim_folder(folder: Path, datasets: list[str], overwrite: bool = False) -> None:
    """Make the folder ours: new, an earlier merge of the very same databases, or one of others, cleared with --overwrite."""
    record = folder / "merge.json"
    wanted = json.dumps({"merged": datasets}) + "\n"
    merged = record.is_file()
    same = merged and record.read_text(encoding="utf-8", errors="replace") == wanted
    if not (same or (overwrite if merged else holds_nothing(folder))):
        remedy = "Use another name with --into" + (", or --overwrite to make that merge of others anew." if merged else ".")
        raise UserError(f"{folder} is there and no merge of {', '.join(datasets)}; it is left alone.\n{remedy}")
    if merged and not same:
        shutil.rmtree(folder / "images", ignore_errors=True)
        (folder / "des.csv").unlink(missing_ok=True)
    write_text(record, wanted)


def _rows(manifest: Manifest) -> pd.DataFrame:
    """Return the rows of a database as they stand in a merged des.csv. Raises UserError where its scenes are unknown."""
    import pandas as pd

    scenes = manifest.references
    if scenes is None:
        raise UserError(f"{manifest.dataset}: des.csv does not name the scene of its images; add the column `reference`")
    rows = pd.DataFrame({
        "image_name": [merged_name(manifest.dataset, name) for name in manifest.names], "MOS": manifest.mos,
        "distortion_type": manifest.types, "level": manifest.levels, "reference": scenes,
        "location": manifest.locations or scenes, "mos_source": manifest.mos_source})
    return rows if manifest.view_mos is None else rows.assign(**{VIEW_MOS: view_cells(manifest.view_mos)})


def _link(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and os.path.samefile(path, target):
        return
    target.unlink(missing_ok=True)
    try:
        os.link(path, target)
    except OSError:  # another file system
        shutil.copy2(path, target)
