"""A prediction and its row: the fields as users' files have them, both ways, rounded once."""

from dataclasses import replace

import pytest

import mmifn
from mmifn.core.files import Stamp
from mmifn.scoring.prediction import PANORAMAS, REQUIRED, Prediction, View, columns, in_words

VIEWS = (View(-180.0, 10.812345, 40.00004), View(0.0, 52.622632, 82.5), View(72.0, -10.8, 12.34567))
FULL = Prediction(61.234567, "good", (50.123449, 72.5), 0.9, VIEWS, 40.0, 'Soft;\n"blurred"', ("no, not\nthis",), "0123",
                  64.12345, ("noise", "clean"), 4096, 0.876543, 213.00001)  # fmt: skip
BARE = Prediction(10.0, "bad", None, None, VIEWS, 40.0, "", (), "0123")


def test_a_row_has_the_fields_that_files_have():
    row = FULL.to_row("a.jpg", "ff", {"ws_psnr": None, "ws_ssim": 0.987654}, Stamp(4711, 1_700_000_000_000_001))
    assert list(row) == ["image", "score", "quality", "low", "high", "level", "ceiling", "judged_px", "covered",
                         "heading_deg", "worst_lon_deg", "worst_lat_deg",
                         "worst_score", "worst_words", "ws_psnr", "ws_ssim", "description", "warnings", "fov_deg",
                         "viewports", "image_sha256", "model", "image_bytes", "image_modified_us"]
    assert row == {"image": "a.jpg", "score": 61.2346, "quality": "good", "low": 50.1234, "high": 72.5, "level": 0.9,
                   "ceiling": 64.1235, "judged_px": 4096, "covered": 0.8765, "heading_deg": 213.0,
                   "worst_lon_deg": 72.0, "worst_lat_deg": -10.8, "worst_score": 12.3457,
                   "worst_words": ["noise", "clean"], "ws_psnr": None,
                   "ws_ssim": 0.9877,
                   "description": 'Soft;\n"blurred"', "warnings": ["no, not\nthis"], "fov_deg": 40.0,
                   "viewports": [[-180.0, 10.8123, 40.0], [0.0, 52.6226, 82.5], [72.0, -10.8, 12.3457]],
                   "image_sha256": "ff", "model": "0123", "image_bytes": 4711,
                   "image_modified_us": 1_700_000_000_000_001}  # fmt: skip
    assert columns(["ws_psnr", "ws_ssim"]) == list(row) and columns() == list(FULL.to_row("a.jpg", "ff", {}))


@pytest.mark.parametrize("prediction", [FULL, BARE], ids=["full", "bare"])
def test_a_row_gives_its_prediction_again(prediction):
    row = prediction.to_row("a.jpg", "ff", {})
    assert Prediction.from_row(row) == prediction.rounded()
    assert prediction.rounded().to_row("a.jpg", "ff", {}) == row
    needed = {field: row[field] for field in REQUIRED}  # files of earlier versions have neither ceiling nor words of views
    assert Prediction.from_row(needed) == replace(prediction.rounded(), ceiling=None, worst_words=(), judged_px=None, covered=1.0,
                                                  heading_deg=None)
    assert {field for field in REQUIRED if isinstance(row[field], str)} == set(PANORAMAS.texts)


def test_rounding_leaves_the_rest_alone():
    assert FULL.rounded() != FULL and FULL.rounded().description == FULL.description
    assert FULL.rounded().worst() == FULL.worst() == [2, 0, 1]


def test_words_are_equal_fifths():
    assert [in_words(score) for score in (0, 19.9, 20, 59.9, 60, 100)] == ["bad", "bad", "poor", "fair", "good", "excellent"]
    assert mmifn.Prediction is Prediction
