"""OIQA as distributed: distorted_images/img1 … img320, reference_images/ (img321 … img336), MOS/360IQA_MOS.mat.

Scene = (i - 1) // 20 + 1; inside it four blocks of five levels (5 the worst): JPEG, JPEG 2000, and two blocks of
noise and blur whose order no file states, so that the pixels decide it.
Duan et al., "Perceptual quality assessment of omnidirectional images", ISCAS 2018.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

from mmifn.core.errors import UserError, listed
from mmifn.data.importers.database import Database, Slot

SCENES, BLOCKS, LEVELS = 16, 4, 5
IMAGES = SCENES * BLOCKS * LEVELS
_NAME = re.compile(r"img0*(\d+)", re.IGNORECASE)
_BARE = re.compile(r"(?:ref|reference)?_?0*(\d+)", re.IGNORECASE)
_OPEN = {3: "GN", 4: "GB"}  # assumed until the pixels are looked at
_CLEAR = 3.0  # the noisy block must have this many times the fine detail of the blurred one


def _key(path: Path) -> str | None:
    """Return img<number>; files 1 … 16 of a folder of references are img321 … img336."""
    match = _NAME.fullmatch(path.stem)
    number = int(match[1]) if match else None
    if "ref" in path.parent.name.lower():
        bare = match or _BARE.fullmatch(path.stem)
        number = int(bare[1]) if bare else None
        if number is not None and number <= SCENES:
            number += IMAGES
    return f"img{number}" if number is not None and 1 <= number <= IMAGES + SCENES else None


def _slots() -> dict[str, Slot]:
    kinds = {1: "JPEG", 2: "JP2K", **_OPEN}
    slots = {}
    for i in range(IMAGES):
        scene, block, level = i // (BLOCKS * LEVELS) + 1, i // LEVELS % BLOCKS + 1, i % LEVELS + 1
        slots[f"img{i + 1}"] = Slot(kinds[block], level, f"{scene:02d}")
    return slots


def fine_detail(path: Path) -> float:
    """Return the mean absolute Laplacian around the equator: high under noise, near 0 under blur."""
    import numpy as np  # only for this database, and not for its name in a --help

    from mmifn.data.images import read_image

    pixels = read_image(path, max_megapixels=math.inf)  # its size was checked before
    third = len(pixels) // 3
    green = pixels[third:2 * third, :, 1].astype(np.int16)
    laplacian = green[1:-1, :-2] + green[1:-1, 2:] + green[:-2, 1:-1] + green[2:, 1:-1] - 4 * green[1:-1, 1:-1]
    return float(np.mean(np.abs(laplacian)))


def decide_noise_and_blur(slots: dict[str, Slot], files: dict[str, Path]) -> tuple[dict[str, Slot], list[str]]:
    """Tell noise from blur by the worst level of blocks 3 and 4 of every scene that has both images.

    Raises UserError where a scene is not clear or the scenes disagree.
    """
    from mmifn.core.progress import Progress

    votes, ratios, unclear = {}, [], []
    scenes = [scene for scene in range(SCENES) if all(f"img{number}" in files for number in _worst(scene))]
    for scene in Progress(scenes, desc="noise or blur", unit="scene"):
        third, fourth = (fine_detail(files[f"img{number}"]) for number in _worst(scene))
        ratio = (third + 0.01) / (fourth + 0.01)
        if max(ratio, 1 / ratio) < _CLEAR:
            unclear.append(f"scene {scene + 1}: fine detail {third:.2f} and {fourth:.2f}, wanted a factor {_CLEAR:g}")
        votes[scene + 1] = ratio > 1
        ratios.append(max(ratio, 1 / ratio))
    if unclear or len(set(votes.values())) != 1:
        split = [f"scene {scene}: block {3 if third else 4} is the noisy one" for scene, third in votes.items()]
        raise UserError("OIQA: the pixels of blocks 3 and 4 do not tell noise from blur:\n"
                        f"{listed(unclear or split or ['no scene has both images'])}\n"
                        "The images may be renamed or resized; compare them with the original download.")
    third_is_noise = votes[scenes[0] + 1]
    kinds = _OPEN if third_is_noise else {3: "GB", 4: "GN"}
    swap = {_OPEN[block]: kinds[block] for block in _OPEN}
    slots = {key: replace(slot, type=swap.get(slot.type, slot.type)) for key, slot in slots.items()}
    return slots, [f"blocks 3 and 4 are {kinds[3]} and {kinds[4]}, by the pixels of {len(scenes)} scenes (fine detail "
                   f"differs by a factor of {min(ratios):.1f} or more)"]


def _worst(scene: int) -> tuple[int, int]:
    return scene * 20 + 15, scene * 20 + 20


DATABASE = Database(
    name="OIQA", key=_key, slots=_slots(), references={f"img{IMAGES + i}": f"{i:02d}" for i in range(1, SCENES + 1)},
    vectors={IMAGES: [f"img{i}" for i in range(1, IMAGES + 1)],
             IMAGES + SCENES: [f"img{i}" for i in range(1, IMAGES + SCENES + 1)]},
    refine=decide_noise_and_blur, scales=("0-100", "1-10"), images=IMAGES, scenes=SCENES)
