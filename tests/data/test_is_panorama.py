"""Pictures that are no panoramas are doubted, panoramas are not."""

import cv2
import numpy as np
import pytest
from stand_in import panorama

from mmifn.data.is_panorama import doubts, seam_gap


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("width", [256, 512, 2048])
def test_a_panorama_closes(seed, width):
    erp = panorama(width, seed)
    assert abs(seam_gap(erp)) < 0.15 and doubts(erp) == []


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("columns", [360, 450])
def test_a_part_of_one_does_not(seed, columns):
    """Five eighths or seven eighths of the way around, cut to 2:1."""
    crop = panorama(512, seed)[: columns // 2, :columns]
    assert seam_gap(crop) > 0.5
    (warning,) = doubts(crop)
    assert "left and right edges do not meet" in warning and "may not mean anything" in warning


def test_a_yaw_changes_nothing_that_matters():
    erp = panorama(1024)
    gaps = [seam_gap(np.roll(erp, shift, axis=1)) for shift in (0, 100, 512, 900)]
    assert max(gaps) < 0.25


def test_the_gap_by_hand():
    """A ramp around that jumps back at the seam."""
    ramp = np.broadcast_to(np.arange(512.0)[None, :, None] / 4, (256, 512, 3))
    erp = ramp.round().astype(np.uint8)  # 0..128: neighbours differ by 1/4, columns 170 apart by 42.5 (2/3) or 85.5 (1/3)
    # Seam: 127.75 - 0. Median of columns far apart: 42.5, the commoner. (127.75 - 0.25) / (42.5 - 0.25) = 3.0, where the
    # median neighbour differs by 0 after rounding: 128 / 42.5.
    assert seam_gap(erp) == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize("distort", [
    lambda x: cv2.GaussianBlur(x, (0, 0), 4),
    lambda x: (x + np.random.default_rng(0).normal(0, 25, x.shape)).clip(0, 255).astype(np.uint8),
    lambda x: cv2.imdecode(cv2.imencode(".jpg", x, [cv2.IMWRITE_JPEG_QUALITY, 5])[1], 1),
    lambda x: (x * 0.3).astype(np.uint8),
])  # fmt: skip
def test_distorted_panoramas_are_not_doubted(distort):
    assert doubts(distort(panorama(1024))) == []


def test_pictures_without_any_content():
    for erp in (np.full((256, 512, 3), 90, np.uint8), np.zeros((64, 128, 3), np.uint8)):
        (warning,) = doubts(erp)
        assert "all but one colour" in warning
    almost = np.full((256, 512, 3), 90, np.uint8) + np.random.default_rng(0).integers(0, 2, (256, 512, 3), dtype=np.uint8)
    assert "all but one colour" in doubts(almost)[0]


def test_columns_that_are_all_alike_close():
    sky = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, 512, 3))
    assert np.isnan(seam_gap(sky)) and doubts(sky) == []
