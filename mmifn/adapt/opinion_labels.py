"""Labels of authentic faults on panoramas: what an encoder taught by people says of the views, pooled as people pool.

Nobody judged these panoramas. Three things stand in for it, and every row says which:
views: the encoder taught by photographs scores each view of the faulty and of the flawless panorama; what it takes away
    is brought to the scale of the headset studies by blur, noise and JPEG, which both know (POINTS).
light: lenses of unlike brightness, which no view alone shows: stops by which views differ from the sphere's own change,
    priced as people priced brightness steps in one lens (JUFE-10K: 0.18, 0.36, 0.54 of the scale for degrees 1, 2, 3, and
    OIQ-10K: 0.31 on average), degrees taken for our strengths 1, 2, 3 of exposure.
stitching: breaks and ghosts at seams, priced by strength as people priced stitching in one lens in the same studies.
Impairments of views are pooled with the exponent that OIQ-10K's opinions of one and of two bad lenses of six ask for.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from mmifn.encoders.people import open_people
from mmifn.simulate.comparison import pool
from mmifn.simulate.light import to_light
from mmifn.sphere import dodecahedron, render_viewports

RULE = "people/2"
FOV_DEG, SIZE_PX = 40.0, 224
RANGE = 54.0  # from the flawless panorama down to the worst level of OIQA and CVIQ, points
POINTS = 0.71  # of the headset studies for one point of the photographs' study: see above
LIGHT = 43.0  # points for a stop of pooled unevenness: 14 for a stop in one lens of six
STITCHING = {1: 11.0, 2: 16.0, 3: 19.0, 4: 22.0}  # points by strength
_DARK, _MOST_STOPS = 0.002, 1.5


def views_of(pixels: np.ndarray) -> Tensor:
    """Return the views that are scored, (20, 3, S, S) float32 in 0..1."""
    return render_viewports(pixels, dodecahedron(), FOV_DEG, SIZE_PX)


def people_scores(views: Tensor) -> np.ndarray:
    """Return what the encoder says of views (V, 3, S, S), 0..100 on the photographs' scale."""
    return open_people("cpu")(views).numpy()


def light_of(views: Tensor) -> np.ndarray:
    """Return log2 of the mean light of views, (V,)."""
    pixels = (views * 255).round().byte().numpy()
    return np.log2(to_light(pixels).mean(axis=(1, 2, 3)) + _DARK)


def unevenness(change: np.ndarray) -> float:
    """Return points for lenses of unlike brightness; change: stops of each view's light against the flawless one's, (V,)."""
    return LIGHT * pool(np.minimum(np.abs(change - np.median(change)), _MOST_STOPS))


def harm_of(*parts: float) -> float:
    """Add points up as independent annoyances, by their squares; at most RANGE."""
    return float(min(np.hypot.reduce(parts), RANGE))


def label(harm: float, ceiling: float, floor: float) -> float:
    """Return the simulated score: the flawless panorama's, less the harm as a share of what is left above the floor."""
    return ceiling - harm / RANGE * (ceiling - floor)
