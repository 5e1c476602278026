"""Is a picture a full panorama at all? What it is instead is refused by name; lesser signs become warnings in words."""

from __future__ import annotations

import numpy as np

from mmifn.core.errors import UserError
from mmifn.data.colour import is_grey
from mmifn.data.kinds import OF_SPHERES, kind_of, no_sphere
from mmifn.data.seam import gaps, reduced

_OPEN_SEAM = 0.95  # whole panoramas, however distorted, are below 0.85
_DOUBTFUL = -0.5  # evidence that is rare in whole panoramas


def sphere_in(picture: np.ndarray) -> str | None:
    """Return in words which sphere a picture (H, W, 3) uint8 of aspect 2:1 shows, and what to do; None for an ordinary one."""
    small = reduced(picture)
    kind = kind_of(picture, small)
    if kind in OF_SPHERES:
        return f"it is {kind.text}. In place of --perspective: {kind.way_out}"
    if kind or _doubts(small):
        return None
    return "its left and right edges meet: a whole panorama. Score it without --perspective (mmifn.score in Python)"


def examine(erp: np.ndarray, name: str, padded: bool = False) -> list[str]:
    """Return warnings about a picture (H, W, 3) uint8 of aspect 2:1; empty where it looks like a panorama.

    padded: part of it is known to be empty, so that neither its seam nor its poles tell anything. Raises UserError for what is
    plainly something else, named with the way out.
    """
    small = reduced(erp)
    kind = kind_of(erp, small, padded)
    if kind:
        raise UserError(f"{name} is no equirectangular panorama but {kind.text}. What to do: {kind.way_out}. If it is one all "
                        "the same: --projection equirectangular")
    return [] if padded else _doubts(small)


def _doubts(small: np.ndarray) -> list[str]:
    if gaps(small)[0] > _OPEN_SEAM:
        return ["its left and right edges do not meet, so it is hardly a whole 360° panorama; the score may not mean anything "
                "(an ordinary photograph: --perspective)"]
    if no_sphere(small) > _DOUBTFUL:
        return ["its upper and lower edges are hardly the poles of a sphere; the score may not mean anything (an ordinary "
                "photograph: --perspective)"]
    return []


def colour_note(erp: np.ndarray) -> list[str]:
    """Return a warning where a picture has no colour: the models learnt from coloured ones."""
    return ["it is black and white; the model learnt from coloured panoramas, and gives grey ones fewer points"] if is_grey(
        erp) else []
