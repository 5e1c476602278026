"""Tables as text, csv, markdown and LaTeX: one structure, four forms."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

from mmifn.core.csv_cells import neutral, original
from mmifn.core.errors import UserError
from mmifn.core.files import write_text
from mmifn.report.latex import PREAMBLE, latex_table

RULE = "-"


@dataclass
class Table:
    """A titled table of strings; a row of None is a rule; notes stand below it, one per line."""

    title: str
    columns: list[str]
    rows: list[list[str] | None] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_text(self) -> str:
        """Return aligned plain text: first column to the left, the others to the right."""
        filled = [row for row in self.rows if row is not None]
        widths = [max(len(row[i]) for row in [self.columns, *filled]) for i in range(len(self.columns))]
        rule = "  ".join(RULE * width for width in widths)

        def line(row: list[str]) -> str:
            first, *rest = [(cell, width) for cell, width in zip(row, widths, strict=True)]
            return "  ".join([first[0].ljust(first[1]), *[cell.rjust(width) for cell, width in rest]]).rstrip()

        body = [rule if row is None else line(row) for row in self.rows]
        return "\n".join([self.title, "=" * len(self.title), line(self.columns), rule, *body, "", *self.notes, ""])

    def as_markdown(self) -> str:
        """Return a GitHub-flavoured table with title and notes."""
        head = ["| " + " | ".join(self.columns) + " |", "|" + "|".join([" --- "] + [" ---: "] * (len(self.columns) - 1)) + "|"]
        body = ["| " + " | ".join(row) + " |" for row in self.rows if row is not None]
        return "\n".join([f"**{self.title}**", "", *head, *body, "", *[f"- {note}" for note in self.notes], ""])

    def as_latex(self) -> str:
        """Return a table environment of LaTeX with title and notes."""
        return latex_table(self.title, self.columns, self.rows, self.notes)

    def as_csv(self) -> str:
        """Return the columns and rows as csv, preceded by title and notes as comment lines."""
        buffer = io.StringIO()
        for remark in [self.title, *self.notes]:
            buffer.write(f"# {remark}\n")
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(map(neutral, self.columns))
        writer.writerows(map(neutral, row) for row in self.rows if row is not None)
        return buffer.getvalue()


def write_tables(tables: list[Table], path: Path) -> None:
    """Write the tables below each other as .txt at `path`, and as .md, .csv and .tex (booktabs) beside it."""
    write_text(path, "\n".join(table.as_text() for table in tables))
    write_text(path.with_suffix(".md"), "\n".join(table.as_markdown() for table in tables))
    write_text(path.with_suffix(".csv"), "\n".join(table.as_csv() for table in tables))
    write_text(path.with_suffix(".tex"), PREAMBLE + "\n".join(table.as_latex() for table in tables))


def read_tables(path: Path) -> list[Table]:
    """Read the tables of a .csv that write_tables wrote (rules are not kept). Raises UserError for anything else."""
    try:
        return [_table(block) for block in path.read_text(encoding="utf-8").split("\n\n")]
    except (ValueError, csv.Error) as error:  # of ours, or of UTF-8
        raise UserError(f"{path} is not a file of tables as the scripts write it ({error}); make it again with its "
                        "script") from error


def _table(block: str) -> Table:
    """Return one table of a file; raises ValueError or csv.Error where it is none."""
    lines = block.strip("\n").split("\n")
    remarks = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    columns, *rows = [[original(cell) for cell in row] for row in csv.reader(lines[len(remarks):], strict=True)] or [[]]
    if not remarks or not columns or any(len(row) != len(columns) for row in rows):
        raise ValueError("a block without title and columns, or with rows of another length")
    return Table(remarks[0], columns, rows, remarks[1:])


def mean_sd(values: list[float], digits: int = 3) -> str:
    """Format mean ± SD over runs (sample SD; none for a single run); a dash where there is nothing."""
    if not values:
        return "–"
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.{digits}f}"
    sd = (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5
    return f"{mean:.{digits}f} ± {sd:.{digits}f}"
