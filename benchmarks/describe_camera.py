"""Check the words for faults of cameras and stitchers on scenes that no calibration saw.

    python benchmarks/describe_camera.py --panoramas DIR [--scenes 20] [--height 2048] [--beside-score] [--pristine]

Every scene is shown with a ghost of 0.8 and of 1.6 degrees at the seams of two or six lenses (right: seams are told, each on the
side of a true one or within 20 degrees of it, and nothing else), with a region burnt out by 4 stops (right: told within 45
degrees of where most was lost, and nothing else), with red and blue parted by 0.25 degrees at the rims of two lenses (right:
colour fringes are told, and nothing else), and pristine (right: nothing is told); all as they are and saved as JPEG of quality
95. Pristine ones are also shown as JPEG of quality 20, noisy (sigma 12) and blurred (sigma 2). --pristine: these alone.
--beside-score: as beside a score of the model that ships, which must score burnt-out light lower than the rest.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import mmifn
from benchmarks.held_out_words import Checked, check_parser, print_check, pristine_of, saved
from mmifn.core.errors import user_main
from mmifn.describe.directions import direction_words
from mmifn.describe.measured import camera
from mmifn.describe.measured.fringes import fringed, parting
from mmifn.simulate import captured, processed
from mmifn.simulate.distortions import add_noise, blur_sphere
from mmifn.simulate.light import to_light, to_pixels
from mmifn.simulate.panoramas import Scene
from mmifn.sphere import degrees_to_directions

GHOSTS_DEG, STOPS, FRINGES_DEG = (0.8, 1.6), 4.0, 0.25


def true_seams(seed: int) -> list[float]:
    """Return the longitudes of the seams that captured.ghosts draws by this seed, degrees."""
    rng = np.random.default_rng(seed)
    lenses = int(rng.choice((2, 6)))
    first = rng.uniform(-180, 180)
    return [first + (180 + 360 * i) / lenses for i in range(lenses)]


def apart(lon_deg: float, lat_deg: float, row: int, column: int, height: int) -> float:
    """Return the angle in degrees between a direction and a pixel of a panorama of some rows."""
    there = ((column + 0.5) / height * 180 - 180, 90 - (row + 0.5) / height * 180)
    one, other = degrees_to_directions(*torch.tensor([(lon_deg, lat_deg), there], dtype=torch.float64).T)
    return float(torch.rad2deg((one @ other).clamp(-1, 1).acos()))


def most_lost(burnt: np.ndarray, pristine: np.ndarray) -> tuple[int, int, int]:
    """Return row and column of the place where most was lost to white, and the rows of the picture."""
    height = len(pristine)
    lost = cv2.blur((burnt.min(axis=2) > 251).astype(np.float32) - (pristine.min(axis=2) > 251), (height // 6,) * 2)
    row, column = np.unravel_index(int(lost.argmax()), lost.shape)
    return int(row), int(column), height


def cases_of(pristine: np.ndarray, seed: int, alone: bool) -> dict[str, np.ndarray]:
    """Return a scene's pictures by the name of the case; alone: those that nothing is to be told of."""
    light, faulty = to_light(pristine), {}
    if not alone:
        faulty = {f"ghost of {degrees:g} degrees": to_pixels(captured.ghosts(light, degrees, np.random.default_rng(seed)))
                  for degrees in GHOSTS_DEG}
        faulty["burnt out"] = to_pixels(captured.region(light, STOPS, np.random.default_rng(seed)))
        faulty["fringes"] = processed.fringe(pristine, FRINGES_DEG, np.random.default_rng(seed))
    cases = {"pristine": pristine, **faulty}
    cases |= {f"{name}, saved": saved(pixels) for name, pixels in cases.items()}
    return cases | {"pristine, JPEG of quality 20": saved(pristine, 20), "pristine, blurred": blur_sphere(pristine, 2.0),
                    "pristine, noisy": add_noise(pristine, 12.0, np.random.default_rng(seed))}


def light_of(pixels: np.ndarray, beside_score: bool) -> np.ndarray:
    """Return the shares of white that are told of a picture."""
    shares = camera.burnt_shares(pixels)
    if beside_score and camera.burnt_at(shares):
        views = np.array([(view.lon_deg, view.lat_deg, view.score) for view in mmifn.score(pixels).viewports])
        return shares * camera.light_scored_lower(shares, views[:, :2], views[:, 2])
    return shares


def check(job: tuple[int, Scene], args: argparse.Namespace) -> list[Checked]:
    """Return what is told of one scene in every case."""
    _, scene = job
    pristine, seed = pristine_of(scene, args.height), zlib.crc32(scene.name.encode())
    cases, checked = cases_of(pristine, seed, args.pristine), []
    for case, pixels in cases.items():
        doubled, shares, parted = camera.doubling(pixels), light_of(pixels, args.beside_score), parting(pixels)
        seams, white = camera.seams_of(doubled), camera.burnt_at(shares)
        near = [any(camera.away(lon, seam) <= 20 or direction_words(lon, 0) == direction_words(seam, 0)
                    for seam in true_seams(seed)) for lon in seams]
        told = {"ghost": bool(seams), "burnt": white is not None, "fringes": fringed(parted)}
        right = all(said == case.startswith(kind) for kind, said in told.items()) and all(near)
        if right and white:
            right = apart(*white, *most_lost(cases["burnt out"], pristine)) <= 45
        words = "; ".join(camera.camera_faults(doubled, shares, parted)) or "nothing"
        checked.append(Checked(case, right, f"{words} (doubled {doubled.max():.2f}, burnt {shares.max():.2f}, "
                                            f"parted {parted:.2f})"))
    return checked


def build_parser() -> argparse.ArgumentParser:
    parser = check_parser(__doc__, 1024)
    parser.add_argument("--beside-score", action="store_true", help="tell burnt-out light that the model scores lower, only")
    parser.add_argument("--pristine", action="store_true", help="show the pictures alone that nothing is to be told of")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    print_check(partial(check, args=args), args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
