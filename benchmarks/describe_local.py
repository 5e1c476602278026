"""Check the words for distortions of a part of the sphere on scenes that no calibration saw.

    python benchmarks/describe_local.py --panoramas DIR [--scenes 20] [--height 512] [--beside-score]

Every scene is given four distortions of a part, each composed at the level of pixels: half of it blurred (sigma 2 px), noise on
the floor (sigma 12 below -30 degrees), JPEG (quality 15) in a quarter, a blurred pole (above 45 degrees); and it is shown
pristine, and distorted all over. Prints how often kind and place are among what is told, and, for the last two, how often no
place is told. --beside-score: as beside a score of the model that ships, which must score that part lower than the rest.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import cv2
import numpy as np

import mmifn
from mmifn.core.errors import user_main
from mmifn.core.workers import run_tasks
from mmifn.describe.measured import local
from mmifn.describe.measured.fitting import split_scenes
from mmifn.describe.measured.statistics import tile_maps
from mmifn.simulate import codecs
from mmifn.simulate.distortions import add_noise, blur_sphere
from mmifn.simulate.panoramas import Scene, find_scenes

HALVES = {"in the front half": 0, "in the right half": 90, "in the rear half": 180, "in the left half": -90}
LEVELS = ("above the horizon", "below the horizon")


@dataclass(frozen=True)
class Job:
    """A scene with the half and the level that it is distorted in."""

    scene: Scene
    half: str
    level: str
    height: int
    beside_score: bool


def told_of(erp: np.ndarray, beside_score: bool) -> list[local.Finding]:
    """Return what is told of the parts of a panorama."""
    parts = local.findings(local.patch_statistics(tile_maps(erp, 1)[0]))
    if not beside_score or not parts:
        return parts
    views = np.array([(view.lon_deg, view.lat_deg, view.score) for view in mmifn.score(erp).viewports])
    return [part for part in parts if local.scored_lower(part.region, views[:, :2], views[:, 2])]


def check(job: Job) -> list[tuple[str, str, str]]:
    """Return (case, "right" where kind and place are among what was told, else "wrong", what was told) of one scene."""
    pristine = cv2.resize(job.scene.load(), (2 * job.height, job.height), interpolation=cv2.INTER_AREA)
    lat = (90 - (np.arange(job.height) + 0.5) * 180 / job.height)[:, None, None]
    lon = (-180 + (np.arange(2 * job.height) + 0.5) * 180 / job.height)[None, :, None]
    half = (np.abs((lon - HALVES[job.half] + 180) % 360 - 180) < 90) & (lat < 91)
    blurred = blur_sphere(pristine, 2.0)
    noisy = add_noise(pristine, 12.0, np.random.default_rng([*job.scene.name.encode()]))
    coded = codecs.decode(codecs.encode_jpeg(pristine, 15))
    quarter = half & ((lat > 0) == (job.level == LEVELS[0]))
    everywhere = (lat < 91) & (lon < 181)
    cases = {"half blurred": (blurred, half, "blur", {job.half}),
             "noise on the floor": (noisy, (lat < -30) & everywhere, "noise", {"below the horizon", "at the floor"}),
             "JPEG in a quarter": (coded, quarter, "compression", {f"{job.half}, {job.level}"}),
             "pole blurred": (blurred, (lat > 45) & everywhere, "blur", {"overhead"}),
             "pristine": (pristine, everywhere, "", set()), "blur all over": (blurred, everywhere, "", set()),
             "noise all over": (noisy, everywhere, "", set()), "JPEG all over": (coded, everywhere, "", set())}
    verdicts = []
    for case, (image, where, kind, regions) in cases.items():
        told = told_of(np.where(where, image, pristine), job.beside_score)
        words = "; ".join(f"{part.kind} {part.region}" for part in told)
        if not told:
            verdicts.append((case, "wrong" if kind else "right", "nothing"))
        else:
            right = any(part.kind == kind and part.region in regions for part in told)
            verdicts.append((case, "right" if right else "wrong", words))
    return verdicts


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panoramas", required=True, metavar="DIR", help="folder of pristine panoramas, or 'synthetic'")
    parser.add_argument("--scenes", type=int, metavar="N", help="check at most N held-out scenes")
    parser.add_argument("--height", type=int, default=512, metavar="N", help="rows of the panoramas (default: %(default)s)")
    parser.add_argument("--beside-score", action="store_true", help="tell what the model that ships scores lower, only")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: %(default)s)")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    _, scenes = split_scenes(find_scenes(args.panoramas))
    jobs = [Job(scene, list(HALVES)[i % 4], LEVELS[i // 4 % 2], args.height, args.beside_score)
            for i, scene in enumerate(scenes[:args.scenes])]
    answers: dict[str, list[str]] = {}
    for i, verdicts in run_tasks(check, jobs, args.workers):
        for case, verdict, words in verdicts:
            answers.setdefault(case, []).append(verdict)
            if verdict != "right":
                print(f"{jobs[i].scene.name}: {case} ({jobs[i].half}, {jobs[i].level}): {words}", file=sys.stderr)
    for case, verdicts in answers.items():
        print(f"{case}: {verdicts.count('right')} of {len(verdicts)} right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
