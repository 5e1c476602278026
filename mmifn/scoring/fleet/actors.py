"""What runs in the processes of a fleet: an actor that holds the model, and one that knows what became of every image.

An actor that dies (killed, out of memory, crashed by a decoder) is started again and given its block again. `Attempts` knows
what had been scored of that block, so that nothing is scored twice, and over which images the actor died: each of them is then
scored alone, and where an actor dies over it again, it becomes a row with an error, and the block goes on without it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmifn.core.errors import UserError, first_line
from mmifn.core.files import Stamp
from mmifn.core.workers import one_thread
from mmifn.data.formats import VIDEO_EXTENSIONS
from mmifn.scoring.files import ImageJob, Task, failed, killed, score_batch
from mmifn.scoring.fleet.manifest import KEY
from mmifn.scoring.fleet.places import local_copy
from mmifn.scoring.parquet import schema, to_table
from mmifn.scoring.pieces import Piece, parts_of

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
DEATHS = 2  # of its process, after which an image is given up


class Attempts:
    """The images of the blocks under way: which are scored, over which a process died; and how many there were in all."""

    def __init__(self) -> None:
        self._opened: set[str] = set()
        self._deaths: dict[str, int] = {}
        self._rows: dict[str, Row] = {}
        self._scored = self._failed = 0

    def begin(self, names: list[str]) -> tuple[dict[str, int], dict[str, Row]]:
        """Begin a block, or begin it again; return how often its images have killed, and the rows that are there."""
        for name in self._opened.intersection(names):
            self._deaths[name] = self._deaths.get(name, 0) + 1
        self._opened.difference_update(names)
        return ({name: self._deaths[name] for name in names if name in self._deaths},
                {name: self._rows[name] for name in names if name in self._rows})

    def open(self, names: list[str]) -> None:
        """Note that images are being scored."""
        self._opened.update(names)

    def close(self, rows: dict[str, Row]) -> None:
        """Note what came of them."""
        self._opened.difference_update(rows)
        self._rows.update(rows)
        self._scored += len(rows)
        self._failed += sum("error" in row for row in rows.values())

    def end(self, names: list[str]) -> None:
        """Forget a block that is whole."""
        for name in names:
            self._rows.pop(name, None)
            self._deaths.pop(name, None)

    def counts(self) -> tuple[int, int]:
        """Return how many images were scored in this run, and how many of them could not be."""
        return self._scored, self._failed


def fleet_schema() -> pa.Schema:
    """Return the columns of a fleet's results: id, its hash, and those of predict.py, whose `image` is the path."""
    import pyarrow as pa

    return pa.schema([("id", pa.string()), (KEY, pa.int64()), *schema()])


class Picture(NamedTuple):
    """A row of the manifest: a path or an address, and which of the picture's spheres is meant."""

    place: str
    part: int = 0

    def job(self, task: Task, file: Path | None = None) -> ImageJob:
        """Return what is to be done with it; file: what stands for it on this machine."""
        label = parts_of(self.place, task.projection)[self.part]
        return ImageJob(file or Path(self.place), label, task, piece=Piece(task.projection, self.part))

    def named(self, row: Row, file: Path) -> Row:
        """Return a row whose error names the picture's place, not the file that stood for it."""
        return row | {"error": row["error"].replace(str(file), self.place)} if "error" in row else row


class Scorer:
    """An actor: holds the model, takes blocks of ids and paths, decodes and scores a batch of images after the other."""

    def __init__(self, task: Task, identity: str, attempts: Any, batch: int = 1) -> None:
        """Load the model; attempts: handle of the actor `Attempts`; batch: images in one pass of the networks.

        Raises UserError where the model is another than the driver's.
        """
        if task.identity != identity:
            raise UserError(f"this machine has another model ({task.identity}) than the one that started the run ({identity}); "
                            "install the same version and weights everywhere")
        self._task, self._attempts, self._batch = task, attempts, batch

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return the results of a block, a row an image."""
        import ray

        names, places, parts, keys = (block[column].to_pylist() for column in ("id", "path", "part", KEY))
        pictures = {name: Picture(*where) for name, *where in zip(names, places, parts, strict=True)}
        deaths, rows = ray.get(self._attempts.begin.remote(names))
        for some in passes([name for name in names if name not in rows], deaths, self._batch):
            wanted = [pictures[name] for name in some]
            if deaths.get(some[0], 0) >= DEATHS:
                found = [given_up(picture, self._task) for picture in wanted]
            else:
                ray.get(self._attempts.open.remote(some))
                found = score(wanted, self._task)
            scored = dict(zip(some, found, strict=True))
            self._attempts.close.remote(scored)
            rows |= scored
        self._attempts.end.remote(names)
        return to_table([{"id": name, KEY: key, **rows[name]} for name, key in zip(names, keys, strict=True)], fleet_schema())


def passes(names: list[str], suspects: Container[str], batch: int) -> Iterator[list[str]]:
    """Yield the names that are scored together: each suspect alone, so that it is known over which a process dies."""
    yield from ([name] for name in names if name in suspects)
    others = [name for name in names if name not in suspects]
    yield from (others[i:i + batch] for i in range(0, len(others), batch))


def given_up(picture: Picture, task: Task) -> Row:
    """Return the row of an image over which a process has died too often."""
    job = picture.job(task)
    return picture.named(killed(job).row, job.path)


def score(pictures: list[Picture], task: Task) -> list[Row]:
    """Return the rows of images, wherever they are, scored in one pass; of those that cannot be scored the rows with errors."""
    try:
        return _scored(pictures, task)
    except Exception as error:  # a fault of ours, or of a decoder: one picture must not end a run of millions
        if "CUDA" in str(error):
            os._exit(1)  # the device is lost to this process; a new one begins with the picture, and gives it up the second time
        if len(pictures) == 1:
            said = f"could not be scored ({first_line(error)}); please report this, it is a fault of the program"
            return [failed(pictures[0].job(task), f"{pictures[0].place} {said}").row]
    return [score([picture], task)[0] for picture in pictures]  # one of them is to blame


def _scored(pictures: list[Picture], task: Task) -> list[Row]:
    """Return the rows of images, fetched, read and scored together; those that cannot be fetched or read cost no other."""
    rows: dict[Picture, Row] = {}
    there: dict[Picture, tuple[Path, Stamp | None]] = {}
    with contextlib.ExitStack() as copies, one_thread():
        for picture in pictures:
            try:
                there[picture] = copies.enter_context(local_copy(_no_clip(picture.place)))
            except UserError as error:
                rows[picture] = failed(picture.job(task), str(error)).row
        results = score_batch([picture.job(task, file) for picture, (file, _) in there.items()])
    for (picture, (file, stamp)), result in zip(there.items(), results, strict=True):
        rows[picture] = picture.named(result.row, file)
        if stamp is not None and not result.error:
            rows[picture] |= {"image_bytes": stamp.bytes, "image_modified_us": stamp.modified_us}
    return [rows[picture] for picture in pictures]


def _no_clip(place: str) -> str:
    """Return a place. Raises UserError where it is that of a video, whose moments only a look into it tells."""
    if place.lower().endswith(VIDEO_EXTENSIONS):
        raise UserError(f"{place} is a video, and a fleet has one row for a picture; make pictures of its frames, or let "
                        "predict.py --list FILE --shard I/N --every TIME score its moments")
    return place
