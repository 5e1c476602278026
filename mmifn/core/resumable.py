"""Make a cache row by row so that a killed run loses nothing and a repeated one repeats nothing.

Finished rows lie as small files beside the cache until all are there; rows of an earlier cache that was made the
same way from the same inputs are taken over.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmifn.core.artefact import Artefact, Provenance, load, load_torch, save, save_torch
from mmifn.core.errors import ArtefactError, UserError, listed
from mmifn.core.files import sha256_file, sha256_json
from mmifn.core.progress import Progress

Row = dict[str, Tensor]
_AHEAD = 2  # images that each reader decodes in the background while one is encoded


class RowStore:
    """The rows of a cache under construction: what an earlier cache or a killed run left, and what is added.

    rows: image name -> row; a row is found again by the SHA-256 of what it was made from (made_by.inputs).
    made_by: how all of them were made; on another device, too, where an earlier cache gave some.
    """

    def __init__(self, cache: Path, kind: type[Artefact], made_by: Provenance,
                 parts: Callable[[Any], list[Row]], axes: dict[str, int] | None = None) -> None:
        """Find the rows that are there; parts: an earlier cache -> its rows, in its order; axes: how many axes each tensor of
        a row has, by name (None: a row holds single numbers by any names)."""
        self.cache, self._inputs, self._axes = cache, made_by.inputs, axes
        self._folder = cache.parent / f".{cache.stem}.{sha256_json([made_by.method_digest(), made_by.computed])[:16]}"
        earlier, computed = _earlier_rows(cache, kind, made_by, parts)
        self.rows: dict[str, Row] = {}
        for name, key in self._inputs.items():
            row = earlier.get(key) or self._kept(key)
            if row is not None:
                self.rows[name] = row
        self._taken_over = set(self.rows)
        self.made_by = made_by
        if any(key in earlier for key in self._inputs.values()):
            own = [made_by.computed] if any(key not in earlier for key in self._inputs.values()) else []
            self.made_by = replace(made_by, computed="; ".join(sorted({*computed.split("; "), *own} - {""})))

    def put(self, name: str, row: Row) -> None:
        """Keep the row of an image, on disk at once."""
        save_torch(row, self._path(self._inputs[name]))
        self.rows[name] = row
        self._taken_over.discard(name)

    def drop_misfits(self) -> list[str]:
        """Forget rows of earlier runs where not all rows are of one shape; return the names that lack theirs now."""
        shapes = {tuple((key, row[key].shape) for key in sorted(row)) for row in self.rows.values()}
        dropped = sorted(self._taken_over) if len(shapes) > 1 else []
        for name in dropped:
            del self.rows[name]
        self._taken_over.difference_update(dropped)
        return dropped

    def finish(self, artefact: Artefact) -> None:
        """Write the cache itself and remove every unfinished construction of it, this one's and those of other settings."""
        save(artefact, self.cache)
        for folder in self.cache.parent.glob(f".{self.cache.stem}.*"):
            if folder.is_dir():
                shutil.rmtree(folder)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key[:32]}.pt"

    def _kept(self, key: str) -> Row | None:
        """Return a row that a killed run left, or None; a damaged one counts as not there."""
        path = self._path(key)
        try:
            row = load_torch(path) if path.is_file() else None
        except ArtefactError:
            return None
        return row if self._is_row(row) else None

    def _is_row(self, value: Any) -> bool:
        """Tell whether a value is a row: tensors by name, finite throughout, with the axes that they ought to have."""
        if not isinstance(value, dict) or not value or not all(isinstance(item, Tensor) for item in value.values()):
            return False
        wanted = dict.fromkeys(value, 0) if self._axes is None else self._axes
        return {key: item.ndim for key, item in value.items()} == wanted and all(
            bool(torch.isfinite(item).all()) for item in value.values())


def _earlier_rows(cache: Path, kind: type[Artefact], made_by: Provenance,
                  parts: Callable[[Any], list[Row]]) -> tuple[dict[str, Row], str]:
    """Return the rows of an earlier cache of the same method, by the SHA-256 of what each was made from, and made on what."""
    if not cache.is_file():
        return {}, ""
    try:
        old = load(cache, kind)
    except ArtefactError:
        return {}, ""  # it is about to be replaced anyway
    if old.made_by.method_digest() != made_by.method_digest():
        return {}, ""
    return dict(zip((old.made_by.inputs[name] for name in old.names), parts(old), strict=True)), old.made_by.computed


def hash_inputs(names: list[str], paths: list[Path]) -> dict[str, str]:
    """Return name -> SHA-256 of every file, with progress."""
    pairs = zip(names, Progress(paths, desc="hashing images", unit="image", leave=False, delay=2), strict=True)
    return {name: sha256_file(path) for name, path in pairs}


def encode_rows(store: RowStore, names: list[str], read: Callable[[int], Any], encode: Callable[[list[Any]], list[Row]],
                label: str, readers: int = 1, together: int = 1) -> list[Row]:
    """Return the row of every name, encoding those that the store lacks.

    read: index -> decoded input (runs ahead in `readers` threads, may raise UserError); encode: up to `together` inputs ->
    their rows. All unreadable inputs come in one UserError, after the others are done.
    """
    _encode_lacking(store, names, read, encode, label, readers, together)
    if store.drop_misfits():
        _encode_lacking(store, names, read, encode, label, readers, together)
    return [store.rows[name] for name in names]


def _encode_lacking(store: RowStore, names: list[str], read: Callable[[int], Any], encode: Callable[[list[Any]], list[Row]],
                    label: str, readers: int, together: int) -> None:
    """Encode and keep the row of every name that the store lacks, as encode_rows does."""
    todo = [i for i, name in enumerate(names) if name not in store.rows]
    failures, waiting = [], []
    with Progress(total=len(names), initial=len(names) - len(todo), desc=label, unit="image", smoothing=0.05) as progress:
        for place, (i, value) in enumerate(read_ahead(read, todo, readers), 1):
            if isinstance(value, UserError):
                failures.append(str(value))
            else:
                waiting.append((names[i], value))
            if len(waiting) == together or (waiting and place == len(todo)):
                for (name, _), row in zip(waiting, encode([each for _, each in waiting]), strict=True):
                    store.put(name, row)
                    progress.update()
                waiting = []
    if failures:
        raise UserError(f"{len(failures)} of {len(names)} images could not be read:\n{listed(failures)}\n"
                        "Nothing was written to the cache; the rows of the good ones are kept for the next run.")


def read_ahead(read: Callable[[int], Any], todo: list[int], readers: int) -> Iterator[tuple[int, Any]]:
    """Yield (index, input or the UserError it raised) in order, decoding a few inputs ahead in background threads."""

    def attempt(i: int) -> Any:
        try:
            return read(i)
        except UserError as error:
            return error

    ahead = _AHEAD * readers
    with ThreadPoolExecutor(readers) as pool:
        waiting = [pool.submit(attempt, i) for i in todo[:ahead]]
        try:
            for position, i in enumerate(todo):
                if position + ahead < len(todo):
                    waiting.append(pool.submit(attempt, todo[position + ahead]))
                value = waiting.pop(0).result()
                yield i, value
        finally:
            for future in waiting:
                future.cancel()
