"""Is a picture a full panorama at all? Signs that it is not, each as a warning in words."""

from __future__ import annotations

import cv2
import numpy as np

_COLUMNS = 512  # columns to which a wider picture is reduced before its edges are compared
_OPEN_SEAM = 0.45  # of the difference that columns far apart have
_CLOSED_SEAM = 0.2  # below this they meet: pristine panoramas are at 0.0 to 0.1
_FLAT = 1.0  # grey levels


def seam_gap(erp: np.ndarray) -> float:
    """Return how far the left and right edges of an ERP (H, W, 3) uint8 are from meeting.

    About 0 where they differ as neighbouring columns do (a panorama closes), about 1 where they differ as columns far
    apart do. NaN where all columns are alike.
    """
    columns = min(_COLUMNS, erp.shape[1])  # enlarged, neighbours would be alike, and the seam only would not
    small = cv2.resize(erp, (columns, columns // 2), interpolation=cv2.INTER_AREA).astype(np.float32)

    def difference(shift: int) -> np.ndarray:
        return np.asarray(np.abs(small - np.roll(small, shift, axis=1)).mean(axis=(0, 2)))

    beside, apart = np.delete(difference(1), 0), difference(columns // 3)
    seam, near, far = difference(1)[0], float(np.median(beside)), float(np.median(apart))
    return float("nan") if far - near < _FLAT else float((seam - near) / (far - near))


def closes(picture: np.ndarray) -> bool:
    """Tell whether the left and right edges of a picture (H, W, 3) uint8 of aspect 2:1 meet as a panorama's do."""
    return seam_gap(picture) < _CLOSED_SEAM


def doubts(erp: np.ndarray) -> list[str]:
    """Return warnings about a picture (H, W, 3) uint8 of aspect 2:1; empty where it looks like a panorama."""
    if float(erp[::8, ::8].std()) < _FLAT:
        return ["the picture is all but one colour; there is nothing to judge, and the score may not mean anything"]
    gap = seam_gap(erp)
    if gap > _OPEN_SEAM:
        return ["its left and right edges do not meet, so it is hardly a 360° panorama; the score may not mean anything "
                "(an ordinary photograph: --perspective)"]
    return []
