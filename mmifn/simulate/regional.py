"""A database of distortions that cover a part of the sphere only: which part, by which kind, how strongly, and what people
would say of it.

Labels rest on FSIM view by view (comparison): each view's loss is read through the human curve of the kind, and what the views
lose is pooled as people pool bad lenses. Layout as in database, with further columns of des.csv: place, and view_MOS, the
labels of the views themselves, in the order of the directions of `sphere.dodecahedron`, separated by spaces.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mmifn.data.manifest import SIMULATED, VIEW_MOS, view_cells
from mmifn.data.workspace import Workspace
from mmifn.simulate.comparison import LABEL_METRIC, SceneComparison, pool
from mmifn.simulate.curves import judged_kinds, mos_of_loss, seen_width
from mmifn.simulate.database import comparison, seen_columns
from mmifn.simulate.drawn import DrawnScene, drawn_scenes, make_drawn
from mmifn.simulate.draws import distort, draw_kind
from mmifn.simulate.light import lens_weights, mix
from mmifn.simulate.settings import REGIONAL as LIKE
from mmifn.simulate.settings import Simulation

RULE = "regional/1"
VERSIONS = 8  # of each scene, beside the pristine one
SIDES = ("front", "right", "rear", "left")  # longitudes 0, 90, 180 and -90 degrees
FEATHER_DEG = 6.0  # over which a part goes over into the rest
_SKY_DEG, _FLOOR_DEG, _POLE_DEG = 20, -30, 45  # latitudes at which these parts begin

Weights = Callable[[int], np.ndarray]


def _above(edge_deg: float) -> Weights:
    """Return how much of each cell lies above a latitude, height -> (H, 1) float32: 1 above, 0 below, half a cosine between."""
    def weights(height: int) -> np.ndarray:
        lat = 90 - (np.arange(height) + 0.5) * 180 / height
        across = np.clip((lat - edge_deg) / FEATHER_DEG + 0.5, 0, 1)
        return (0.5 - 0.5 * np.cos(np.pi * across)).astype(np.float32)[:, None]

    return weights


def _below(edge_deg: float) -> Weights:
    return lambda height: 1 - _above(edge_deg)(height)


def _lens(middle_deg: float, lenses: int) -> Weights:
    """Return what one lens of a ring of them sees, height -> (1, 2H) float32."""
    return lambda height: lens_weights(2 * height, lenses, FEATHER_DEG, middle_deg)[:1]


def _both(one: Weights, other: Weights) -> Weights:
    return lambda height: one(height) * other(height)


def places() -> dict[str, dict[str, Weights]]:
    """Return the parts that are distorted: sort of part -> name of the part -> height of the panorama -> how far each pixel
    belongs to it, broadcast over (H, 2H)."""
    halves = {side: _lens(90.0 * i, 2) for i, side in enumerate(SIDES)}
    return {"half": {f"{side} half": weights for side, weights in halves.items()},
            "quarter": {f"{level} {side} quarter": _both(weights, edge(0.0)) for side, weights in halves.items()
                        for level, edge in (("upper", _above), ("lower", _below))},
            "lens": {f"{side} lens": _lens(90.0 * i, 6) for i, side in enumerate(SIDES)},
            "sky": {"sky": _above(_SKY_DEG)}, "floor": {"floor": _below(_FLOOR_DEG)},
            "pole": {"zenith": _above(_POLE_DEG), "nadir": _below(-_POLE_DEG)}}


@dataclass(frozen=True)
class Part:
    """A kind of distortion, its parameter, and the part of the sphere that it covers: its sort and its name in `places`."""

    kind: str
    parameter: float
    sort: str
    place: str

    def apply(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the panorama (H, 2H, 3) uint8 with that part of it distorted."""
        weights = np.broadcast_to(places()[self.sort][self.place](len(pixels)), pixels.shape[:2])
        return np.rint(mix(weights, distort(self.kind, self.parameter, pixels, rng), pixels)).astype(np.uint8)


