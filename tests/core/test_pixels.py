"""Floats as 8 bits, and planes as pictures."""

import numpy as np
import pytest
import torch

from mmifn.core.pixels import LUMA, to_bytes, to_pixels


def test_values_are_rounded_and_what_lies_beyond_is_cut_off():
    values = torch.tensor([-0.1, 0.0, 0.49 / 255, 0.51 / 255, 0.5, 1.0, 1.2])
    assert to_bytes(values).tolist() == [0, 0, 0, 1, 128, 255, 255] and to_bytes(values).dtype == torch.uint8


def test_planes_become_pictures():
    planes = torch.arange(2 * 3 * 4 * 5).view(2, 3, 4, 5) / 255
    pictures = to_pixels(planes)
    assert pictures.shape == (2, 4, 5, 3) and pictures.flags.c_contiguous
    assert pictures[1, 2, 3].tolist() == [60 + 20 * channel + 13 for channel in range(3)]
    assert np.array_equal(to_pixels(planes[0]), pictures[0])


def test_luma_of_white_is_white():
    assert sum(LUMA) == pytest.approx(1)
