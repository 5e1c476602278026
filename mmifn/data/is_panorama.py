"""Is a picture a full panorama at all? What it is instead is refused by name; lesser signs become warnings in words."""

from __future__ import annotations

import cv2
import numpy as np

from mmifn.core.errors import UserError
from mmifn.data.colour import is_grey
from mmifn.data.kinds import OF_SPHERES, PHOTOGRAPH, kind_of
from mmifn.data.poles import no_sphere
from mmifn.data.seam import BANDS, gaps, reduced

_OPEN_SEAM = 0.95  # whole panoramas, however distorted, are below 0.85
_DOUBTFUL = -1.0  # evidence that none of the panoramas reaches
_UNTOLD = (0.7, 0.7)  # gaps of a seam that tells nothing: between those of photographs and of panoramas
_LEAST_PART = 0.25  # of the columns, which must have content for poles to be told
_LEAST_SEAM = 0.25  # of the rows, which must have content at both edges for a seam to be told


def sphere_in(picture: np.ndarray) -> str | None:
    """Return in words which sphere a picture (H, W, 3) uint8 of aspect 2:1 shows, and what to do; None for an ordinary one."""
    small = reduced(picture)
    kind = kind_of(picture, small)
    if kind in OF_SPHERES:
        return f"it is {kind.text}. In place of --perspective: {kind.way_out}"
    seam = gaps(small)
    if kind or _doubts(seam[0], no_sphere(small, seam)):
        return None
    return "its left and right edges meet: a whole panorama. Score it without --perspective (mmifn.score in Python)"


def examine(erp: np.ndarray, name: str, covered: np.ndarray | None = None) -> list[str]:
    """Return warnings about a picture (H, W, 3) uint8 of aspect 2:1; empty where it looks like a panorama.

    covered: (h, w) bool, where it has content, None for everywhere; an empty seam tells nothing, nor do empty poles. Raises
    UserError for what is plainly something else, named with the way out.
    """
    small = reduced(erp)
    kind = kind_of(erp, small)
    seam = gaps(small) if covered is None else _seam_of_part(small, covered)
    evidence = no_sphere(small, seam) if covered is None else _poles_of_part(small, covered)
    kind = kind or (PHOTOGRAPH if evidence > 0 else None)
    if kind:
        raise UserError(f"{name} is no equirectangular panorama but {kind.text}. What to do: {kind.way_out}. If it is one all "
                        "the same: --projection equirectangular")
    return _doubts(seam[0], evidence)


def _seam_of_part(small: np.ndarray, covered: np.ndarray) -> tuple[float, float]:
    """Return the seam's gaps in the rows that have content on both of its sides; (0, 0) where those are few."""
    both = covered[:, 0] & covered[:, -1]
    rows = np.flatnonzero(both[np.arange(len(small)) * len(both) // len(small)])
    rows = rows[:len(rows) // BANDS * BANDS]
    return gaps(small[rows]) if len(rows) >= len(small) * _LEAST_SEAM else (0.0, 0.0)


def _poles_of_part(small: np.ndarray, covered: np.ndarray) -> float:
    """Return the evidence that what lies between empty sides is part of no sphere: its rows end at the poles all the same.

    Its edges count as neither open nor closed. -inf where the upper or lower rows are empty, too, or little is left.
    """
    columns = np.asarray(covered.all(axis=0))
    if not np.array_equal(covered.any(axis=0), columns) or columns.mean() < _LEAST_PART:
        return -np.inf
    at = np.arange(small.shape[1]) * len(columns) // small.shape[1]
    turned = np.roll(np.arange(len(at)), -int(np.argmin(columns[at])))  # begins within the empty part
    part = np.ascontiguousarray(small[:, turned[columns[at[turned]]]])
    return no_sphere(cv2.resize(part, small.shape[1::-1], interpolation=cv2.INTER_LINEAR), _UNTOLD)


def _doubts(gap: float, evidence: float) -> list[str]:
    if gap > _OPEN_SEAM:
        return ["its left and right edges do not meet, so it is hardly a whole 360° panorama; the score may not mean anything "
                "(an ordinary photograph: --perspective)"]
    if evidence > _DOUBTFUL:
        return ["its upper and lower edges are hardly the poles of a sphere; the score may not mean anything (an ordinary "
                "photograph: --perspective)"]
    return []


def colour_note(erp: np.ndarray) -> list[str]:
    """Return a warning where a picture has no colour: the models learnt from coloured ones."""
    return ["it is black and white; the model learnt from coloured panoramas, and gives grey ones fewer points"] if is_grey(
        erp) else []
