"""Check the words for distortions of a part of the sphere on scenes that no calibration saw.

    python benchmarks/describe_local.py --panoramas DIR [--scenes 20] [--height 512] [--beside-score] [--saved]

Every scene is given four distortions of a part, each composed at the level of pixels: half of it blurred (sigma 2 px), noise on
the floor (sigma 12 below -30 degrees), JPEG (quality 15) in a quarter, a blurred pole (above 45 degrees); and it is shown
pristine, and distorted all over. Prints how often kind and place are among what is told, and, for the last two, how often no
place is told. --beside-score: what predict.py tells beside a score of the model that ships, word for word.
--saved: every picture saved as JPEG of quality 95 first, as most people's files are.
"""

from __future__ import annotations

import argparse
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import mmifn
from benchmarks.held_out_words import Checked, check_parser, print_check, pristine_of, saved
from mmifn.core.errors import user_main
from mmifn.describe.measured import local
from mmifn.describe.measured.statistics import tile_maps
from mmifn.simulate.distortions import add_noise, blur_sphere
from mmifn.simulate.panoramas import Scene

HALVES = {"in the front half": 0, "in the right half": 90, "in the rear half": 180, "in the left half": -90}
LEVELS = ("above the horizon", "below the horizon")
REGIONS = {name for name, _ in local.region_masks(np.float64(0), np.float64(0))}
IN_WORDS = re.compile(f"({'|'.join(local.KINDS[1:])}) ({'|'.join(sorted(REGIONS, key=len, reverse=True))})")


def told_of(erp: np.ndarray, beside_score: bool) -> list[tuple[str, str]]:
    """Return what is told of the parts of a panorama: kind and region of each; beside a score: as they stand in its words."""
    if beside_score:
        return IN_WORDS.findall(mmifn.score(erp).description.lower())
    return [(part.kind, part.region) for part in local.findings(local.patch_statistics(tile_maps(erp, 1)[0]))]


def check(job: tuple[int, Scene], args: argparse.Namespace) -> list[Checked]:
    """Return what is told of one scene in every case; its number chooses the half and the level that are distorted."""
    number, scene = job
    side, level = list(HALVES)[number % 4], LEVELS[number // 4 % 2]
    pristine = pristine_of(scene, args.height)
    lat = (90 - (np.arange(args.height) + 0.5) * 180 / args.height)[:, None, None]
    lon = (-180 + (np.arange(2 * args.height) + 0.5) * 180 / args.height)[None, :, None]
    everywhere = (lat < 91) & (lon < 181)
    half = (np.abs((lon - HALVES[side] + 180) % 360 - 180) < 90) & everywhere
    blurred = blur_sphere(pristine, 2.0)
    noisy = add_noise(pristine, 12.0, np.random.default_rng([*scene.name.encode()]))
    coded = saved(pristine, 15)
    cases = {"half blurred": (blurred, half, "blur", {side}),
             "noise on the floor": (noisy, (lat < -30) & everywhere, "noise", {"below the horizon", "at the floor"}),
             "JPEG in a quarter": (coded, half & ((lat > 0) == (level == LEVELS[0])), "compression", {f"{side}, {level}"}),
             "pole blurred": (blurred, (lat > 45) & everywhere, "blur", {"overhead"}),
             "pristine": (pristine, everywhere, "", set()), "blur all over": (blurred, everywhere, "", set()),
             "noise all over": (noisy, everywhere, "", set()), "JPEG all over": (coded, everywhere, "", set())}
    checked = []
    for case, (image, where, kind, regions) in cases.items():
        shown = np.where(where, image, pristine)
        told = told_of(saved(shown) if args.saved else shown, args.beside_score)
        right = any(said == kind and place in regions for said, place in told) if kind else not told
        words = "; ".join(f"{said} {place}" for said, place in told) or "nothing"
        checked.append(Checked(case, right, f"{words} ({side}, {level})"))
    return checked


def build_parser() -> argparse.ArgumentParser:
    parser = check_parser(__doc__, 512)
    parser.add_argument("--beside-score", action="store_true", help="tell what the model that ships scores lower, only")
    parser.add_argument("--saved", action="store_true", help="save every picture as JPEG of quality 95 first")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    print_check(partial(check, args=args), args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
