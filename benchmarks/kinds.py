"""How well pictures that are no panoramas are told from panoramas (mmifn.data.is_panorama).

  python benchmarks/kinds.py --panoramas DIR [--photographs DIR] [--every N]

Reads   a folder of equirectangular panoramas, and one of ordinary photographs
Writes  to the screen: for each kind of picture made of them, how many are named as what, warned of, or pass without a word
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from pictures import photograph, projected, two_lenses

from mmifn.core.errors import UserError
from mmifn.data.images import read_image
from mmifn.data.is_panorama import examine
from mmifn.scoring.listing import Listing

WIDTH = 1024


def reduced(picture: np.ndarray, width: int = WIDTH, height: int = WIDTH // 2) -> np.ndarray:
    """Return a picture reduced to a size."""
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def compressed(picture: np.ndarray, quality: int) -> np.ndarray:
    """Return a picture as JPEG leaves it."""
    return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def noisy(picture: np.ndarray) -> np.ndarray:
    """Return a picture with noise of 35 grey levels."""
    return (picture + np.random.default_rng(0).normal(0, 35, picture.shape)).clip(0, 255).astype(np.uint8)


def eyes(picture: np.ndarray, width: int, height: int, axis: int) -> np.ndarray:
    """Return a panorama and one that is turned by two degrees, squeezed beside or above each other."""
    return np.concatenate([reduced(np.roll(picture, shift, axis=1), width, height) for shift in (0, 6)], axis=axis)


MADE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "panoramas": lambda x: x, "panoramas, noise of 35": noisy, "panoramas, JPEG of quality 8": lambda x: compressed(x, 8),
    "panoramas, blur of 6 px": lambda x: cv2.GaussianBlur(x, (0, 0), 6), "panoramas of 256 px": lambda x: reduced(x, 256, 128),
    "two lenses": two_lenses, "two eyes above each other": lambda x: eyes(x, WIDTH, WIDTH // 4, 0),
    "two eyes beside each other": lambda x: eyes(x, WIDTH // 2, WIDTH // 2, 1),
    "VR180": lambda x: eyes(np.ascontiguousarray(x[:, WIDTH // 4:-(WIDTH // 4)]), WIDTH // 2, WIDTH // 2, 1),
    "views of 90 degrees": lambda x: photograph(x, 0),
    "little planets": lambda x: projected(x, "sg:h_fov=270:v_fov=200:pitch=-90"), "cubes": lambda x: projected(x, "c3x2"),
    "halves beside their mirror image": lambda x: np.concatenate([x[:, :WIDTH // 2], x[:, WIDTH // 2 - 1::-1]], axis=1)}


def verdict(picture: np.ndarray) -> str:
    """Return what is said of a picture, in a few words."""
    try:
        said = examine(np.ascontiguousarray(picture), "it")
    except UserError as error:
        return "named: " + str(error).removeprefix("it is no equirectangular panorama but ").split(",")[0].split(":")[0][:40]
    return "warned" if said else "passes"


def cut(picture: np.ndarray) -> np.ndarray:
    """Return the middle of a photograph, cut to 2:1."""
    height = min(len(picture), picture.shape[1] // 2)
    top = (len(picture) - height) // 2
    return picture[top:top + height, :2 * height]


def build_parser() -> argparse.ArgumentParser:
    """Return the benchmark's parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panoramas", type=Path, nargs="+", required=True, metavar="DIR")
    parser.add_argument("--photographs", type=Path, metavar="DIR")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every N-th picture only (default: %(default)s)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    args = build_parser().parse_args(argv)
    whole = [reduced(read_image(path)) for _, path in list(Listing(tuple(args.panoramas)))[::args.every]]
    for name, make in MADE.items():
        print(f"{name} ({len(whole)}):", dict(Counter(verdict(make(erp)) for erp in whole)), flush=True)
    if args.photographs:
        paths = [path for _, path in list(Listing((args.photographs,)))[::args.every]]
        said = Counter(verdict(cut(read_image(path, panorama=False))) for path in paths)
        print(f"photographs ({len(paths)}):", dict(said), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
