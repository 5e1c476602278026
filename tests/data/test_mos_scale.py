"""The two scales of opinion scores: 10 is the largest score of the smaller one."""

import numpy as np
import pytest

from mmifn.data.mos_scale import SCALES, scale_of


@pytest.mark.parametrize(("largest", "scale"), [(5.0, "1-10"), (9.99, "1-10"), (10.0, "1-10"), (10.001, "0-100"), (12.0, "0-100"),
                                                (100.0, "0-100")])  # fmt: skip
def test_the_scale_is_told_from_the_largest_score(largest, scale):
    assert scale_of(np.array([1.0, largest, 2.0])) == scale


def test_each_scale_has_its_ends():
    assert SCALES == {"0-100": (0.0, 100.0), "1-10": (1.0, 10.0)}
