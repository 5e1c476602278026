"""Results as Parquet: one row an image, with its views as a list and, where it could not be scored, its error.

Rows come one by one, Parquet is written in parts: until a part is full, its rows lie in a journal of JSON lines beside it,
so that a stop at any time loses nothing.
"""

from __future__ import annotations

import bisect
import contextlib
import importlib.util
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmifn.core.errors import UserError, first_line
from mmifn.core.files import Stamp, atomic_path
from mmifn.core.text import matched
from mmifn.scoring.index import Entry, ImageFile, RowIndex, still_holds
from mmifn.scoring.listing import WHOLE, Shard
from mmifn.scoring.prediction import REQUIRED, columns
from mmifn.scoring.results import ResultFile

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

SUFFIX = ".parquet"
ROWS_A_PART = 10_000
_ROWS_A_GROUP = 1000
_KNOWN_BY = ["image", "model", "image_bytes", "image_modified_us", "error"]  # columns that tell whether a row still holds
_PART = re.compile(r"(part|shard-\d+-of-\d+)-(\d{5})\.parquet")


def require_pyarrow() -> None:
    """Raise UserError where the package that reads and writes Parquet is missing."""
    if importlib.util.find_spec("pyarrow") is None:
        raise UserError("Parquet needs the package pyarrow, which is not installed: pip install 'mmifn[parquet]' "
                        "(from a checkout: pip install -c constraints.txt pyarrow)")


