"""How well pictures that are no panoramas are told from panoramas (mmifn.data.is_panorama).

  python benchmarks/kinds.py --panoramas DIR [--photographs DIR] [--every N] [--half {0,1}]

Reads   a folder of equirectangular panoramas, and one of ordinary photographs
Writes  to the screen: for each kind of picture made of them, how many are named as what, warned of, or pass without a word
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from pictures import one_lens, photograph, projected, two_lenses

from mmifn.core.errors import UserError
from mmifn.data.images import read_image
from mmifn.data.is_panorama import examine
from mmifn.data.padding import find_padding
from mmifn.scoring.listing import Listing
from mmifn.simulate.light import lens_weights, relit

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


def seen_by_two(picture: np.ndarray) -> np.ndarray:
    """Return a panorama beside another of it in which every place has moved by up to 4 degrees, one by more, another by less."""
    moved = np.random.default_rng(int(picture.sum()) % 1000).uniform(0, WIDTH / 90, (6, 12)).astype(np.float32)
    y, x = np.mgrid[:WIDTH // 2, :WIDTH].astype(np.float32)
    other = cv2.remap(picture, x + cv2.resize(moved, (WIDTH, WIDTH // 2), interpolation=cv2.INTER_CUBIC), y, cv2.INTER_LINEAR,
                      borderMode=cv2.BORDER_WRAP)
    return np.concatenate([reduced(eye, WIDTH // 2, WIDTH // 2) for eye in (picture, other)], axis=1)


def unlike(picture: np.ndarray) -> np.ndarray:
    """Return a panorama of six lenses that are up to 1.2 stops too bright or too dark."""
    stops = np.random.default_rng(int(picture.sum()) % 1000).uniform(-1.2, 1.2, 6)
    return relit(picture, 2.0 ** stops @ lens_weights(WIDTH, 6, 8.0, 35.0))


MADE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "panoramas": lambda x: x, "panoramas, noise of 35": noisy, "panoramas, JPEG of quality 8": lambda x: compressed(x, 8),
    "panoramas, blur of 6 px": lambda x: cv2.GaussianBlur(x, (0, 0), 6), "panoramas of 256 px": lambda x: reduced(x, 256, 128),
    "panoramas, turned": lambda x: projected(x, "e:yaw=70:pitch=50:roll=20"), "panoramas of unlike lenses": unlike,
    "353 of 360 degrees": lambda x: reduced(x[:, :1004]),
    "two lenses": two_lenses, "one lens": one_lens, "two eyes above each other": lambda x: eyes(x, WIDTH, WIDTH // 4, 0),
    "two eyes beside each other": lambda x: eyes(x, WIDTH // 2, WIDTH // 2, 1),
    "two eyes, near and far": seen_by_two,
    "VR180": lambda x: eyes(np.ascontiguousarray(x[:, WIDTH // 4:-(WIDTH // 4)]), WIDTH // 2, WIDTH // 2, 1),
    "views of 90 degrees": lambda x: photograph(x, 0),
    "views of 120 degrees": lambda x: projected(x, "flat:h_fov=120:v_fov=82:pitch=10"),
    "parts of 180x90 degrees": lambda x: reduced(x[WIDTH // 8:-(WIDTH // 8), WIDTH // 4:-(WIDTH // 4)]),
    "parts of 180x100 degrees on a cylinder": lambda x: projected(x, "cylindrical:h_fov=180:v_fov=100"),
    "cylinders": lambda x: projected(x, "cylindrical:h_fov=360:v_fov=115"),
    "Mercator": lambda x: projected(x, "mercator:h_fov=360:v_fov=132"),
    "parts of 360x120 degrees": lambda x: reduced(x[WIDTH // 12:-(WIDTH // 12)]),
    "little planets": lambda x: projected(x, "sg:h_fov=270:v_fov=200:pitch=-90"), "cubes": lambda x: projected(x, "c3x2"),
    "halves beside their mirror image": lambda x: np.concatenate([x[:, :WIDTH // 2], x[:, WIDTH // 2 - 1::-1]], axis=1)}


def verdict(picture: np.ndarray) -> str:
    """Return what is said of a picture, in a few words."""
    picture = np.ascontiguousarray(picture)
    padding = find_padding(picture)
    try:
        said = examine(picture, "it", padding and padding.covered)
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
    parser.add_argument("--half", type=int, choices=(0, 1), help="of the pictures, by their names; 0: those from which the signs "
                        "of a sphere were weighted (mmifn.data.poles)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every N-th picture only (default: %(default)s)")
    return parser


def chosen(folders: Sequence[Path], args: argparse.Namespace) -> list[Path]:
    """Return the pictures of some folders that are wanted; one scene is in one half, however often it is there."""
    paths = [path for _, path in Listing(tuple(folders))]
    return [path for path in paths if args.half in (None, crc32(path.stem.split(".")[0].encode()) % 2)][::args.every]


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    args = build_parser().parse_args(argv)
    whole = [reduced(read_image(path)) for path in chosen(args.panoramas, args)]
    for name, make in MADE.items():
        print(f"{name} ({len(whole)}):", dict(Counter(verdict(make(erp)) for erp in whole)), flush=True)
    if args.photographs:
        paths = chosen([args.photographs], args)
        said = Counter(verdict(cut(read_image(path, panorama=False))) for path in paths)
        print(f"photographs ({len(paths)}):", dict(said), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
