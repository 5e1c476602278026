"""MVAQD: 15 scenes of 20 distorted images, numbered 1.png … 315.png in an order that hides type and level; judged on 1-5.

The label list names each image's reference. Jiang et al., "Multi-angle projection based blind omnidirectional image quality
assessment", IEEE TCSVT 2022.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmifn.data.importers.database import UNKNOWN_TYPE, Database, Slot

if TYPE_CHECKING:
    from mmifn.data.importers.scores import Score


def _key(path: Path) -> str | None:
    return str(int(path.stem)) if path.stem.isdigit() and 1 <= int(path.stem) <= 315 else None


def _slot(key: str, line: Score) -> Slot:
    return Slot(UNKNOWN_TYPE, 0, _key(Path(line.reference)) or "")


DATABASE = Database(name="MVAQD", key=_key, slots=None, references={}, vectors={}, scales=("1-10",), images=300, scenes=15,
                    slot_of=_slot, judged=(1.0, 5.0))
