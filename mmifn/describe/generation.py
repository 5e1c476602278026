"""Describe the images of a dataset with any source: what is to be done, doing it, and keeping each answer at once."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mmifn.core.errors import UserError, listed
from mmifn.core.files import sha256_file, sha256_text
from mmifn.core.progress import Progress
from mmifn.describe.table import Row, append, read_rows, upsert


@dataclass(frozen=True)
class Item:
    """One thing to describe: a whole image (viewport "") or one of its viewports ("00", "01", …)."""

    name: str
    path: Path
    viewport: str = ""

    def __str__(self) -> str:
        return f"{self.name} viewport {self.viewport}" if self.viewport else self.name


@dataclass(frozen=True)
class Answer:
    """What a source gave for an item: a text, or why there is none."""

    item: Item
    text: str = ""
    failure: str = ""


@dataclass(frozen=True)
class Identity:
    """All that changes a text beside the image: a row made with another identity is made again."""

    source: str
    model: str
    revision: str
    prompt_sha256: str


class Describer(Protocol):
    """A source of descriptions. `describe` yields exactly one Answer per item, in any order, as each is ready."""

    @property
    def identity(self) -> Identity: ...

    def describe(self, items: list[Item]) -> Iterator[Answer]: ...


@dataclass(frozen=True)
class Plan:
    """todo: items to describe now; hashes: image name -> SHA-256; done, supplied: counts of items left as they are;
    replaced, others: how many rows of which source the run will replace, and leave though another source made them."""

    todo: list[Item]
    hashes: dict[str, str]
    done: int
    supplied: int
    replaced: dict[str, int]
    others: dict[str, int]


def identity_of(source: str, model: str, revision: str, prompt: str) -> Identity:
    """Return the identity of a source's texts; sources that take no prompt pass ""."""
    return Identity(source, model, revision, sha256_text(prompt) if prompt else "")


def list_items(names: list[str], paths: list[Path], viewports: int = 0) -> list[Item]:
    """Return one item per image, each followed by its viewports where wanted."""
    items = []
    for name, path in zip(names, paths, strict=True):
        items += [Item(name, path), *(Item(name, path, f"{i:02d}") for i in range(viewports))]
    return items


def _rows_of(rows: list[Row], dataset: str, items: list[Item]) -> list[Row | None]:
    """Return the row of every item, or None."""
    on_file = {row.key: row for row in rows if row.dataset in ("", dataset)}
    return [on_file.get((dataset, item.name, item.viewport)) or on_file.get(("", item.name, item.viewport)) for item in items]


def undescribed(rows: list[Row], dataset: str, items: list[Item]) -> list[Item]:
    """Return the items that have no text from any source."""
    return [item for item, row in zip(items, _rows_of(rows, dataset, items), strict=True)
            if row is None or not row.description.strip()]


def make_plan(rows: list[Row], dataset: str, items: list[Item], identity: Identity, *, limit: int | None = None,
              replace_supplied: bool = False, replace_others: bool = False) -> Plan:
    """Compare items with the rows on file.

    An item is done where its row has the same source, model, revision, prompt and image; a text supplied by hand
    stays unless `replace_supplied`, one that another source made unless `replace_others`. limit: at most this many images
    are described now.
    """
    hashes: dict[str, str] = {}
    named: set[str] = set()  # images with something to do
    todo, done, supplied, replaced, others = [], 0, 0, Counter(), Counter()
    for item, row in zip(items, _rows_of(rows, dataset, items), strict=True):
        if row and row.supplied and not replace_supplied:
            supplied += 1
            continue
        if row and row.description.strip() and row.source not in ("", identity.source) and not replace_others:
            others[row.source] += 1
            continue
        if limit is not None and item.name not in hashes and len(named) >= limit:
            continue
        hashes.setdefault(item.name, sha256_file(item.path))
        want = (identity.source, identity.model, identity.revision, identity.prompt_sha256, hashes[item.name])
        if row and row.description.strip() and want == (row.source, row.model, row.revision, row.prompt_sha256,
                                                        row.image_sha256):
            done += 1
            continue
        if row and row.description.strip():
            replaced[row.source or "supplied"] += 1
        todo.append(item)
        named.add(item.name)
    return Plan(todo, hashes, done, supplied, dict(replaced), dict(others))


def report_plan(plan: Plan) -> None:
    """Say on stderr what will be done and what stays."""
    parts = [f"{len(plan.todo)} to describe", f"{plan.done} up to date"]
    if plan.supplied:
        parts.append(f"{plan.supplied} supplied by hand, kept (--replace-supplied would replace them)")
    parts += [f"{count} of source {source}, kept (--replace-others would replace them)"
              for source, count in sorted(plan.others.items())]
    parts += [f"replacing {count} of source {source}" for source, count in sorted(plan.replaced.items())]
    print("; ".join(parts), file=sys.stderr)


def generate(path: Path, dataset: str, items: list[Item], describer: Describer, *, limit: int | None = None,
             replace_supplied: bool = False, replace_others: bool = False) -> int:
    """Describe what is missing or out of date, writing each answer to `path` at once; return how many were written.

    Raises UserError at the end that lists every item for which the source gave no usable text.
    """
    identity = describer.identity
    plan = make_plan(read_rows(path), dataset, items, identity, limit=limit, replace_supplied=replace_supplied,
                     replace_others=replace_others)
    report_plan(plan)
    written, failures = 0, []
    if not plan.todo:
        upsert(path, [])  # a killed run may have appended the last ones
        return written
    try:
        with Progress(total=len(plan.todo), unit="text", desc=identity.source, file=sys.stderr) as progress:
            for answer in describer.describe(plan.todo):
                progress.update()
                if answer.failure:
                    failures.append(f"{answer.item}: {answer.failure}")
                    progress.write(f"no text for {failures[-1]}", file=sys.stderr)
                    continue
                append(path, [Row(dataset, answer.item.name, answer.text, identity.source, identity.model,
                                  identity.revision, identity.prompt_sha256, plan.hashes[answer.item.name],
                                  answer.item.viewport)])
                written += 1
    finally:
        upsert(path, [])  # what was appended becomes part of the table
    if failures:
        raise UserError(f"{identity.source} gave no usable text for {len(failures)} of {len(plan.todo)}:\n"
                        f"{listed(failures)}\nThe other {written} are kept. Mend the cause and run the same command "
                        "again; only the missing ones are done.")
    return written
