"""How much detail a panorama really holds: one that was enlarged has many pixels and little detail."""

from __future__ import annotations

import numpy as np

_SHARE = 0.9  # of the energy of the differences around that lies below the limit of a picture's detail
_EMPTY = 0.28  # of its own resolution that a picture must reach; sharp ones reach 0.8, softened by one pixel 0.35
_ROUNDING = 1 / 36  # variance that rounding to whole levels adds to the mean of three channels
_ROWS = 256  # of the middle third, looked at
_QUIET = 0.05  # grey levels squared: a picture without any detail has no resolution either


def detail_width(erp: np.ndarray) -> int | None:
    """Return the width that a sharp panorama needs to hold the detail of an ERP (H, W, 3) uint8; None where there is none.

    90 % of the energy of the differences between neighbours in the middle third, less what rounding to whole levels adds, lies
    below half that many cycles around.
    """
    height, width = (int(size) for size in erp.shape[:2])
    rows = erp[height // 3:height - height // 3]
    grey = rows[::max(1, len(rows) // _ROWS)].astype(np.float32).mean(axis=2)
    power = np.maximum((np.abs(np.fft.rfft(grey, axis=1)) ** 2).mean(axis=0) - width * _ROUNDING, 0)
    cycles = np.arange(len(power))
    energy = power * np.sin(np.pi * cycles / width) ** 2
    total = float(energy[1:].sum())
    if total / width ** 2 * 4 < _QUIET:
        return None
    limit = int(np.searchsorted(energy.cumsum(), _SHARE * total))
    return min(width, 2 * limit)


def resolution_note(erp: np.ndarray, judged_px: int) -> list[str]:
    """Return a note where a panorama holds less detail than both its pixels and the width at which it is judged promise."""
    width = int(erp.shape[1])
    detail = detail_width(erp)
    if detail is None or detail >= _EMPTY * width or detail >= judged_px:
        return []
    return [f"its {width} pixels across hold no more detail than about {_rounded(detail)} would: it is enlarged or blurred"]


def _rounded(width: int) -> int:
    return int(round(width, 2 - len(str(width))))
