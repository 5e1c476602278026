"""text/des.csv: the store of all descriptions, one row per image (or viewport) and dataset.

Columns: dataset, image_name, description, source, model, revision, prompt_sha256, image_sha256, viewport. A file that
somebody wrote by hand may have only image_name and description. Columns of other programs are carried along. Every
value is text and stays as it is: line breaks, quotes, any language, a leading '=', '+', '-' or '@'.

Answers that come one by one are appended to a journal and merged into the table at the end of a run, or when there are many;
whoever reads the table reads both.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from mmifn.core.errors import UserError, listed
from mmifn.core.files import atomic_path
from mmifn.describe import journal

MAX_DESCRIPTION_CHARS = 100_000


@dataclass(frozen=True)
class Row:
    """One description and where it comes from.

    dataset: "" in a hand-written file without that column; viewport: "" for the whole image, else a number;
    source: depictqa, vlm, measured, or "" where it was supplied by hand; revision: of weights and settings;
    prompt_sha256, image_sha256: of the prompt's text and the image file's bytes; extra: columns that are not ours.
    """

    dataset: str
    image_name: str
    description: str
    source: str = ""
    model: str = ""
    revision: str = ""
    prompt_sha256: str = ""
    image_sha256: str = ""
    viewport: str = ""
    extra: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def key(self) -> tuple[str, str, str]:
        return self.dataset, self.image_name, self.viewport

    @property
    def supplied(self) -> bool:
        """True where a person supplied the text: no source is given, and there is a text."""
        return not self.source and bool(self.description.strip())


COLUMNS = tuple(part.name for part in fields(Row) if part.name != "extra")
REQUIRED = ("image_name", "description")


def read_rows(path: Path) -> list[Row]:
    """Read every row of a description file, in file order, then those of its journal; without either there are none.

    A byte-order mark and any line ends are accepted. Raises UserError where the file is not UTF-8, not a
    comma-separated table, lacks a required column, or has rows with too many or too few values (all in one message).
    """
    path = Path(path)
    entries, later = journal.read(path)  # first: merged meanwhile, its rows are found in the table as well
    return _merged(_read_table(path), [Row(**{**dict.fromkeys(REQUIRED, ""), "dataset": "", **entry})
                                      for entry in entries if set(entry) <= {*COLUMNS, "extra"}], later)


def _read_table(path: Path) -> list[Row]:
    """Return the rows of the csv alone, without what a killed run left in its journal."""
    if not path.exists():
        return []
    csv.field_size_limit(MAX_DESCRIPTION_CHARS)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return _parse(csv.reader(file, strict=True), path)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}); save it as 'CSV UTF-8' and try again") from error
    except csv.Error as error:
        raise UserError(f"{path} is not a readable csv table ({error}); mend it, or move it away to start afresh") from error


def _parse(reader: Iterator[list[str]], path: Path) -> list[Row]:
    """Return the rows of an open table; all rows of a wrong length come in one UserError."""
    header = [name.strip() for name in next(reader, [])]
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        hint = " (values separated by ';'? save it with commas)" if any(";" in name for name in header) else ""
        raise UserError(f"{path} lacks the column(s) {', '.join(missing)}; found: {', '.join(header) or 'nothing'}{hint}")
    if len(set(header)) != len(header):
        raise UserError(f"{path} names a column twice: {', '.join(header)}")
    rows, wrong = [], []
    for values in reader:
        if not values:
            continue
        line = f"line {reader.line_num}"
        if len(values) != len(header):
            wrong.append(f"{line}: {len(values)} values for {len(header)} columns (a comma outside quotes?)")
            continue
        cells = dict(zip(header, values, strict=True))
        known = {"dataset": "", **{name: cells[name] for name in COLUMNS if name in cells}}
        rows.append(Row(**known, extra={name: cells[name] for name in header if name not in COLUMNS}))
    if wrong:
        raise UserError(f"{path} has {len(wrong)} bad row(s):\n{listed(wrong)}\nMend them and run the same command again.")
    return rows


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a whole description file in one atomic step, as UTF-8 with line feeds."""
    rows = list(rows)
    extra = list(dict.fromkeys(name for row in rows for name in row.extra))
    with atomic_path(path, durable=True) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow([*COLUMNS, *extra])
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)  # else a lone carriage return is not quoted
        for row in rows:
            writer.writerow([*(getattr(row, name) for name in COLUMNS), *(row.extra.get(name, "") for name in extra)])


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time read, change and replace the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _merged(rows: list[Row], fresh: Iterable[Row], replace: bool = True) -> list[Row]:
    """Return rows with fresh ones put in, the last of a key; in the place of those of the same key, or only where none is."""
    given = {row.key: row for row in fresh}
    if not given:
        return rows
    there = {row.key for row in rows}
    first: set[tuple[str, str, str]] = set()
    kept = []
    for row in rows:
        if not replace or row.key not in given:
            kept.append(row)
        elif row.key not in first:
            kept.append(given[row.key])
            first.add(row.key)
    return [*kept, *(row for key, row in given.items() if key not in there)]


