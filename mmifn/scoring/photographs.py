"""The run behind --perspective: photographs and views, one after another, to the screen and to files."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from types import NoneType
from typing import Any

from mmifn.core.errors import UserError, fault_of_image
from mmifn.core.progress import Progress
from mmifn.core.streams import json_line
from mmifn.scoring.index import ImageFile
from mmifn.scoring.listing import Listing
from mmifn.scoring.perspective import identity_of, score_view
from mmifn.scoring.results import ResultFile
from mmifn.scoring.row_form import STAMP, RowForm
from mmifn.scoring.run import Outputs

ROWS = RowForm(("image", "score", "quality", "seen_px", "fov_deg", "image_sha256", "model"),
               ("image", "quality", "image_sha256", "model"),
               {"score": (int, float), "seen_px": (list,), "fov_deg": (int, float, NoneType)})
COLUMNS = [*ROWS.required, *STAMP]


def score_photographs(listing: Listing, fov_deg: float | None, outputs: Outputs, device: str = "auto") -> int:
    """Score every picture that has no row yet, delivering rows as they come; return how many failed.

    fov_deg: the angle across of all of them, None where unknown. Raises UserError for outputs that only panoramas have.
    """
    if outputs.html or outputs.parquet:
        flag = "--html" if outputs.html else "--parquet"
        raise UserError(f"{flag} shows panoramas; it has no meaning with --perspective (use --json or --csv)")
    count = failed = kept = 0
    total = sum(1 for _ in listing) if listing.repeatable else None
    with ExitStack() as stack:
        files = _opened(outputs, identity_of(fov_deg, device), stack)
        bar = stack.enter_context(Progress(total=total, unit="photograph", desc="scoring",
                                           disable=total is not None and total < 2))
        for label, path in listing:
            image = ImageFile(path)
            places = [(file, file.find(label, image)) for file in files]
            row = next((file.row(place) for file, place in places if place is not None), None)
            kept += row is not None
            row = row or _row(label, image, fov_deg, device)
            for file in (file for file, place in places if place is None):
                file.add(row)
            count, failed = count + 1, failed + ("error" in row)
            _show(row, outputs.to_program, bar)
            bar.update()
        for file in files:
            file.finish()
    print(f"{count - failed} of {count} scored" + (f", {kept} of them from an earlier run" if kept else ""), file=sys.stderr)
    return failed


def _opened(outputs: Outputs, identity: str, stack: ExitStack) -> list[ResultFile]:
    """Open the files of results for this run alone."""
    wanted = [(Path(outputs.json), None)] if outputs.json and not outputs.to_program else []
    files = []
    for path, columns in [*wanted, *([(outputs.csv, COLUMNS)] if outputs.csv else [])]:
        files.append(ResultFile(path, identity, columns, outputs.verify, ROWS))
        stack.callback(files[-1].close)
    return files


def _row(label: str, image: ImageFile, fov_deg: float | None, device: str) -> dict[str, Any]:
    """Return the row of a picture, or what is wrong with it."""
    try:
        said = score_view(image.path, fov_deg=fov_deg, device=device).to_row()
        row = {"image": label, **said, "image_sha256": image.sha256, **dict(zip(STAMP, image.stamp or (None, None), strict=True))}
        return {column: row[column] for column in COLUMNS}
    except Exception as error:
        if not (fault := fault_of_image(image.path, error)):
            raise
        return {"image": label, "error": fault}


def _show(row: dict[str, Any], to_program: bool, bar: Progress) -> None:
    """Print one row for a person, or as a line of JSON for a program; errors also go to stderr."""
    if "error" in row:
        bar.write(f"error: {row['error']}", file=sys.stderr)
    if to_program:
        bar.write(json_line(row), file=sys.stdout)
    elif "error" not in row:
        bar.write(f"{row['image']}: {row['score']:.0f} of 100, {row['quality']}, as people at screens judge photographs",
                  file=sys.stdout)
    sys.stdout.flush()
