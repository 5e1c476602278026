"""The manifest of a fleet: which images, by id; checked as a whole before anything is scored."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np

from mmifn.core.defaults import AUTO
from mmifn.core.errors import UserError, listed
from mmifn.core.files import sha256_number
from mmifn.scoring.fleet.places import filesystem_of, is_remote, local_copy, written
from mmifn.scoring.listing import Shard
from mmifn.scoring.parquet import damage_told
from mmifn.scoring.pieces import parts_of

if TYPE_CHECKING:
    import pyarrow.dataset as pads

COLUMNS = ("id", "path")
KEY = "id_hash"  # 63 bits of the SHA-256 of an id, by which Ray knows a row: eight bytes each, not a string
_ROWS_AT_A_TIME = 20_000
_TRIED = 5  # images that are looked at before the others, so that missing rights or a wrong folder are found at once


def prepare(manifest: str, shard: Shard, target: str, projection: str = AUTO) -> np.ndarray:
    """Check a manifest (Parquet or csv with the columns id and path) and write the rows of a shard to `target` as Parquet.

    Paths become absolute: they are relative to the manifest's folder. A picture that holds several spheres in this projection
    (its eyes) becomes as many rows, each with an id of its own and the number of its part. Returns the keys of the shard's
    rows, sorted; raises UserError for a manifest that cannot be scored as it is, before anything is written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    base = manifest.rpartition("/")[0] if is_remote(manifest) else os.path.dirname(os.path.abspath(manifest))
    source, keys = _opened(manifest), [np.empty(0, np.int64)]
    _try_some(source, manifest, base)
    wanted = pa.schema([("id", pa.string()), ("path", pa.string()), ("part", pa.int64()), (KEY, pa.int64())])
    with written(target) as stream, pq.ParquetWriter(stream, wanted) as writer:
        for rows in _rows(source, manifest):
            mine = [(each, _absolute(path, base), part, key_of(each)) for name, path in rows if shard.holds(name)
                    for part, each in enumerate(parts_of(name, projection))]
            columns = list(zip(*mine, strict=True)) or [()] * len(wanted)
            writer.write_table(pa.table(columns, schema=wanted))
            keys.append(np.array([key for *_, key in mine], np.int64))
        found = np.sort(np.concatenate(keys))
        if len(doubled := found[1:][found[1:] == found[:-1]]):
            _refuse_doubles(source, manifest, set(doubled.tolist()), projection)
    return found


def key_of(name: str) -> int:
    """Return the key of an id, which fits a signed number of 64 bits."""
    return sha256_number(name) >> 1


def _opened(manifest: str) -> pads.Dataset:
    """Open a manifest, every column of which is text; refuse what is none."""
    import pyarrow as pa
    import pyarrow.csv as csv
    import pyarrow.dataset as pads

    files, path = filesystem_of(manifest)
    text = csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string()), strings_can_be_null=False)
    form = pads.CsvFileFormat(convert_options=text) if path.lower().endswith((".csv", ".csv.gz")) else "parquet"
    with damage_told(f"{manifest} cannot be read as a manifest",
                     "wanted Parquet, or csv with the name *.csv, with the columns id and path"):
        source = pads.dataset(path, format=form, filesystem=files)
    if missing := [name for name in COLUMNS if name not in source.schema.names]:
        raise UserError(f"{manifest} has no column {' and no column '.join(missing)}; wanted id and path (a path or an address "
                        f"such as s3://…), found {', '.join(source.schema.names)}")
    return source


def _rows(source: pads.Dataset, manifest: str) -> Iterator[list[tuple[str, str]]]:
    """Yield the rows some at a time, refusing empty ones and a manifest without any."""
    import pyarrow as pa

    first = 0
    with damage_told(f"{manifest} cannot be read to its end", "make it again"):
        for batch in source.to_batches(columns=list(COLUMNS), batch_size=_ROWS_AT_A_TIME):
            names, paths = (batch[name].cast(pa.string()).to_pylist() for name in COLUMNS)
            for i, (name, path) in enumerate(zip(names, paths, strict=True)):
                if not name or not path:
                    raise UserError(f"{manifest}: row {first + i + 1} has no {'path' if name else 'id'}")
            first += len(names)
            yield list(zip(names, paths, strict=True))
    if not first:
        raise UserError(f"{manifest} holds no images")


def _absolute(path: str, base: str) -> str:
    return path if "://" in path or os.path.isabs(path) else f"{base}/{path}"


def _try_some(source: pads.Dataset, manifest: str, base: str) -> None:
    """Refuse a manifest of whose first images none can be fetched: rights or a folder are wrong, not single images."""
    errors = []
    for name, path in islice(chain.from_iterable(_rows(source, manifest)), _TRIED):
        try:
            with local_copy(_absolute(path, base)) as (file, _):
                if file.is_file():
                    return
                errors.append(f"{name}: {file} does not exist")
        except UserError as error:
            errors.append(f"{name}: {error}")
    raise UserError(f"none of the first {len(errors)} images of {manifest} can be read:\n{listed(errors)}\n"
                    "Paths are relative to the manifest's folder; credentials are those of pyarrow or fsspec.")


def _refuse_doubles(source: pads.Dataset, manifest: str, keys: set[int], projection: str) -> None:
    names: dict[int, list[str]] = {}
    for rows in _rows(source, manifest):
        for name in chain.from_iterable(parts_of(name, projection) for name, _ in rows):
            if key_of(name) in keys:
                names.setdefault(key_of(name), []).append(name)
    told = (f"{found[0]} ({len(found)} times)" if len(set(found)) == 1 else f"{found[0]} and {found[1]}, which have one hash"
            for found in names.values())
    raise UserError(f"{manifest} holds {len(names)} ids more than once; an id must stand for one image:\n{listed(told)}")