def upsert(path: Path, rows: Iterable[Row]) -> None:
    """Insert rows, or replace those of the same dataset, image and viewport; all others stay as they are."""
    path, rows = Path(path), list(rows)
    if rows or journal.journal_of(path).exists():
        with _locked(path):
            _merge(path, rows)


def _merge(path: Path, rows: Iterable[Row] = ()) -> None:
    """Write table, journal and rows as one table. A program that is killed between the two steps merges again, to the same."""
    write_rows(path, _merged(read_rows(path), rows))
    journal.remove(path)


def append(path: Path, rows: Iterable[Row]) -> None:
    """Insert or replace rows as `upsert` does, at a cost that does not grow with the table; `upsert(path, [])` ends it."""
    path = Path(path)
    with _locked(path):
        if journal.append(path, [dict(vars(row)) for row in rows]):
            _merge(path)


def _candidates(rows: Iterable[Row], dataset: str, viewport: str) -> dict[str, list[Row]]:
    """Return the rows with text of each name; those naming the dataset go first. viewport: "" for whole images."""
    rows_of: dict[str, list[Row]] = {}
    for owner in (dataset, ""):
        step: dict[str, list[Row]] = {}
        for row in rows:
            if row.dataset == owner and row.viewport == viewport and row.description.strip():
                step.setdefault(row.image_name, []).append(row)
        rows_of = {**step, **rows_of}
    return rows_of


def read_descriptions(path: Path, dataset: str, names: Collection[str], *,
                      others: Mapping[str, Collection[str]] | None = None, viewport: str = "") -> dict[str, str]:
    """Return the description of every image of a dataset, or of one of its viewports, in the order of `names`.

    others: image names of other datasets; a row without dataset must not fit one of them too. Raises UserError that
    counts and lists all missing and ambiguous images and names the command that makes them.
    """
    path = Path(path)
    rows_of = _candidates(read_rows(path), dataset, viewport)
    missing = [name for name in names if name not in rows_of]
    wrong = [f"{name}: {len(rows_of[name])} rows" for name in names if len(rows_of.get(name, [])) > 1]
    for other, theirs in (others or {}).items():
        shared = set(theirs) if other != dataset else set()
        wrong += [f"{name}: its row names no dataset, and {other} has an image of that name too"
                  for name in names if name in shared and not rows_of.get(name, [Row("-", "", "")])[0].dataset]
    problems, what = [], f"descriptions of {dataset}" + (f", viewport {viewport}" if viewport else "")
    if missing:
        problems.append(f"{path} lacks {len(missing)} of the {len(names)} {what}:\n{listed(missing)}\n"
                        f"Make them: python generate_text.py --dataset {dataset}" + (" --per-viewport" if viewport else ""))
    if wrong:
        problems.append(f"{path} is ambiguous for {len(wrong)} image(s) of {dataset}:\n{listed(wrong)}\n"
                        "Keep one row each, and fill its column `dataset`.")
    if problems:
        raise UserError("\n".join(problems))
    return {name: rows_of[name][0].description for name in names}