@contextlib.contextmanager
def damage_told(what: str, remedy: str) -> Iterator[None]:
    """Raise UserError in the place of whatever pyarrow raises over a damaged file; short memory and missing rights are none."""
    import pyarrow as pa

    try:
        yield
    except (MemoryError, PermissionError):
        raise
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise UserError(f"{what} ({first_line(error)}); {remedy}") from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a file of results to read it, with its checksums; raises UserError where it is damaged."""
    import pyarrow.parquet as pq

    with damage_told(f"{path} is there and cannot be read as results of predict.py", "name another file, or remove it"), \
            pq.ParquetFile(path, page_checksum_verification=True) as file:
        yield file


def schema(compared: Iterable[str] = ()) -> pa.Schema:
    """Return the columns of results with their types; compared: names of full-reference scores."""
    import pyarrow as pa

    texts = ("image", "quality", "description", "image_sha256", "model", "error")
    view = pa.struct([(name, pa.float64()) for name in ("lon_deg", "lat_deg", "score")])
    special = {**dict.fromkeys(texts, pa.string()), "viewports": pa.list_(view), "warnings": pa.list_(pa.string()),
               "worst_words": pa.list_(pa.string()), "judged_px": pa.int64(),
               "image_bytes": pa.int64(), "image_modified_us": pa.int64()}
    return pa.schema([(name, special.get(name, pa.float64())) for name in [*columns(compared), "error"]])


def to_table(rows: list[dict[str, Any]], wanted: pa.Schema) -> pa.Table:
    """Return rows as a table: values as they are, what a row lacks as null."""
    import pyarrow as pa

    names = [field.name for field in wanted.field("viewports").type.value_type]
    shaped = [{**row, "viewports": row.get("viewports") and [dict(zip(names, view, strict=True)) for view in row["viewports"]]}
              for row in rows]
    return pa.Table.from_pylist(shaped, schema=wanted)


def to_row(values: dict[str, Any]) -> dict[str, Any]:
    """Return a row as lines of JSON have it, of one of a table."""
    if values.get("error") is not None:
        return {"image": values["image"], "error": values["error"]}
    return {**{name: value for name, value in values.items() if name != "error"},
            "viewports": [list(view.values()) for view in values["viewports"]]}


class _Group(NamedTuple):
    """Rows that lie together in a file; first: the number of the first among those of all parts; number: in the file."""

    first: int
    path: Path
    number: int


class ParquetResults:
    """Results in one file, or in a folder as parts; it answers as `ResultFile` does.

    Rows that no longer hold go when the run ends, and with them only the parts that have some are written again. Several
    shards may share a folder.
    """

    def __init__(self, path: Path, identity: str, compared: Iterable[str] = (), verify: bool = False,
                 shard: Shard = WHOLE) -> None:
        """Open a file (*.parquet) or a folder; verify: compare images by their content."""
        require_pyarrow()
        self.path, self.identity, self._verify = path, identity, verify
        self._schema, self._stale = schema(compared), set[int]()
        self._loaded: tuple[_Group | None, list[dict[str, Any]]] = (None, [])
        self._name = "part" if shard.count == 1 else f"shard-{shard.number:03d}-of-{shard.count:03d}"
        self._in_folder = path.suffix != SUFFIX
        if self._in_folder:
            path.mkdir(parents=True, exist_ok=True)
        self._groups = self._look_through()
        self.journal = ResultFile(path / f".{self._name}.journal" if self._in_folder else path.with_name(f".{path.name}.journal"),
                                  identity, verify=verify)
        self._waiting = self.journal.count

    def find(self, label: str, image: ImageFile) -> int | None:
        """Return the place of an image's row, if it is of this model and of the file as it is now."""
        entry, waiting = self._index.find(label), self.journal.find(label, image)
        if entry is None or entry.place in self._stale:
            return None if waiting is None else -1 - waiting
        if waiting is None and still_holds(entry, image, self.identity, self.row, self._verify):
            return entry.place
        self._stale.add(entry.place)
        return None if waiting is None else -1 - waiting

    def row(self, place: int) -> dict[str, Any]:
        """Return the row at a place that `find` told."""
        if place < 0:
            return self.journal.row(-1 - place)
        group = self._group_of(place)
        if self._loaded[0] != group:  # rows are asked for one after the other
            with _opened(group.path) as file:
                self._loaded = group, file.read_row_group(group.number).to_pylist()
        return to_row(self._loaded[1][place - group.first])

    def add(self, row: dict[str, Any]) -> None:
        """Append a row to the journal at once, and write a part when there are enough."""
        self.journal.add(row)
        self._waiting += 1
        if self._in_folder and self._waiting >= ROWS_A_PART:
            self._roll()

    def drop_stale(self) -> None:
        """Drop the rows of the journal that are no longer true; those of parts stay until the end."""
        self.journal.drop_stale()

    def finish(self) -> None:
        """Bring everything into Parquet; the journal goes."""
        self.drop_stale()
        if self._in_folder:
            to_write = {self._group_of(place).path for place in self._stale}
            for path, groups in itertools.groupby(self._groups, key=lambda group: group.path):
                if path in to_write:
                    self._write(path, self._kept(groups))
            self._roll()
        elif self._waiting or self._stale:
            self._write(self.path, itertools.chain(self._kept(self._groups), self._journalled()))
        self.journal.path.unlink(missing_ok=True)

    def close(self) -> None:
        self.journal.close()

    def _look_through(self) -> list[_Group]:
        """Index the rows that are there, refusing files of another kind or of other shards."""
        import pyarrow as pa

        self._index, groups, self._rows = RowIndex(), [], 0
        for path in self._files():
            with _opened(path) as file:
                if missing := {*REQUIRED, "error"} - set(file.schema_arrow.names):
                    raise UserError(f"{path} is there and holds no results of predict.py (no columns "
                                    f"{', '.join(sorted(missing))}); name another file, or remove it")
                self._schema = pa.unify_schemas([self._schema, file.schema_arrow.remove_metadata()])
                for number in range(file.num_row_groups):
                    groups.append(_Group(self._rows, path, number))
                    self._note(file.read_row_group(number, columns=_KNOWN_BY))
        self._stale.update(self._index.finish())
        return groups

    def _group_of(self, place: int) -> _Group:
        return self._groups[bisect.bisect_right(self._groups, place, key=lambda group: group.first) - 1]

    def _note(self, known: pa.Table) -> None:
        """Add the next rows to the index."""
        for label, model, length, time, error in zip(*(column.to_pylist() for column in known.columns), strict=True):
            stamp = None if length is None else Stamp(length, time)
            self._index.add(label, Entry(self._rows, stamp, model if error is None else ""))
            self._rows += 1

    def _files(self) -> list[Path]:
        """Return the files that hold rows of this run, refusing a folder of other things."""
        if not self._in_folder:
            return [self.path] if self.path.exists() else []
        found = sorted(path for path in self.path.iterdir() if not path.name.startswith("."))
        for path in found:
            match = _PART.fullmatch(path.name)
            if not match:
                raise UserError(f"{self.path} holds {path.name}, which is not of predict.py; name another folder")
            if match[1].partition("-of-")[2] != self._name.partition("-of-")[2]:
                raise UserError(f"{self.path} holds {path.name}, of a run with {_shards(match[1])}; this one has "
                                f"{_shards(self._name)}: go on with the same --shard, or name another folder")
        return [path for path in found if path.name.startswith(f"{self._name}-")]

    def _roll(self) -> None:
        """Make a part of the journal and begin an empty one."""
        if self._waiting:
            numbers = [int(matched(_PART, path.name)[2]) for path in self._files()]
            self._write(self.path / f"{self._name}-{max(numbers, default=-1) + 1:05d}{SUFFIX}", self._journalled())
            self.journal.clear()
            self._waiting = 0

    def _journalled(self) -> Iterator[pa.Table]:
        rows = self.journal.rows()
        while some := list(itertools.islice(rows, _ROWS_A_GROUP)):
            yield to_table(some, self._schema)

    def _kept(self, groups: Iterable[_Group]) -> Iterator[pa.Table]:
        """Yield the rows that still hold, with all columns."""
        import pyarrow as pa

        for group in groups:
            with _opened(group.path) as file:
                table = file.read_row_group(group.number)
            table = table.filter(pa.array(group.first + i not in self._stale for i in range(len(table))))
            yield pa.table([table[field.name] if field.name in table.column_names else pa.nulls(len(table), field.type)
                            for field in self._schema], schema=self._schema)

    def _write(self, path: Path, tables: Iterator[pa.Table]) -> None:
        import pyarrow.parquet as pq

        with (atomic_path(path) as temporary,
              pq.ParquetWriter(temporary, self._schema, compression="zstd", write_page_checksum=True) as writer):
            for table in _regrouped(tables):
                writer.write_table(table, row_group_size=_ROWS_A_GROUP)


def _regrouped(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield the same rows in tables of _ROWS_A_GROUP rows, the last with what is left."""
    import pyarrow as pa

    waiting = None
    for table in tables:
        waiting = table if waiting is None else pa.concat_tables([waiting, table])
        while len(waiting) >= _ROWS_A_GROUP:
            yield waiting.slice(0, _ROWS_A_GROUP)
            waiting = waiting.slice(_ROWS_A_GROUP)
    if waiting is not None and len(waiting):
        yield waiting


def _shards(name: str) -> str:
    return f"{int(name.rpartition('-')[2])} shards" if name.startswith("shard-") else "no shards"
