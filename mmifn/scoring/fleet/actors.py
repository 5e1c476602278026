"""What runs in the processes of a fleet: an actor that holds the model, and one that knows what became of every image.

An actor that dies (killed, out of memory, crashed by a decoder) is started again and given its block again. `Attempts` knows
what had been scored of that block, so that nothing is scored twice, and over which image the actor died: after the second
time the image becomes a row with an error, and the block goes on without it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmifn.core.errors import UserError, first_line
from mmifn.core.workers import one_thread
from mmifn.scoring.files import ImageJob, Task, failed, killed, score_job
from mmifn.scoring.fleet.manifest import KEY
from mmifn.scoring.fleet.places import local_copy
from mmifn.scoring.parquet import schema, to_table

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

    def open(self, name: str) -> None:
        """Note that an image is being scored."""
        self._opened.add(name)

    def close(self, name: str, row: Row) -> None:
        """Note what came of it."""
        self._opened.discard(name)
        self._rows[name] = row
        self._scored += 1
        self._failed += "error" in row

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


class Scorer:
    """An actor: holds the model, takes blocks of ids and paths, decodes and scores one image after the other."""

    def __init__(self, task: Task, identity: str, attempts: Any) -> None:
        """Load the model; attempts: handle of the actor `Attempts`. Raises UserError where it is another than the driver's."""
        if task.identity != identity:
            raise UserError(f"this machine has another model ({task.identity}) than the one that started the run ({identity}); "
                            "install the same version and weights everywhere")
        self._task, self._attempts = task, attempts

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return the results of a block, a row an image."""
        import ray

        names, paths, keys = (block[column].to_pylist() for column in ("id", "path", KEY))
        deaths, rows = ray.get(self._attempts.begin.remote(names))
        for name, path in zip(names, paths, strict=True):
            if name in rows:
                continue
            if deaths.get(name, 0) >= DEATHS:
                rows[name] = killed(ImageJob(Path(path), path, self._task)).row
            else:
                ray.get(self._attempts.open.remote(name))
                rows[name] = score(path, self._task)
            self._attempts.close.remote(name, rows[name])
        self._attempts.end.remote(names)
        return to_table([{"id": name, KEY: key, **rows[name]} for name, key in zip(names, keys, strict=True)], fleet_schema())


def score(place: str, task: Task) -> Row:
    """Return the row of one image, wherever it is; of one that cannot be scored the row with its error."""
    try:
        with local_copy(place) as (file, stamp), one_thread():
            row = score_job(ImageJob(file, place, task)).row
            if stamp is None:
                return row
            if "error" in row:
                return row | {"error": row["error"].replace(str(file), place)}
            return row | {"image_bytes": stamp.bytes, "image_modified_us": stamp.modified_us}
    except UserError as error:
        said = str(error)
    except Exception as error:  # a fault of ours, or of a decoder: one picture must not end a run of millions
        if "CUDA" in str(error):
            os._exit(1)  # the device is lost to this process; a new one begins with the picture, and gives it up the second time
        said = f"{place} could not be scored ({first_line(error)}); please report this, it is a fault of the program"
    return failed(ImageJob(Path(place), place, task), said).row
