"""How far a distorted panorama is from its scene at its best, as a headset shows both: what labels rest on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from mmifn.fullref.headset import HeadsetReference, headset_views
from mmifn.simulate.curves import charge_size
from mmifn.sphere import HEADSET_PPD

LABEL_METRIC = "FSIM on headset views"
POWER = 1.6  # OIQ-10K: one bad lens of six takes 0.28 of what the whole takes, two 0.54; 6^(-1/p), 3^(-1/p)


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
        return 1 - float(self._charged(1 - float(self._similarities(pixels).mean())))

    def view_losses(self, pixels: np.ndarray) -> np.ndarray:
        """Return 1 - FSIM of each view of (H, 2H, 3) uint8 pixels of the scene against it at its best, (V,) float64."""
        return np.asarray(self._charged(1 - self._similarities(pixels).double().numpy()))

    def _similarities(self, pixels: np.ndarray) -> Tensor:
        return self.reference.fsim(headset_views(pixels, ppd=self.ppd))

    def _charged(self, loss: float | np.ndarray) -> float | np.ndarray:
        return charge_size(loss, self.source.shape[1], self.ppd)


def pool(impairments: np.ndarray) -> float:
    """Return the power mean of impairments (V,) of views, which the worst of them rule, as they rule people's opinions."""
    return float(np.mean(np.clip(impairments, 0, None) ** POWER) ** (1 / POWER))
