"""What a picture of aspect 2:1 is where it is no equirectangular panorama: named, with the way out.

All is measured on the picture reduced to 512 columns. The limits lie beyond what 84 panoramas reach, each of them also
blurred, noisy, dark, compressed and reduced (benchmarks/kinds.py), and before what made-up pictures of each kind reach.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from mmifn.data.seam import gaps

_FLAT = 1.0  # grey levels
_DARK = 16.0  # grey levels: black, as compression leaves it
_ROUND = 0.6  # by how much more is dark outside a round picture
_TEXTURE = 2.0  # grey levels of standard deviation from which a block can be found again
_BLOCK_PX, _ALIKE, _BLOCKS = 16, 0.8, 24  # blocks compared, correlation of a match, and how many must have texture
_MIRRORED, _ABOVE, _BESIDE = 0.85, 0.7, 0.85  # shares of blocks found again in a mirror image, in an eye below, and beside
_SMOOTHED_PX = 1.0  # blur of eyes beside each other: they lie half a pixel and more apart, and finest detail is lost by that
_CLOSED = 0.85  # gap of the seam of a whole panorama, not of half a sphere
_SEVERAL_TIMES = 0.6  # share of blocks that also match a quarter around: a pattern that repeats, not a second picture


@dataclass(frozen=True)
class Kind:
    """A kind of picture: what it is, as the end of "it is …", and what to do about it."""

    name: str
    text: str
    way_out: str


def _ffmpeg(filters: str) -> str:
    return f"or convert it: ffmpeg -i IN -vf {filters} OUT"


_ORDINARY = "score it as an ordinary photograph: --perspective, mmifn.score_view"
DUAL_FISHEYE = Kind("dual fisheye", "two round pictures on black, as cameras with two lenses save them (dual fisheye)",
                    "--projection dual-fisheye, " + _ffmpeg("v360=dfisheye:e:ih_fov=190:iv_fov=190"))
FISHEYE = Kind("fisheye", "one round picture on black, as a lens takes it that sees half of a sphere (fisheye)",
               _ffmpeg("crop=ih:ih,v360=fisheye:e:ih_fov=180:iv_fov=180").removeprefix("or "))
STEREO_TB = Kind("stereo, one above the other", "two eyes one above the other (stereoscopic), squeezed into 2:1",
                 "--projection stereo-tb scores each eye, " + _ffmpeg("crop=iw:ih/2:0:0,scale=iw:iw/2"))
STEREO_LR = Kind("stereo, side by side", "two eyes side by side (stereoscopic), squeezed into 2:1",
                 "--projection stereo-lr scores each eye, " + _ffmpeg("crop=iw/2:ih:0:0,scale=2*ih:ih"))
VR180 = Kind("VR180", "two eyes side by side that each see half of a sphere (VR180)",
             "--projection vr180 scores each eye, " + _ffmpeg("v360=hequirect:e:in_stereo=sbs"))
MIRRORED = Kind("mirrored", "a picture beside its own mirror image", _ORDINARY)
PAGE = Kind("page", "a page of text, a drawing or a screenshot on an even ground", "give a photograph of a whole sphere")
GRADIENT = Kind("gradient", "an even gradient without any content", "give a photograph of a whole sphere")
ONE_COLOUR = Kind("one colour", "all but one colour, with nothing to judge", "give a photograph of a whole sphere")
BACKDROP = Kind("backdrop", "an object before an even backdrop", _ORDINARY)
PHOTOGRAPH = Kind("photograph", "an ordinary photograph or another projection of a sphere: its upper and lower edges are no "
                  "poles, or its left and right edges do not meet",
                  _ORDINARY + ", or " + _ffmpeg("v360=INPUT:e").removeprefix("or "))
OF_SPHERES = (DUAL_FISHEYE, STEREO_TB, STEREO_LR, VR180)  # what they show is a sphere all the same


def kind_of(picture: np.ndarray, small: np.ndarray) -> Kind | None:
    """Return what a picture (H, W, 3) uint8 of aspect 2:1 is, or None where it may be a panorama or an ordinary photograph.

    small: the same, reduced (data.seam).
    """
    grey = small.mean(axis=2)
    if float(small.std(axis=(0, 1)).max()) < _FLAT:
        return ONE_COLOUR
    tests: list[tuple[Kind, Callable[[], bool]]] = [
        (DUAL_FISHEYE, lambda: circles(grey) > _ROUND), (FISHEYE, lambda: circle(grey) > _ROUND),
        (GRADIENT, lambda: unevenness(grey) < _FLAT), (PAGE, lambda: _is_page(picture)),
        (BACKDROP, lambda: alike_columns(small) > 0.5)]
    return next((kind for kind, holds in tests if holds()), None) or _repeated(grey)


def circles(grey: np.ndarray) -> float:
    """Return the dark share outside two circles that fill the halves of a picture (h, 2h), minus that inside."""
    halves = np.concatenate(np.split(grey, 2, axis=1))
    return _darker_outside(halves, np.tile(_disc(len(grey)), (2, 1)))


def circle(grey: np.ndarray) -> float:
    """Return the same of one circle in the middle of a picture (h, 2h) and the square around it; 0 where the rest is not dark."""
    quarter = len(grey) // 2
    beside = np.concatenate([grey[:, :quarter], grey[:, -quarter:]], axis=1)
    return _darker_outside(grey[:, quarter:-quarter], _disc(len(grey))) if (beside < _DARK).mean() > _ROUND else 0.0


def _disc(size: int) -> np.ndarray:
    y, x = np.mgrid[:size, :size] + (1 - size) / 2
    return np.asarray(np.hypot(x, y) < size / 2)


def _darker_outside(grey: np.ndarray, inside: np.ndarray) -> float:
    dark = grey < _DARK
    return float(dark[~inside].mean() - dark[inside].mean())


def unevenness(grey: np.ndarray) -> float:
    """Return how far a picture is from a smooth gradient: what is left without row and column means, or a polynomial."""
    separable = grey - grey.mean(axis=0) - grey.mean(axis=1, keepdims=True) + grey.mean()
    y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in grey[::4, ::4].shape), indexing="ij")
    terms = np.stack([x.ravel() ** i * y.ravel() ** j for i in range(5) for j in range(5 - i)], axis=1)
    values = grey[::4, ::4].ravel()
    rest = values - terms @ np.linalg.lstsq(terms, values, rcond=None)[0]
    return float(min(separable.std(), rest.std()))


def _is_page(picture: np.ndarray) -> bool:
    """Tell whether one colour is the ground of nearly all rows and columns."""
    some = picture[::max(1, len(picture) // 256), ::max(1, len(picture) // 256)].astype(np.int16)
    codes = (some >> 2) @ np.array([4096, 64, 1])
    commonest = np.bincount(codes.ravel()).argmax()
    ground = np.abs(some - (np.array([commonest >> 12, commonest >> 6 & 63, commonest & 63]) * 4 + 2)).max(axis=2) <= 4
    return all((ground.mean(axis=axis) > 0.3).mean() > 0.8 for axis in (0, 1))


def alike_columns(small: np.ndarray) -> float:
    """Return the share of columns that are nearly the same as the commonest one."""
    return float((np.abs(small - np.median(small, axis=1, keepdims=True)).mean(axis=(0, 2)) < 2.5).mean())


def _repeated(grey: np.ndarray) -> Kind | None:
    """Return the kind of a picture whose halves are alike: two eyes, or mirror images."""
    coarse = cv2.GaussianBlur(grey, (0, 0), 4)
    fine = grey - coarse
    upper, lower = np.split(fine, 2, axis=0)
    left, right = np.split(fine, 2, axis=1)
    if found_again(left, right[:, ::-1], 2, _MIRRORED) > _MIRRORED or found_again(upper, lower[::-1], 2, _MIRRORED) > _MIRRORED:
        return MIRRORED
    if found_again(upper, lower, 12, _ABOVE) > _ABOVE:
        return STEREO_TB
    left, right = np.split(cv2.GaussianBlur(grey, (0, 0), _SMOOTHED_PX) - coarse, 2, axis=1)
    if (found_again(left, right, 12, _BESIDE) > _BESIDE
            and found_again(left, np.roll(right, right.shape[1] // 4, axis=1), 12) < _SEVERAL_TIMES):
        half = cv2.resize(grey[:, :grey.shape[1] // 2], grey.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return VR180 if gaps(np.repeat(half[..., None], 3, axis=2))[0] > _CLOSED else STEREO_LR
    return None


def found_again(picture: np.ndarray, other: np.ndarray, reach: int, wanted: float = 0.0) -> float:
    """Return the share of the blocks with texture of a picture (h, w) that are in another nearly at the same place.

    reach: how far to the side they may have moved, in pixels. 0 where too few blocks have any texture, and where the share
    can no longer be more than is wanted: of whole panoramas that is known after a part of the blocks.
    """
    size = _BLOCK_PX
    wide = cv2.copyMakeBorder(np.ascontiguousarray(other), 2, 2, reach, reach, cv2.BORDER_REPLICATE)
    spread = picture.reshape(picture.shape[0] // size, size, picture.shape[1] // size, size).std(axis=(1, 3))
    places = np.argwhere(spread >= _TEXTURE) * size
    if len(places) < _BLOCKS:
        return 0.0
    matches, may_miss = 0, (1 - wanted) * len(places)
    for number, (y, x) in enumerate(places):
        if number - matches > may_miss:
            return 0.0
        block, near = np.ascontiguousarray(picture[y:y + size, x:x + size]), wide[y:y + size + 4, x:x + size + 2 * reach]
        matches += cv2.matchTemplate(near, block, cv2.TM_CCOEFF_NORMED).max() > _ALIKE
    return matches / len(places)
