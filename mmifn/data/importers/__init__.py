"""Importers: from the folders as databases are distributed to datasets/<DS>/ with a complete des.csv.

A further database is one module beside oiqa.py and cviq.py that makes a `Database`, and one line in REGISTRY.
"""

from __future__ import annotations

from mmifn.data.importers import cviq, oiqa
from mmifn.data.importers.database import Database
from mmifn.data.importers.own import own_database

REGISTRY: dict[str, Database] = {database.name: database for database in (oiqa.DATABASE, cviq.DATABASE)}


def database_named(name: str) -> Database:
    """Return the importer of a known database, or that of a user's own with a table of image and MOS."""
    return REGISTRY.get(name) or own_database(name)
