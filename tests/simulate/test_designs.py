"""The designs of OIQA and CVIQ: which settings, what each does to the pixels, and how files are called."""

import numpy as np
import pytest

from mmifn.simulate import codecs
from mmifn.simulate.designs import DESIGNS, Distortion, image_name
from mmifn.simulate.human_anchor import HUMAN_MOS

KINDS = {(like, kind.type): kind for like, kinds in DESIGNS.items() for kind in kinds}
PIXELS = np.random.default_rng(3).integers(60, 190, (64, 128, 3), dtype=np.uint8)


def test_settings_are_those_of_the_databases():
    """CVIQ: JPEG qualities 50, 45 … 0 and QPs 30, 32 … 50; OIQA: five levels, found by `benchmarks/labels.py levels`."""
    assert {key: kind.values for key, kind in KINDS.items()} == {
        ("OIQA", "JPEG"): (43, 30, 18, 11, 7), ("OIQA", "JP2K"): (23, 57, 120, 260, 1000),
        ("OIQA", "GN"): (6, 8, 12.5, 14.6, 18.5), ("OIQA", "GB"): (0.95, 1.4, 2.1, 2.85, 5.1),
        ("CVIQ", "JPEG"): (50, 45, 40, 35, 30, 25, 20, 15, 10, 5, 0),
        ("CVIQ", "AVC"): (30, 32, 34, 36, 38, 40, 42, 44, 46, 48, 50),
        ("CVIQ", "HEVC"): (30, 32, 34, 36, 38, 40, 42, 44, 46, 48, 50)}
    assert {key: len(kind.values) for key, kind in KINDS.items()} == {key: len(means) for key, means in HUMAN_MOS.items()}


@pytest.mark.parametrize("key", KINDS, ids=" ".join)
def test_a_later_level_differs_more(key):
    kind = KINDS[key]
    worse = [np.abs(kind.apply(PIXELS, value, np.random.default_rng(0)).pixels.astype(float) - PIXELS).mean()
             for value in (kind.values[0], kind.values[-1])]
    assert 0 < worse[0] < worse[1]


def test_jpeg_keeps_the_file_and_the_rest_its_pixels():
    made = KINDS["OIQA", "JPEG"].apply(PIXELS, 43, np.random.default_rng(0))
    assert made.data == codecs.encode_jpeg(PIXELS, 43) and made.suffix == ".jpg"
    assert (made.pixels == codecs.decode(made.data)).all()
    for key, kind in KINDS.items():
        if key[1] != "JPEG":
            made = kind.apply(PIXELS, kind.values[0], np.random.default_rng(0))
            assert made.data is None and made.suffix == kind.suffix == ".png"


def test_noise_has_its_sigma():
    made = KINDS["OIQA", "GN"].apply(np.full((256, 512, 3), 128, np.uint8), 12.5, np.random.default_rng(0))
    assert made.pixels.std() == pytest.approx(12.5, abs=0.1)


@pytest.mark.parametrize(("levels", "name"), [(9, "a_X_3.png"), (10, "a_X_03.png"), (11, "a_X_03.png")])
def test_levels_have_as_many_digits_as_the_last(levels, name):
    assert image_name("a", Distortion("X", "", tuple(range(levels)), None), 3) == name
