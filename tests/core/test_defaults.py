"""Numbers that are stated elsewhere: in the model card, in --help, by the databases."""

import pytest

from mmifn.core.defaults import HEADSET_PPD, MAX_MEGAPIXELS, PROTOCOLS, SAMPLER_NAMES
from mmifn.sphere import SAMPLERS


def test_a_panorama_of_4096_px_shows_one_pixel_each():
    assert HEADSET_PPD * 360 == 4096 and pytest.approx(11.38, abs=0.005) == HEADSET_PPD


def test_limits_and_names():
    assert MAX_MEGAPIXELS == 300 and MAX_MEGAPIXELS * 1e6 > 13320 * 6660  # the largest panoramas of OIQA are read
    assert PROTOCOLS == ("honest", "published") and list(SAMPLERS) == list(SAMPLER_NAMES)
