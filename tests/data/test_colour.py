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


def gamma_profile(gamma):
    """sRGB's profile with another exponent in its tone curves (ICC parametricCurveType: numbers are s15Fixed16)."""
    parts = SRGB.split(b"para\0\0\0\0\0\3\0\0")
    assert len(parts) in (2, 4)  # one curve for all channels, or one each
    return parts[0] + b"".join(b"para\0\0\0\0\0\3\0\0" + round(gamma * 65536).to_bytes(4, "big") + part[4:] for part in parts[1:])


@pytest.mark.parametrize(("gamma", "apart", "left_out"), [(2.4, 0, True), (2.44, 2, True), (2.47, 3, False)])
def test_two_levels_are_what_other_makers_srgb_may_differ_by(gamma, apart, left_out):
    """By hand: light of a value v by the other exponent, and back to a value by sRGB's own."""
    v = np.arange(0, 256) / 255
    light = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** gamma)
    back = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    steps = np.linspace(0, 255, 9).round().astype(int)
    assert np.abs(np.rint(back * 255) - np.arange(256))[steps].max() == apart
    image = picture("RGB", gamma_profile(gamma))
    assert (to_srgb(image) is image) == left_out
