"""What an importer knows of one database: the key of each file, what each image is, and how scores are ordered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmifn.data.importers.scores import Score


UNKNOWN_TYPE = "unknown"


@dataclass(frozen=True)
class Slot:
    """One distorted image of a database: its distortion type, level (0: unknown) and reference scene ("": unknown).

    extra: further columns of des.csv and their values, such as where in the panorama a distortion is.
    """

    type: str
    level: int
    reference: str
    extra: tuple[tuple[str, str], ...] = ()


# Looks at pixels where names do not tell all: (slots, files by key) -> (slots, notes for the summary).
Refine = Callable[[dict[str, Slot], dict[str, Path]], tuple[dict[str, Slot], list[str]]]


@dataclass(frozen=True)
class Database:
    """A database as it is distributed. A further one is one module that makes one of these.

    key: file -> its key, or None where the file is no image of the database. The key is what label files call it.
    slots: every distorted image by key, in the database's order; None where the label file says it (users' own).
    references: key of each pristine image -> its scene; vectors: length of a bare score vector -> keys in its order.
    refine: settles from pixels what the names leave open. scales: the MOS scales in circulation.
    images, scenes: how many distorted images and scenes the whole database has. For databases whose label file names every
    image: slot_of: key and its line -> what the image is; severity: key -> how bad it must be (None: not ordered), which tells
    the polarity of the scores; judged: the scale people judged on, brought to 0-100.
    """

    name: str
    key: Callable[[Path], str | None]
    slots: dict[str, Slot] | None
    references: dict[str, str]
    vectors: dict[int, list[str]]
    refine: Refine | None = None
    scales: tuple[str, ...] = ("0-100",)
    images: int | None = None
    scenes: int | None = None
    slot_of: Callable[[str, Score], Slot] | None = None
    severity: Callable[[str], float | None] | None = None
    judged: tuple[float, float] | None = None
