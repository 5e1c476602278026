"""OIQ-10K: 10,000 images that are flawless, distorted under one or two of six lenses, or all over; judged on 1-3.

ref<n> (2500, nothing seen), <scene>_len<lens>[_len<lens>]_<kind>_<degree> (5016), dis<n> (2484, all over).
Yan et al., "Omnidirectional image quality captioning: a large-scale database and a new model", IEEE TIP 2025.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mmifn.core.text import matched
from mmifn.data.importers import jufe
from mmifn.data.importers.database import Database, Slot

if TYPE_CHECKING:
    from mmifn.data.importers.scores import Score

_WHOLE = re.compile(r"(ref|dis)(\d+)", re.IGNORECASE)


def _key(path: Path) -> str | None:
    return path.stem if _WHOLE.fullmatch(path.stem) or jufe.NAME.fullmatch(path.stem) else None


def _slot(key: str, line: Score) -> Slot:
    """Scenes of ref and dis are not published: each is one of its own, so pictures of one place may stand on two sides."""
    whole = _WHOLE.fullmatch(key)
    if whole:
        flawless = whole[1].lower() == "ref"
        return Slot("none" if flawless else "unknown", 0, key, (("distortion_range", "none" if flawless else "all over"),
                                                                ("lenses", "")))
    match = matched(jufe.NAME, key)
    lenses = [lens for lens in (match["first"], match["second"]) if lens]
    return Slot(jufe.KINDS[match["kind"]], int(match["degree"]), f"lenses-{int(match['scene']):03d}",
                (("distortion_range", f"{len(lenses)} of 6 lenses"), ("lenses", "+".join(lenses))))


def _severity(key: str) -> float:
    """Order the four situations: nothing seen, one lens, two lenses, all over."""
    whole = _WHOLE.fullmatch(key)
    return (0.0 if whole[1].lower() == "ref" else 3.0) if whole else float(key.count("len"))


DATABASE = Database(name="OIQ-10K", key=_key, slots=None, references={}, vectors={}, scales=("1-10",), images=10000,
                    slot_of=_slot, severity=_severity, judged=(1.0, 3.0))
