"""Pristine panoramas that the package renders itself: streets, squares, woods, shores and rooms, by day and night.

Each scene is a small world of planes, boxes and trees, ray-cast from one point: every pixel is a function of its ray
(no seam, no poles), averaged over 2x2 rays. They stand in for photographs where there are none: for demonstrations
and tests, not for conclusions about real pictures.
"""

from __future__ import annotations

import numpy as np

from mmifn.simulate.rendered.interiors import cast_indoors
from mmifn.simulate.rendered.procedural import SolidNoise
from mmifn.simulate.rendered.scenery import View, cast_outdoors
from mmifn.sphere import erp_directions

KINDS = ("street", "meadow", "room", "plaza", "wood", "night", "shore", "hall")
CATALOGUE = 32
_SUPERSAMPLE = 2
RENDERER = 1  # raise it whenever a change alters the pictures


def scene_names(count: int = CATALOGUE) -> list[str]:
    """Return the names of the first `count` scenes; a name fixes its picture."""
    return [f"{KINDS[i % len(KINDS)]}_{i // len(KINDS) + 1:02d}" for i in range(count)]


def render_scene(name: str, height: int = 512) -> np.ndarray:
    """Render one scene of scene_names() to (height, 2 height, 3) uint8 sRGB; deterministic."""
    kind, number = name.rsplit("_", 1)
    if kind not in KINDS or not number.isdigit():
        raise ValueError(f"no synthetic scene is called {name!r}")
    seed = int(number) * len(KINDS) + KINDS.index(kind)
    fine = height * _SUPERSAMPLE
    rays = erp_directions(fine, 2 * fine).numpy().astype(np.float32).reshape(-1, 3)
    view = View(rays, np.full(len(rays), np.inf, np.float32), np.zeros_like(rays), np.pi / height)
    world = np.random.default_rng(seed)
    noise = SolidNoise(seed)
    (cast_indoors if kind in ("room", "hall") else cast_outdoors)(view, kind, world, noise)
    light = np.clip(view.colour, 0, None).reshape(height, _SUPERSAMPLE, 2 * height, _SUPERSAMPLE, 3).mean(axis=(1, 3))
    light = 1.08 * (1 - np.exp(-1.7 * light)) ** 1.2  # a film-like curve: firm shadows, a soft shoulder for highlights
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-6) ** (1 / 2.4) - 0.055)
    return np.clip(srgb * 255 + 0.5, 0, 255).astype(np.uint8)
