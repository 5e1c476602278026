"""Colours: what counts as black and white, and which profiles are taken for pictures of which kind."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from mmifn.data.colour import is_grey, to_srgb

SRGB, LAB = (ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes() for name in ("sRGB", "LAB"))


def picture(mode, profile):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)).convert(mode)
    image.info["icc_profile"] = profile
    return image


@pytest.mark.parametrize(("mode", "profile"), [("RGB", SRGB), ("RGB", LAB), ("RGB", b"none"), ("L", SRGB), ("RGB", b""),
                                               ("1", SRGB)])  # fmt: skip
def test_a_profile_that_changes_nothing_or_is_of_another_space_is_left_out(mode, profile):
    image = picture(mode, profile)
    assert to_srgb(image) is image


def test_lab_becomes_srgb():
    """CIE L* 50 with a* = b* = 0 is a grey of 18.4 % reflectance: 119 of sRGB."""
    image = Image.new("LAB", (4, 2), (128, 128, 128))
    image.info["icc_profile"] = LAB
    out = to_srgb(image)
    assert out.mode == "RGB" and np.abs(np.asarray(out).astype(int) - 119).max() <= 1
    assert ImageCms.ImageCmsProfile(io.BytesIO(LAB)).profile.xcolor_space.strip() == "Lab"


@pytest.mark.parametrize(("apart", "grey"), [(0, True), (2, True), (3, False)])
def test_two_levels_between_channels_are_what_compression_leaves(apart, grey):
    pixels = np.full((32, 64, 3), 100, np.uint8)
    pixels[..., 1] += apart
    assert is_grey(pixels) == grey
    single = np.full((32, 64, 3), 100, np.uint8)
    single[5, 5] = (255, 0, 0)  # not looked at: every fourth row and column is
    assert is_grey(single)
