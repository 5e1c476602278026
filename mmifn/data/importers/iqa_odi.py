"""IQA-ODI: 120 scenes of 8 images: JPEG at four qualities, and four projections at quality 15; DMOS on 0-100.

QF<quality>_<projection>_<scene>. Its DMOS is higher where quality is worse, as the JPEG qualities show.
Yang et al., "Spatial attention-based non-reference perceptual quality prediction network for omnidirectional images", ICME 2021.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mmifn.core.text import matched
from mmifn.data.importers.database import Database, Slot

if TYPE_CHECKING:
    from mmifn.data.importers.scores import Score

_NAME = re.compile(r"QF(?P<quality>5|15|35|60)_(?P<projection>ERP|cmp|cpp|isp|ohp)_(?P<scene>[a-z]+_P\d+)", re.IGNORECASE)
_LEVELS = {60: 1, 35: 2, 15: 3, 5: 4}
_SCENE = re.compile(r"[a-z]+_P\d+")


def _key(path: Path) -> str | None:
    return path.stem if _NAME.fullmatch(path.stem) or _SCENE.fullmatch(path.stem) else None


def _slot(key: str, line: Score) -> Slot:
    match = matched(_NAME, key)
    projection = match["projection"].upper()
    kind = "JPEG" if projection == "ERP" else f"JPEG in {projection}"
    return Slot(kind, _LEVELS[int(match["quality"])], match["scene"], (("projection", projection),))


def _severity(key: str) -> float | None:
    """Tell how bad the plain JPEGs must be; projections are not ordered."""
    match = _NAME.fullmatch(key)
    return float(_LEVELS[int(match["quality"])]) if match and match["projection"].upper() == "ERP" else None


DATABASE = Database(name="IQA-ODI", key=_key, slots=None, references={}, vectors={}, images=960, scenes=120, slot_of=_slot,
                    severity=_severity)
