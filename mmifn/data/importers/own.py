"""A user's own database, or any with a list: an image folder and a table of image and MOS (more columns welcome)."""

from __future__ import annotations

from pathlib import Path

from mmifn.data.importers.database import Database


def _key(path: Path) -> str | None:
    return path.stem


def own_database(name: str) -> Database:
    """Return a database of which only its label file knows the images."""
    return Database(name=name, key=_key, slots=None, references={}, vectors={},
                    scales=("0-100", "1-10"))
