"""Check the words for faults of cameras and stitchers on scenes that no calibration saw.

    python benchmarks/describe_camera.py --panoramas DIR [--scenes 20] [--height 2048]

Every scene is shown with a ghost of 0.8 and of 1.6 degrees at the seams of two or six lenses (right: seams are told, each on the
side of a true one or within 20 degrees of it, and no burnt-out light), with a region burnt out by 4 stops (right: told within 45
degrees of where most was lost, and no seams), and pristine (right: neither is told); all as they are and saved as JPEG of quality
95. Pristine ones are also shown as JPEG of quality 20, noisy (sigma 12) and blurred (sigma 2).
"""

from __future__ import annotations

import sys
import zlib
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.held_out_words import Checked, check_parser, print_check, pristine_of, saved
from mmifn.core.errors import user_main
from mmifn.describe.directions import direction_words
from mmifn.describe.measured import camera
from mmifn.simulate import captured
from mmifn.simulate.distortions import add_noise, blur_sphere
from mmifn.simulate.light import to_light, to_pixels
from mmifn.simulate.panoramas import Scene
from mmifn.sphere import degrees_to_directions

GHOSTS_DEG, STOPS = (0.8, 1.6), 4.0


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


def check(job: tuple[int, Scene], height: int) -> list[Checked]:
    """Return what is told of one scene in every case."""
    _, scene = job
    pristine = pristine_of(scene, height)
    seed, light = zlib.crc32(scene.name.encode()), to_light(pristine)
    faulty = {f"ghost of {degrees:g} degrees": to_pixels(captured.ghosts(light, degrees, np.random.default_rng(seed)))
              for degrees in GHOSTS_DEG}
    burnt = to_pixels(captured.region(light, STOPS, np.random.default_rng(seed)))
    lost = cv2.blur((burnt.min(axis=2) > 251).astype(np.float32) - (pristine.min(axis=2) > 251), (height // 6,) * 2)
    row, column = np.unravel_index(int(lost.argmax()), lost.shape)
    cases = {"pristine": pristine, **faulty, "burnt out": burnt}
    cases |= {f"{name}, saved": saved(pixels) for name, pixels in cases.items()}
    cases |= {"pristine, JPEG of quality 20": saved(pristine, 20), "pristine, blurred": blur_sphere(pristine, 2.0),
              "pristine, noisy": add_noise(pristine, 12.0, np.random.default_rng(seed))}
    verdicts = []
    for case, pixels in cases.items():
        doubled, shares = camera.doubling(pixels), camera.burnt_shares(pixels)
        seams, white = camera.seams_of(doubled), camera.burnt_at(shares)
        near = [any(camera.away(lon, seam) <= 20 or direction_words(lon, 0) == direction_words(seam, 0)
                    for seam in true_seams(seed)) for lon in seams]
        if case.startswith("ghost"):
            right = bool(near) and all(near) and white is None
        elif case.startswith("burnt"):
            right = not seams and white is not None and apart(*white, int(row), int(column), height) <= 45
        else:
            right = not seams and white is None
        verdicts.append(Checked(case, right, f"{'; '.join(camera.camera_faults(doubled, shares)) or 'nothing'} "
                                f"(doubled {doubled.max():.2f}, burnt {shares.max():.2f})"))
    return verdicts


@user_main
def main(argv: list[str] | None = None) -> int:
    args = check_parser(__doc__, 1024).parse_args(argv)
    print_check(partial(check, height=args.height), args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
