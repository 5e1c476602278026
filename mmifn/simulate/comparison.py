"""How far a distorted panorama is from its scene at its best, as a headset shows both: what labels rest on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mmifn.fullref.headset import HeadsetReference, headset_views
from mmifn.simulate.curves import HEADSET_WIDTH, charge_size, seen_width
from mmifn.sphere import HEADSET_PPD

LABEL_METRIC = "FSIM on headset views"


@dataclass(frozen=True)
class SceneComparison:
    """Compares versions of one scene, of any size, with the largest source to be had.

    source: (H, 2H, 3) uint8, pristine; ppd: of the headset. Where the source itself has fewer pixels than the headset
    shows, what it lacks is charged as the mean of other scenes (curves.charge_size).
    """

    source: np.ndarray
    ppd: float = HEADSET_PPD

    @cached_property
    def reference(self) -> HeadsetReference:
        return HeadsetReference(headset_views(self.source, ppd=self.ppd))

    def fsim(self, pixels: np.ndarray) -> float:
        """Return the mean FSIM of (H, 2H, 3) uint8 pixels of the scene against it at its best."""
        own = float(self.reference.fsim(headset_views(pixels, ppd=self.ppd)).mean())
        width = self.source.shape[1]
        return own if seen_width(width, self.ppd) >= HEADSET_WIDTH else 1 - float(charge_size(1 - own, width, self.ppd))
