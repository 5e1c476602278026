"""Hold a model of predict.py against faults of cameras that no view alone can show, and against what is no fault.

    python benchmarks/lenses.py --panoramas DIR [--scenes NAMES] [--checkpoint FILE]

DIR holds pristine panoramas, scored at 2048 px as predict.py does: flawless; with one lens of two blurred, brighter or darker;
with brightness steps over six lenses; grey; a little brighter as a whole. Prints one line per promise: what was asked, what
was measured, on how many.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from mmifn.cli.flags import command_parser
from mmifn.core.errors import user_main
from mmifn.core.workers import run_tasks, usable_cores
from mmifn.scoring.model import load_model, shipped_path
from mmifn.scoring.panorama import Predictor, open_predictor
from mmifn.simulate.distortions import blur_sphere
from mmifn.simulate.light import grey, lens_weights, mix, relit
from mmifn.simulate.panoramas import Scene, listed_scenes
from mmifn.simulate.settings import scene_list

HEIGHT = 1024
BLURS = (2.0, 3.0, 4.0)  # sigma in pixels, one lens of two
GAINS = (1.6, 0.6)  # of the light of one lens of two
STEPS = (0.25, 0.5, 0.9)  # stops, SD over six lenses
FELT, LEAST_SHARE = 8.0, 0.9  # points below the flawless one, in this share of the scenes
_FEATHER_DEG, _FIRST_DEG = 8.0, 35.0
_SIX = np.array([1.0, -0.6, 0.2, -1.2, 1.2, -0.6])  # stops of six lenses, SD 0.93


@dataclass(frozen=True)
class Job:
    scene: Scene
    checkpoint: Path | None

    def predictor(self) -> Predictor:
        return open_predictor("offline", self.checkpoint, "cpu")


def one_lens(pixels: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    lens = lens_weights(pixels.shape[1], 2, _FEATHER_DEG, _FIRST_DEG)[0]
    return np.rint(mix(lens, change(pixels).astype(np.float32), pixels.astype(np.float32))).astype(np.uint8)


def one_lens_gain(pixels: np.ndarray, gain: float) -> np.ndarray:
    lens = lens_weights(pixels.shape[1], 2, _FEATHER_DEG, _FIRST_DEG)[0]
    return relit(pixels, 1 + lens * (gain - 1))


def six_lenses(pixels: np.ndarray, stops: float) -> np.ndarray:
    gains = 2.0 ** (_SIX / _SIX.std() * stops)
    return relit(pixels, gains @ lens_weights(pixels.shape[1], 6, _FEATHER_DEG, _FIRST_DEG))


FAULTY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **{f"one lens blurred, sigma {s:g}": lambda x, s=s: one_lens(x, lambda y: blur_sphere(y, s)) for s in BLURS},
    **{f"one lens {g:g} times as bright": lambda x, g=g: one_lens_gain(x, g) for g in GAINS},
    **{f"six lenses, {s:g} stops": lambda x, s=s: six_lenses(x, s) for s in STEPS}}
HARMLESS: dict[str, tuple[float, Callable[[np.ndarray], np.ndarray]]] = {
    "half a stop brighter": (4.0, lambda x: relit(x, 2 ** 0.5)), "half a stop darker": (4.0, lambda x: relit(x, 2 ** -0.5)),
    "a tenth brighter": (2.0, lambda x: relit(x, 1.1)), "grey": (4.0, grey)}


def score_scene(job: Job) -> list[dict]:
    """Return one row per scored picture: scene, what, score, and whether it is a scene by night."""
    score, pixels = job.predictor().score_pixels, job.scene.load(HEIGHT)
    night = "night" in job.scene.name
    made = {"flawless": lambda x: x, **FAULTY, **{name: change for name, (_, change) in HARMLESS.items()}}
    return [{"scene": job.scene.name, "night": night, "what": what, "score": score(change(pixels)).score}
            for what, change in made.items()]


def line(what: str, wanted: str, measured: str, count: int) -> None:
    print(f"{what:<52} {wanted:>26}  {measured:>20}  {count}")


def report(table: pd.DataFrame) -> None:
    scores = table.pivot(index="scene", columns="what", values="score")
    print(f"{'promise':<52} {'wanted':>26}  {'measured':>20}  of")
    for what in FAULTY:
        below = scores["flawless"] - scores[what]
        line(what, f">= {FELT:g} below in {100 * LEAST_SHARE:.0f} %, never above",
             f"{100 * (below >= FELT).mean():.0f} % ({below.min():+.1f}..{below.max():+.1f})", len(below))
    steps = scores[["flawless", *(f"six lenses, {s:g} stops" for s in STEPS)]].diff(axis=1).iloc[:, 1:] < 0
    line("six lenses: each stronger step scores lower", "all", f"{100 * steps.to_numpy().mean():.0f} %", steps.size)
    for what, (most, _) in HARMLESS.items():
        moved = (scores[what] - scores["flawless"]).abs()
        line(f"points moved when {what}, median (worst)", f"<= {most:g}", f"{moved.median():.1f} ({moved.max():.1f})", len(moved))
    night = table[table.what == "flawless"].groupby("night").score.mean()
    if len(night) == 2:
        line("flawless scenes by day and by night", "<= 6 apart", f"{night[False]:.1f} / {night[True]:.1f}", len(scores))


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    parser.add_argument("--panoramas", type=Path, required=True, metavar="DIR", help="pristine panoramas of 2048 px or more")
    parser.add_argument("--scenes", default="", metavar="NAMES", help="only these, by name or from a file (default: all)")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="model (default: the one that ships)")
    parser.add_argument("--workers", type=int, default=usable_cores(), metavar="N")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    load_model(args.checkpoint or shipped_path("offline"))
    scenes = listed_scenes(args.panoramas, scene_list(args.scenes))
    made = tqdm(run_tasks(score_scene, [Job(scene, args.checkpoint) for scene in scenes], args.workers), total=len(scenes),
                desc="scoring", unit="scene")
    report(pd.DataFrame([row for _, rows in made for row in rows]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
