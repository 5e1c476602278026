"""What to simulate, and whose designs there are: what flags show, apart from what computes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmifn.core.defaults import HEADSET_PPD, MAX_MEGAPIXELS
from mmifn.core.errors import UserError

OIQA, CVIQ, BROAD, EXTREME, AUTHENTIC, LENSES, REGIONAL, FLAWLESS, HARMLESS = (
    "OIQA", "CVIQ", "BROAD", "EXTREME", "AUTHENTIC", "LENSES", "REGIONAL", "FLAWLESS", "HARMLESS")
# The first two are the databases' designs, the next five draw their distortions, the last two have none.
LIKES = (CVIQ, OIQA, BROAD, EXTREME, AUTHENTIC, LENSES, REGIONAL, FLAWLESS, HARMLESS)
SYNTHETIC = "synthetic"  # in the place of a folder of panoramas: the package renders its own


@dataclass(frozen=True)
class Simulation:
    """What to simulate: `like` one of LIKES; levels: numbers from 1, () for all; height: None keeps the panoramas'.

    ppd: pixels per degree of the headset in which opinions are simulated. None: that of people's, and for rendered scenes,
    which have no size of their own, as many as they have (they are seen as 4096 px are in people's headset).
    """

    like: str
    dataset: str
    panoramas: str
    scenes: int | None = None
    seed: int = 0
    height: int | None = None
    levels: tuple[int, ...] = ()
    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    workers: int = 0
    overwrite: bool = False
    max_megapixels: float = MAX_MEGAPIXELS
    ppd: float | None = None

    def shown_at(self, width_px: int) -> float:
        """Return the pixels per degree at which panoramas of this width are shown."""
        return self.ppd or (width_px / 360 if self.panoramas == SYNTHETIC else HEADSET_PPD)


def scene_list(text: str) -> tuple[str, ...]:
    """Read scene names from a text file, one a line, or from the argument itself, separated by commas."""
    path = Path(text)
    is_file = bool(text) and "," not in text and path.is_file()
    try:
        parts = path.read_text(encoding="utf-8-sig").splitlines() if is_file else text.split(",")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file of scene names, one a line ({error})") from error
    return tuple(part.strip() for part in parts if part.strip())
