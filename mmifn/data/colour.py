"""Colours as the models know them: sRGB. Pictures in other colour spaces are converted by their ICC profile."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab"}  # mode -> the colour space that its profile must have
_GREY = 2.0  # levels by which the channels of a black-and-white picture differ at most, on average


def to_srgb(image: Image.Image) -> Image.Image:
    """Return a decoded picture in sRGB (mode RGB) where it carries a profile of another space; as it is otherwise.

    Relative colorimetric with black point compensation, as browsers do it. A profile that is damaged, or made for another
    kind of pixels, counts as none.
    """
    content = image.info.get("icc_profile")
    if not content or image.mode not in _SPACES:
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        if profile.profile.xcolor_space.strip() != _SPACES[image.mode] or _is_srgb(profile):
            return image
        return ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"),
                                         ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB",
                                         flags=ImageCms.Flags.BLACKPOINTCOMPENSATION) or image
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    """Say whether a profile changes no colour by more than rounding, whatever it calls itself."""
    if profile.profile.xcolor_space.strip() != "RGB":
        return False
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
    out = ImageCms.profileToProfile(Image.fromarray(cube), profile, ImageCms.createProfile("sRGB"),
                                    ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB",
                                    flags=ImageCms.Flags.BLACKPOINTCOMPENSATION)
    return int(np.abs(np.asarray(out).astype(int) - cube).max()) <= 2


def is_grey(pixels: np.ndarray) -> bool:
    """Say whether a picture (H, W, 3) uint8 has no colour at all, apart from what a compression leaves."""
    import cv2  # which handing out the work to others must not load

    red, green, blue = cv2.split(np.ascontiguousarray(pixels[::4, ::4]))
    spread = cv2.max(cv2.max(red, green), blue) - cv2.min(cv2.min(red, green), blue)
    return float(spread.mean()) <= _GREY
