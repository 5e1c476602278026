"""Score an ordinary photograph, or one view of a panorama, by the encoder that people taught and by photographs like it.

There is no sphere here and no second view, so nothing is fused: the score is what people at screens would say of the picture.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mmifn.core.defaults import HEADSET_PPD, MAX_MEGAPIXELS
from mmifn.core.device import resolve_device
from mmifn.core.errors import UserError
from mmifn.core.files import sha256_json
from mmifn.core.workers import one_thread
from mmifn.data.gpano import read_gpano
from mmifn.data.images import ASPECT_TOLERANCE, check_header, open_picture, read_image
from mmifn.data.is_panorama import sphere_in
from mmifn.encoders.people import open_people
from mmifn.encoders.photographs import open_photographs
from mmifn.scoring.prediction import in_words

LEAST_PX = 224  # of the shorter side
WHOLE_PX = 448  # side of the square that a photograph has the area of when it is looked at whole


@dataclass(frozen=True)
class ViewPrediction:
    """What is said of one picture that is no panorama.

    score: 0..100, higher is better, on the scale of LIVE In the Wild; quality: the same in one word; seen_px: height and
    width at which it was looked at; fov_deg: the angle across that was told, or None; model: see identity_of.
    """

    score: float
    quality: str
    seen_px: tuple[int, int]
    fov_deg: float | None
    model: str

    def to_row(self) -> dict[str, Any]:
        """Return plain values, as the lines of JSON have them."""
        return {**asdict(self), "score": round(self.score, 4), "seen_px": list(self.seen_px)}


def seen_size(height: int, width: int, fov_deg: float | None) -> tuple[int, int]:
    """Return (height, width) at which a picture is looked at, its shape kept.

    Whole, with the area of 448 x 448 px; where its angle across is told, no finer than a headset shows it, no less than
    224 px, and not enlarged.
    """
    scale = WHOLE_PX / math.sqrt(height * width)
    if fov_deg is not None:
        ppd = width / (2 * math.tan(math.radians(fov_deg) / 2)) * math.pi / 180  # at its middle
        scale = min(scale, max(min(1.0, HEADSET_PPD / ppd), LEAST_PX / min(height, width)))
    return max(round(height * scale), 1), max(round(width * scale), 1)


def check_perspective(pixels: np.ndarray, name: str) -> None:
    """Raise UserError for a picture (H, W, 3) that is too small, or that shows a whole sphere."""
    height, width = pixels.shape[:2]
    if min(height, width) < LEAST_PX:
        raise UserError(f"{name} is {width}x{height}; a perspective picture needs {LEAST_PX} px on its shorter side. "
                        "Give the picture in its original size; an enlarged one would be scored as a blurred one.")
    if abs(width - 2 * height) <= ASPECT_TOLERANCE * 2 * height and (sphere := sphere_in(pixels)):
        raise UserError(f"{name} is {width}x{height}, but no perspective picture: {sphere}.")


def check_told(path: Path) -> None:
    """Raise UserError for a file that says of itself (GPano) that it is part of a panorama."""
    with open_picture(path) as image:
        told = read_gpano(image)
    if told.crop and told.projection in ("", "equirectangular"):
        raise UserError(f"{path} is no perspective picture: it says of itself (GPano) that it is {told.crop.width * 360:.0f} x "
                        f"{told.crop.height * 180:.0f} degrees of a panorama. Score it without --perspective (mmifn.score in "
                        "Python); if its metadata are wrong, save it without them.")


def score_view(image: str | Path | np.ndarray, *, fov_deg: float | None = None, device: str = "auto") -> ViewPrediction:
    """Score a photograph or a view: a file, or its pixels (H, W, 3) uint8.

    fov_deg: the angle that the picture spans from left to right, where known, such as 90 for a view of a panorama. Where it
    is told, the encoder taught by people judges alone: it knows several sizes, and the other judge only whole photographs.
    Raises UserError where it is unreadable, under 224 px, shows a whole sphere or says that it is part of one, and where
    fov_deg is not between 0 and 180.
    """
    if fov_deg is not None and not 0 < fov_deg < 180:
        raise UserError(f"fov_deg {fov_deg:g}: a perspective picture spans more than 0 and less than 180 degrees")
    name = "the image" if isinstance(image, np.ndarray) else str(image)
    pixels = _checked(image) if isinstance(image, np.ndarray) else _read(Path(image))
    check_perspective(pixels, name)
    place = resolve_device(device).type
    people, whole = _judges(fov_deg, place)
    size = seen_size(pixels.shape[0], pixels.shape[1], fov_deg)
    with one_thread():
        seen = _resized(pixels, size)
        value = float(people(torch.cat([seen, seen.flip(3)])).mean())  # and its mirror image: the same picture to people
        if whole:
            value = (value + float(torch.stack([whole(seen), whole(seen.flip(3))]).mean())) / 2
    return ViewPrediction(value, in_words(value), size, fov_deg, _identity(people, whole, fov_deg))


def identity_of(fov_deg: float | None, device: str = "auto") -> str:
    """Identify what scores pictures of that angle: the weights, and the angle where it is told."""
    return _identity(*_judges(fov_deg, resolve_device(device).type), fov_deg)


def _identity(people: Any, whole: Any, fov_deg: float | None) -> str:
    return sha256_json([people.digest, whole.digest if whole else fov_deg])[:16]


def _judges(fov_deg: float | None, place: str) -> tuple[Any, Any]:
    return open_people(place), open_photographs(place) if fov_deg is None else None


def _read(path: Path) -> np.ndarray:
    check_told(path)
    return read_image(path, panorama=False)


def _checked(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise UserError(f"the pixels of a picture are (H, W, 3) uint8, got {pixels.shape} {pixels.dtype}")
    check_header((pixels.shape[1], pixels.shape[0]), Path("the image"), MAX_MEGAPIXELS, False)
    return pixels


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> Tensor:
    planes = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255
    return functional.interpolate(planes, size, mode="bicubic", antialias=True).clamp(0, 1)
