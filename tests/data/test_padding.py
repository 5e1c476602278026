"""What is empty is filled by the mirror image of what is beside it, whatever the size of the mask."""

import numpy as np
import pytest

from mmifn.data.padding import _in_words, fill


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_rows_are_mirrored_at_the_edge(scale):
    """Grey is the number of the row. The mirror is the middle of the mask's last covered pixel, half of it above the edge at 96:
    row y becomes 2 (95.5 - scale / 2) - y.
    """
    picture = np.repeat(np.arange(128, dtype=np.uint8)[:, None, None], 256, axis=1).repeat(3, axis=2)
    covered = np.ones((128 // scale, 256 // scale), bool)
    covered[96 // scale:] = False
    filled = fill(picture, covered)
    np.testing.assert_array_equal(filled[:96], picture[:96])
    inside = slice(96 + scale, 128 - scale)  # at both ends a mask's pixel is interpolated
    assert np.abs(filled[inside].astype(int) - (191 - scale - picture[inside].astype(int))).max() == 0
    assert filled.std(axis=(1, 2)).max() == 0  # nothing changes along the rows


@pytest.mark.parametrize(("grey", "word"), [(31, "black"), (32, "one-coloured"), (223, "one-coloured"), (224, "white")])
def test_a_cap_is_named_by_its_colour(grey, word):
    picture = np.full((8, 16, 3), grey, dtype=np.uint8)
    assert _in_words(picture, slice(2, 8), np.ones(16, dtype=bool)) == [f"a {word} cap above"]
