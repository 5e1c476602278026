"""A database of distortions stronger than any that people judged: what a model must not take for mild ones.

A model that learnt up to the severest judged blur gives a stronger one a better score again. Labels go on down: FSIM cannot tell
strong blurs apart (beyond eight pixels of the headset it even rises), so a blurred picture gets no more than the human curve
over its setting, continued. Layout as in database, with further columns of des.csv: place, parameter.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from mmifn.data.manifest import SIMULATED
from mmifn.data.workspace import Workspace
from mmifn.simulate.comparison import LABEL_METRIC, SceneComparison
from mmifn.simulate.curves import HEADSET_WIDTH, curve_by_setting, mos_of_fsim, seen_width
from mmifn.simulate.database import comparison, seen_columns
from mmifn.simulate.drawn import DrawnScene, drawn_scenes, make_drawn
from mmifn.simulate.draws import distort
from mmifn.simulate.regional import Part, places, regional_harm
from mmifn.simulate.settings import EXTREME as LIKE
from mmifn.simulate.settings import Simulation

RULE = "extreme/1"
# (kind, mildest, severest): one of each for a scene, drawn evenly by ratio. Blur and resampling are in pixels of a panorama of
# the headset's width, the compression ratio is that of a file, and exposure is in stops.
RANGES = (("GB", 6.0, 12.0), ("GB", 12.0, 24.0), ("GB", 24.0, 48.0), ("DS", 8.0, 16.0), ("DS", 16.0, 32.0),
          ("JP2K", 1000.0, 4000.0), ("EXP", 2.5, 4.5), ("EXP", -2.5, -6.0))
OF_A_PART = (("GB", 6.0, 17.0), ("GB", 17.0, 48.0))  # of half the sphere
_OF_SIZE = ("GB", "DS")
_BLUR_OF = {"GB": 1.0, "DS": 0.5}  # reduced n times and enlarged, a picture keeps by FSIM what a blur of n / 2 pixels leaves


@dataclass(frozen=True)
class Extreme:
    """A distortion with its parameter in the panorama's own pixels; place: which half of the sphere, None for all of it."""

    kind: str
    parameter: float
    place: str | None

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Return the distorted (H, 2H, 3) uint8 panorama."""
        rng = np.random.default_rng(0)  # nothing is random in any of RANGES
        if self.place:
            return Part(self.kind, self.parameter, "half", self.place).apply(pixels, rng)
        return distort(self.kind, self.parameter, pixels, rng)


def extremes(scene: str, width_px: float, seed: int) -> list[Extreme]:
    """Draw the extremes of a scene that is seen as `width_px` pixels in the headset."""
    rng = np.random.default_rng([seed, zlib.crc32(scene.encode())])
    halves = list(places()["half"])
    chosen = []
    for kind, mild, severe in (*RANGES, *OF_A_PART):
        value = float(np.sign(mild) * np.exp(rng.uniform(*np.log(np.abs([mild, severe])))))
        place = str(rng.choice(halves)) if len(chosen) >= len(RANGES) else None
        chosen.append(Extreme(kind, value * width_px / HEADSET_WIDTH if kind in _OF_SIZE else value, place))
    return chosen


def extreme_mos(kind: str, parameter: float, width_px: float, fsim: float, flawless: float) -> float:
    """Return the label of a panorama distorted all over: by its FSIM, and no more than its blur gets by the continued curve.

    width_px: as it is seen in the headset; flawless: FSIM of its flawless version of the same size.
    """
    mos = mos_of_fsim((kind,), fsim, flawless)
    if kind not in _BLUR_OF:
        return mos
    return min(mos, float(curve_by_setting("GB")(parameter * _BLUR_OF[kind] * HEADSET_WIDTH / width_px)))


def simulate_extreme(plan: Simulation, space: Workspace) -> pd.DataFrame:
    """Make or complete the database and return the table that is written to des.csv.

    Raises UserError as simulate does, and for levels: strengths are drawn here.
    """
    facts = {"like": LIKE, "ranges": [*RANGES, *OF_A_PART], "label_metric": LABEL_METRIC, "label_rule": RULE}
    return make_drawn(plan, space, drawn_scenes(plan, LIKE), facts, _make_scene)


def _make_scene(job: DrawnScene) -> list[dict]:
    """Write the extremes of a scene, leaving alone what is there; return their rows of des.csv."""
    pixels = job.scene.load(job.plan.height)
    compare = comparison(job.scene, pixels, job.plan)
    flawless = compare.view_losses(pixels)
    width = seen_width(pixels.shape[1], compare.ppd)
    rows = []
    for number, what in enumerate(extremes(job.scene.name, width, job.plan.seed), start=1):
        where = f"-{what.place.replace(' ', '-')}" if what.place else ""
        path, distorted = job.image(f"{what.kind}{where}_{number}", lambda what=what: what.apply(pixels))
        mos = _label(what, distorted, pixels, compare, flawless)
        rows.append(_row(job, path, pixels.shape[1], compare.ppd, what, mos))
    return rows


def _label(what: Extreme, distorted: np.ndarray, pixels: np.ndarray, compare: SceneComparison, flawless: np.ndarray) -> float:
    """Return the label; what the views of half a sphere lose grows as the continued curve makes the whole sphere's loss grow."""
    width, best = seen_width(pixels.shape[1], compare.ppd), 1 - float(flawless.mean())
    if what.place is None:
        return extreme_mos(what.kind, what.parameter, width, compare.fsim(distorted), best)
    whole = compare.fsim(replace(what, place=None).apply(pixels))
    ceiling, by_fsim = mos_of_fsim((), best, best), mos_of_fsim((what.kind,), whole, best)
    growth = (ceiling - extreme_mos(what.kind, what.parameter, width, whole, best)) / (ceiling - by_fsim)
    return ceiling - growth * regional_harm(what.kind, compare.view_losses(distorted), flawless)


def _row(job: DrawnScene, path: Path, width: int, ppd: float, what: Extreme, mos: float) -> dict:
    return {"image_name": path.name, "MOS": f"{mos:.4f}", "distortion_type": what.kind, "level": 1, "reference": job.scene.name,
            "location": job.scene.location, "mos_source": SIMULATED, "place": what.place or "",
            "parameter": f"{what.parameter:.4g}", **seen_columns(width, ppd), "label_rule": RULE}
