"""Encode a database image by image so that a killed run loses nothing and a repeated one repeats nothing.

Finished rows lie as small files beside the cache until all are there; rows of an earlier cache that was made the
same way from the same pixels are taken over.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from mmifn.core.artefact import Artefact, Provenance, load, load_torch, save_torch
from mmifn.core.errors import ArtefactError, UserError, listed
from mmifn.core.files import sha256_file

Row = dict[str, Tensor]
_AHEAD = 2  # images decoded in the background while one is encoded


class RowStore:
    """Rows under construction, keyed by the SHA-256 of what they are made from."""

    def __init__(self, cache: Path, made_by: Provenance) -> None:
        self.folder = cache.parent / f".{cache.stem}.{made_by.method_digest()}"

    def get(self, key: str) -> Row | None:
        """Return a finished row, or None; a damaged one counts as not there."""
        path = self.folder / f"{key[:32]}.pt"
        try:
            return load_torch(path) if path.is_file() else None
        except ArtefactError:
            return None

    def put(self, key: str, row: Row) -> None:
        save_torch(row, self.folder / f"{key[:32]}.pt")

    def clear(self) -> None:
        """Remove every unfinished construction of this cache, this one's and those of other settings."""
        for folder in self.folder.parent.glob(f"{self.folder.name.rsplit('.', 1)[0]}.*"):
            if folder.is_dir():
                shutil.rmtree(folder)


def hash_inputs(names: list[str], paths: list[Path]) -> dict[str, str]:
    """Return name -> SHA-256 of every file, with progress."""
    pairs = zip(names, tqdm(paths, desc="hashing images", unit="image", leave=False, delay=2), strict=True)
    return {name: sha256_file(path) for name, path in pairs}


def encode_rows(cache: Path, kind: type[Artefact], made_by: Provenance, read: Callable[[int], Any],
                encode: Callable[[Any], Row], parts: Callable[[Artefact], list[Row]], label: str) -> list[Row]:
    """Return one row per entry of made_by.inputs, computing only those that are not there yet.

    read: index -> decoded input (runs ahead in a thread, may raise UserError); encode: input -> row;
    parts: an earlier cache -> its rows. All unreadable inputs come in one UserError, after the others are done.
    """
    store = RowStore(cache, made_by)
    keys = list(made_by.inputs.values())
    earlier = _earlier_rows(cache, kind, made_by, parts)
    rows: dict[int, Row] = {}
    todo = []
    for i, key in enumerate(keys):
        row = earlier.get(key) or store.get(key)
        if row is None:
            todo.append(i)
        else:
            rows[i] = row
    failures = []
    progress = tqdm(total=len(keys), initial=len(rows), desc=label, unit="image", smoothing=0.05)
    with progress:
        for i, value in _read_ahead(read, todo):
            if isinstance(value, UserError):
                failures.append(str(value))
                continue
            rows[i] = encode(value)
            store.put(keys[i], rows[i])
            progress.update()
    if failures:
        raise UserError(f"{len(failures)} of {len(keys)} images could not be read:\n{listed(failures)}\n"
                        "Nothing was written to the cache; the rows of the good ones are kept for the next run.")
    return [rows[i] for i in range(len(keys))]


def finish(cache: Path, made_by: Provenance) -> None:
    """Remove the rows under construction once the cache itself is written."""
    RowStore(cache, made_by).clear()


def _earlier_rows(cache: Path, kind: type[Artefact], made_by: Provenance,
                  parts: Callable[[Artefact], list[Row]]) -> dict[str, Row]:
    if not cache.is_file():
        return {}
    try:
        old = load(cache, kind)
    except ArtefactError:
        return {}  # it is about to be replaced anyway
    if old.made_by.method_digest() != made_by.method_digest():
        return {}
    return dict(zip((old.made_by.inputs[name] for name in old.names), parts(old), strict=True))


def _read_ahead(read: Callable[[int], Any], todo: list[int]) -> Iterator[tuple[int, Any]]:
    """Yield (index, input or the UserError it raised), decoding a few inputs ahead in one background thread."""

    def attempt(i: int) -> Any:
        try:
            return read(i)
        except UserError as error:
            return error

    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(attempt, i) for i in todo[:_AHEAD]]
        try:
            for position, i in enumerate(todo):
                if position + _AHEAD < len(todo):
                    waiting.append(pool.submit(attempt, todo[position + _AHEAD]))
                value = waiting.pop(0).result()
                yield i, value
        finally:
            for future in waiting:
                future.cancel()
