"""Which images a run is about: those named, those below folders, or those of a list; all of them or one shard.

Nothing is kept but eight bytes an image, so that a listing may be of any length. A label is what results call an image.
"""

from __future__ import annotations

import os
import re
import sys
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmifn.core.errors import UserError
from mmifn.core.files import sha256_number
from mmifn.core.text import printable
from mmifn.data.formats import HEIF_EXTENSIONS
from mmifn.data.images import EXTENSIONS

STANDARD_INPUT = "-"
IMAGES = (*EXTENSIONS, ".mpo", ".jfif", ".hdr", ".exr", *HEIF_EXTENSIONS)  # what is scored in a folder
_NEW_LABELS = 100_000  # looked up in a set, before they go over to a sorted array, which takes a tenth of its memory


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of all images, number 1 to `count`; the hash of a label alone says where an image belongs."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard that "3/16" means, the third of sixteen; raises UserError for anything else."""
        number, slash, count = text.partition("/")
        if not (slash and number.isdecimal() and count.isdecimal()):
            raise UserError(f"--shard {text}: wanted I/N, such as 3/16 for the third of sixteen")
        if not 1 <= int(number) <= int(count):
            raise UserError(f"--shard {text} is out of range: of {count} shards there are 1/{count} to {count}/{count}")
        return cls(int(number), int(count))

    def holds(self, label: str) -> bool:
        """Tell whether an image is of this shard: SHA-256 of the label, first eight bytes as a number, modulo `count`."""
        return self.count == 1 or sha256_number(label) % self.count == self.number - 1


WHOLE = Shard()


class Seen:
    """A growing set of numbers below 2^64, of eight bytes each."""

    def __init__(self) -> None:
        self._old = array("Q")
        self._new: set[int] = set()

    def add(self, number: int) -> bool:
        """Add a number; tell whether it is new."""
        if number in self._new:
            return False
        position = bisect_left(self._old, number)
        if position < len(self._old) and self._old[position] == number:
            return False
        self._new.add(number)
        if len(self._new) >= _NEW_LABELS:
            self._old = array("Q", np.union1d(self._old, np.fromiter(self._new, np.uint64, len(self._new))).tobytes())
            self._new = set()
        return True


@dataclass(frozen=True)
class Listing:
    """The images of a run, as pairs of label and file; each comes once, in the order of the folders or of the list.

    places: images, or folders that hold some; their labels are relative to the folder that all places are in, so that they
    do not change when images are added. source: a file with one path a line, or "-" for standard input; its labels are
    its lines. Hidden files are passed over, and folders named as images are: what --map draws of holiday/a.jpg is in a.jpg/.
    """

    places: tuple[Path, ...] = ()
    source: str | None = None
    shard: Shard = WHOLE

    @property
    def repeatable(self) -> bool:
        """Tell whether it can be gone through more than once."""
        return self.source != STANDARD_INPUT

    def passed_over(self) -> Counter[str]:
        """Return how many files of each kind lie in the folders named and are no images by their names."""
        counts: Counter[str] = Counter()
        for place in self.places:
            for _, folders, names in os.walk(place) if place.is_dir() else ():
                folders[:] = [name for name in folders if not name.startswith(".") and not _named_as_image(name)]
                counts.update(os.path.splitext(name)[1].lower() or "without extension" for name in names
                              if not name.startswith(".") and not _named_as_image(name))
        return counts

    def __iter__(self) -> Iterator[tuple[str, Path]]:
        seen = Seen()
        for label, path in _of_list(self.source) if self.source else _of_places(self.places):
            if self.shard.holds(label) and seen.add(sha256_number(label)):
                yield label, path


def _of_list(source: str) -> Iterator[tuple[str, Path]]:
    if source == STANDARD_INPUT:
        yield from _of_lines(sys.stdin.buffer)
        return
    if not Path(source).is_file():
        raise UserError(f"--list {source} does not exist; give a file with one path a line, or - for standard input")
    with open(source, "rb") as lines:
        yield from _of_lines(lines)


def _of_lines(lines: Iterable[bytes]) -> Iterator[tuple[str, Path]]:
    for line in lines:
        if name := os.fsdecode(line.rstrip(b"\r\n")):
            yield printable(name), Path(name)


def _of_places(places: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
    """Yield label and file of what is named and of what is below it; refuse places where nothing is."""
    for place in places:
        if re.match(r"[a-z][a-z0-9+.-]+:/", str(place)):
            raise UserError(f"{place} is an address, and addresses are not fetched; download the picture and give its path")
        if not place.exists():
            raise UserError(f"{place} does not exist; give images, or folders that hold some")
        if place.is_dir() and next(_images_below(place, ""), None) is None:
            raise UserError(f"{place} holds no images ({', '.join(IMAGES)})")
    parent = os.path.commonpath([os.path.abspath(place if place.is_dir() else place.parent) for place in places])
    for place in places:
        name = Path(os.path.relpath(os.path.abspath(place), parent)).as_posix()
        for label, path in _images_below(place, "" if name == "." else f"{name}/") if place.is_dir() else [(name, place)]:
            yield printable(label), path


def _named_as_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGES


def _images_below(folder: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    """Yield the images in a folder and below, sorted by name, folder by folder, each behind its name in there after a prefix."""
    with os.scandir(folder) as entries:
        inside = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in inside:
        named_as_image = _named_as_image(entry.name)
        if entry.is_dir(follow_symlinks=False):
            if not named_as_image:
                yield from _images_below(folder / entry.name, f"{prefix}{entry.name}/")
        elif named_as_image and entry.is_file():
            yield prefix + entry.name, folder / entry.name
