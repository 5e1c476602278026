"""Importers: from the folders as databases are distributed to datasets/<DS>/ with a complete des.csv.

A further database is one module beside oiqa.py and cviq.py that makes a `Database`, and one line in REGISTRY.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmifn.data.importers import cviq, iqa_odi, jufe, mvaqd, oiq10k, oiqa
from mmifn.data.importers.database import Database
from mmifn.data.importers.own import own_database

if TYPE_CHECKING:
    from mmifn.data.manifest import Manifest

REGISTRY: dict[str, Database] = {module.DATABASE.name: module.DATABASE for module in (oiqa, cviq, jufe, oiq10k, mvaqd, iqa_odi)}


def database_named(name: str) -> Database:
    """Return the importer of a known database, or that of a user's own with a table of image and MOS."""
    return REGISTRY.get(name) or own_database(name)


def partial_note(manifest: Manifest) -> str:
    """Say how much of a known database is there, "" where it is whole, simulated, or nobody knows how large it is."""
    from mmifn.data.manifest import HUMAN  # brings pandas, which a list of names does not need

    known = REGISTRY.get(manifest.dataset)
    if known is None or known.images is None or manifest.mos_source != HUMAN or len(manifest) >= known.images:
        return ""
    scenes = len(set(manifest.references or ()))
    of_scenes = f", {scenes} of {known.scenes} scenes" if known.scenes and scenes else ""
    return (f"PARTIAL IMPORT: {len(manifest)} of {known.images} images{of_scenes} of {manifest.dataset}; not to be compared with "
            "figures of the whole.")
