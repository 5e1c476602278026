"""JUFE-10K: 430 scenes of 24 images, distorted under one or two of the camera's six lenses only.

<scene>_len<lens>[_len<lens>]_<kind>_<degree>.png; brightness, stitching, blur and noise in three degrees, judged on 1-5.
Yan et al., "Subjective and objective quality assessment of non-uniformly distorted omnidirectional images", IEEE TMM 2025.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mmifn.core.text import matched
from mmifn.data.importers.database import Database, Slot

if TYPE_CHECKING:
    from mmifn.data.importers.scores import Score

KINDS = {"bd": "brightness", "st": "stitching", "gb": "GB", "gn": "GN"}
# One published name has an underscore too many (276_len6_len_3_st_1.png).
NAME = re.compile(r"(?P<scene>\d+)_len_?(?P<first>\d)(?:_len_?(?P<second>\d))?_(?P<kind>bd|st|gb|gn)_(?P<degree>[123])")


def _key(path: Path) -> str | None:
    return path.stem if NAME.fullmatch(path.stem) else None


def _slot(key: str, line: Score) -> Slot:
    match = matched(NAME, key)
    lenses = [lens for lens in (match["first"], match["second"]) if lens]
    return Slot(KINDS[match["kind"]], int(match["degree"]), f"{int(match['scene']):03d}",
                (("distortion_range", f"{len(lenses)} of 6 lenses"), ("lenses", "+".join(lenses))))


DATABASE = Database(name="JUFE-10K", key=_key, slots=None, references={}, vectors={}, scales=("1-10",), images=10320, scenes=430,
                    slot_of=_slot, severity=lambda key: float(key[-1]), judged=(1.0, 5.0))
