"""CVIQ as distributed: 001.png … 544.png in one folder and CVIQ.mat; per scene 11 JPEG, 11 AVC, 11 HEVC, 1 pristine.

Sun et al., "MC360IQA: a multi-channel CNN for blind 360-degree image quality assessment", IEEE JSTSP 2020.
"""

from __future__ import annotations

import re
from pathlib import Path

from mmifn.data.importers.database import Database, Slot

SCENES, LEVELS = 16, 11
TYPES = ("JPEG", "AVC", "HEVC")
PER_SCENE = len(TYPES) * LEVELS + 1
IMAGES = SCENES * PER_SCENE
_NAME = re.compile(r"\D{0,5}?0*(\d{1,3})")


def _key(path: Path) -> str | None:
    match = _NAME.fullmatch(path.stem)
    return f"{int(match[1]):03d}" if match and 1 <= int(match[1]) <= IMAGES else None


def _slots() -> dict[str, Slot]:
    slots = {}
    for i in range(IMAGES):
        scene, place = divmod(i, PER_SCENE)
        if place < PER_SCENE - 1:
            slots[f"{i + 1:03d}"] = Slot(TYPES[place // LEVELS], place % LEVELS + 1, f"{scene + 1:02d}")
    return slots


_SLOTS = _slots()
DATABASE = Database(
    name="CVIQ", key=_key, slots=_SLOTS,
    references={f"{scene * PER_SCENE:03d}": f"{scene:02d}" for scene in range(1, SCENES + 1)},
    vectors={len(_SLOTS): list(_SLOTS), IMAGES: [f"{i:03d}" for i in range(1, IMAGES + 1)]},
    images=len(_SLOTS), scenes=SCENES)
