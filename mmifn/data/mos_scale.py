"""The two scales that opinion scores circulate in; they are never mixed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SCALES = {"0-100": (0.0, 100.0), "1-10": (1.0, 10.0)}  # name -> worst, best
PLAUSIBLE = (-100.0, 200.0)  # what lies beyond both scales by their whole width is nobody's opinion, and no fit survives it


def scale_of(scores: np.ndarray) -> str:
    """Return "1-10" where no score exceeds 10, else "0-100" (OIQA circulates in both)."""
    return "1-10" if float(scores.max()) <= 10.0 else "0-100"