def parts(scene: str, width_px: int, seed: int) -> list[Part]:
    """Choose VERSIONS parts for a scene: sorts of part and kinds each as often as can be, places and strengths at random.

    Strengths are drawn so that human scores would be spread evenly if they covered the whole sphere.
    """
    rng = np.random.default_rng([seed, zlib.crc32(scene.encode())])
    known = places()
    sorts, kinds = _evenly(rng, tuple(known)), _evenly(rng, judged_kinds())
    chosen = []
    for _ in range(VERSIONS):
        sort, kind = next(sorts), next(kinds)
        names = list(known[sort])
        chosen.append(Part(*draw_kind(kind, rng, width_px)[:2], sort, names[int(rng.integers(len(names)))]))
    return chosen


def _evenly(rng: np.random.Generator, names: tuple[str, ...]) -> Iterator[str]:
    while True:
        yield from (str(name) for name in rng.permutation(names))


def regional_mos(kind: str, losses: np.ndarray, flawless: np.ndarray) -> float:
    """Return the label of a panorama: that of its flawless self, less what its views lose of their scores, pooled.

    losses, flawless: (V,) of the views of the panorama and of its flawless self (SceneComparison.view_losses).
    """
    return float(mos_of_loss((), flawless.mean())) - regional_harm(kind, losses, flawless)


def view_mos(kind: str, losses: np.ndarray, flawless: np.ndarray) -> np.ndarray:
    """Return the labels of the views, (V,), none above its flawless self; losses, flawless as in regional_mos."""
    return np.minimum(mos_of_loss((kind,), losses, flawless), mos_of_loss((), flawless))


def regional_harm(kind: str, losses: np.ndarray, flawless: np.ndarray) -> float:
    """Return what the views lose of their scores, pooled; losses, flawless as in regional_mos."""
    return pool(mos_of_loss((), flawless) - view_mos(kind, losses, flawless))


def simulate_regional(plan: Simulation, space: Workspace) -> pd.DataFrame:
    """Make or complete the database and return the table that is written to des.csv.

    Raises UserError as simulate does, and for levels: strengths are drawn here.
    """
    facts = {"like": LIKE, "versions": VERSIONS, "label_metric": LABEL_METRIC, "label_rule": RULE}
    return make_drawn(plan, space, drawn_scenes(plan, LIKE), facts, _make_scene)


def _make_scene(job: DrawnScene) -> list[dict]:
    """Write the pristine panorama and its versions, leaving alone what is there; return their rows of des.csv."""
    pixels = job.scene.load(job.plan.height)
    compare = comparison(job.scene, pixels, job.plan)
    flawless = compare.view_losses(pixels)
    path, _ = job.image("pristine_0", lambda: pixels)
    rows = [_row(job, path, compare, pixels.shape[1], None, float(mos_of_loss((), flawless.mean())), mos_of_loss((), flawless))]
    width = round(seen_width(pixels.shape[1], compare.ppd))
    for number, part in enumerate(parts(job.scene.name, width, job.plan.seed), start=1):
        noise = np.random.default_rng([job.plan.seed, zlib.crc32(f"{job.scene.name} {number}".encode())])
        path, distorted = job.image(f"{part.kind}-{part.place.replace(' ', '-')}_{number}",
                                    lambda part=part, noise=noise: part.apply(pixels, noise))
        losses = compare.view_losses(distorted)
        rows.append(_row(job, path, compare, pixels.shape[1], part, regional_mos(part.kind, losses, flawless),
                         view_mos(part.kind, losses, flawless)))
    return rows


def _row(job: DrawnScene, path: Path, compare: SceneComparison, width: int, part: Part | None, mos: float,
         views: np.ndarray) -> dict:
    return {"image_name": path.name, "MOS": f"{mos:.4f}", "distortion_type": part.kind if part else "pristine",
            "level": 1 if part else 0, "reference": job.scene.name, "location": job.scene.location, "mos_source": SIMULATED,
            "place": part.place if part else "", "parameter": f"{part.parameter:.4g}" if part else "",
            **seen_columns(width, compare.ppd), "label_rule": RULE, VIEW_MOS: view_cells(views[None])[0]}
