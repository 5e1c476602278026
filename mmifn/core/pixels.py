"""Pixels: brightness of colours, and floats written as 8 bits."""

from __future__ import annotations

import numpy as np
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)


def to_bytes(values: Tensor) -> Tensor:
    """Return values of 0..1 as uint8, rounded; what lies beyond is cut off."""
    return (values * 255).round().clamp(0, 255).byte()


def to_pixels(planes: Tensor) -> np.ndarray:
    """Return planes (…, 3, H, W) of 0..1 as pictures (…, H, W, 3) uint8."""
    return np.ascontiguousarray(to_bytes(planes).movedim(-3, -1).numpy())
