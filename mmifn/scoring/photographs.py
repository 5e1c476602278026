"""The run behind --perspective: photographs and views, one after another, to the screen and to files."""

from __future__ import annotations

import csv
import io
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mmifn.core.csv_cells import neutral
from mmifn.core.errors import UserError, fault_of_image
from mmifn.core.locked import open_locked
from mmifn.core.outputs import refuse_foreign
from mmifn.core.streams import json_line
from mmifn.core.text import printable
from mmifn.scoring.listing import Listing
from mmifn.scoring.perspective import score_view
from mmifn.scoring.run import Outputs

COLUMNS = ("image", "score", "quality", "seen_px", "fov_deg", "model")


def score_photographs(listing: Listing, fov_deg: float | None, outputs: Outputs, device: str = "auto") -> int:
    """Score every picture; return how many failed. Files are written at the end, whole.

    fov_deg: the angle across of all of them, None where unknown. Raises UserError for outputs that only panoramas have.
    """
    if outputs.html or outputs.parquet:
        flag = "--html" if outputs.html else "--parquet"
        raise UserError(f"{flag} shows panoramas; it has no meaning with --perspective (use --json or --csv)")
    json_path = Path(outputs.json) if outputs.json and not outputs.to_program else None
    refuse_foreign("--json", json_path, b'{"image": "', "file of results")
    refuse_foreign("--csv", outputs.csv, ",".join(COLUMNS).encode(), "table of photographs")
    with ExitStack() as stack:
        lines = stack.enter_context(open_locked(json_path)) if json_path else None
        table = stack.enter_context(open_locked(outputs.csv)) if outputs.csv else None
        rows = _scored(listing, fov_deg, outputs, device)
        if lines:
            lines.replace("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        if table:
            table.replace(_table([row for row in rows if "error" not in row]))
    failed = sum("error" in row for row in rows)
    print(f"{len(rows) - failed} of {len(rows)} scored", file=sys.stderr)
    return failed


def _scored(listing: Listing, fov_deg: float | None, outputs: Outputs, device: str) -> list[dict[str, Any]]:
    """Return the row of every picture, or what is wrong with it, and say each as it comes."""
    rows = []
    for label, path in listing:
        try:
            row: dict[str, Any] = {"image": label, **score_view(path, fov_deg=fov_deg, device=device).to_row()}
        except Exception as error:
            if not (fault := printable(fault_of_image(path, error), keep="\n")):
                raise
            row = {"image": label, "error": fault}
            print(f"error: {fault}", file=sys.stderr)
        rows.append(row)
        if outputs.to_program:
            print(json_line(row))
        elif "error" not in row:
            print(f"{label}: {row['score']:.0f} of 100, {row['quality']}, as people at screens judge photographs")
        sys.stdout.flush()
    return rows


def _table(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_cell(name, row[name]) for name in COLUMNS] for row in rows)
    return text.getvalue()


def _cell(name: str, value: Any) -> Any:
    if name == "seen_px":
        return "x".join(map(str, value[::-1]))
    return neutral(value) if isinstance(value, str) else value
