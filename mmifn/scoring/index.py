"""Which rows a file of results holds, without the rows: where each lies, and of which image and model it is."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmifn.core.files import Stamp, sha256_file, sha256_number, stamp_of


class ImageFile:
    """The file of an image, looked at once however many results ask for it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def stamp(self) -> Stamp | None:
        return stamp_of(self.path)

    @cached_property
    def sha256(self) -> str:
        return sha256_file(self.path)


class Entry(NamedTuple):
    """One row: where it lies, the stamp that its image had (None: not told), and its model ("": it holds an error)."""

    place: int
    stamp: Stamp | None
    model: str


def still_holds(entry: Entry, image: ImageFile, identity: str, row: Callable[[int], dict[str, Any]], verify: bool) -> bool:
    """Tell whether a row is of this model and of the file as it is now: by its stamp, or else by its content.

    identity: of the model; row: gives the row at a place; verify: by the content alone.
    """
    if entry.model != identity or image.stamp is None:
        return False
    return (entry.stamp == image.stamp and not verify) or row(entry.place)["image_sha256"] == image.sha256


class RowIndex:
    """Entries by label, 36 bytes each; of several with one label the last counts."""

    def __init__(self) -> None:
        self._columns: tuple[array[int], ...] = array("Q"), array("q"), array("q"), array("q"), array("I")
        self._models: dict[str, int] = {}
        self._names: list[str] = []
        self._sorted: list[array[int]] = []  # in which a single number is found faster than in those of numpy

    def add(self, label: str, entry: Entry) -> None:
        """Note a row; after that nothing may have been looked up."""
        numbers = sha256_number(label), entry.place, *(entry.stamp or (-1, -1)), self._models.setdefault(
            entry.model, len(self._models))
        for column, number in zip(self._columns, numbers, strict=True):
            column.append(number)

    def finish(self) -> Iterable[int]:
        """Make it ready for look-ups; return the places of rows that later ones have replaced."""
        labels, *others = (np.frombuffer(column, column.typecode) if column else np.empty(0, column.typecode)
                           for column in self._columns)
        order = np.argsort(labels, kind="stable")
        last = np.append(labels[order][1:] != labels[order][:-1], True)[:len(order)]
        self._sorted = [array(column.dtype.char, column[order[last]].tobytes()) for column in (labels, *others)]
        replaced: list[int] = others[0][order[~last]].tolist()
        self._columns, self._names = (), list(self._models)
        return replaced

    def __len__(self) -> int:
        return len(self._sorted[0])

    def find(self, label: str) -> Entry | None:
        """Return the entry of an image, if there is one."""
        labels, places, lengths, times, models = self._sorted
        number = sha256_number(label)
        i = bisect_left(labels, number)
        if i == len(labels) or labels[i] != number:
            return None
        stamp = Stamp(lengths[i], times[i]) if lengths[i] >= 0 else None
        return Entry(places[i], stamp, self._names[models[i]])
