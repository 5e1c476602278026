"""What C libraries print is told in our message, and what others print meanwhile is not lost."""

import os

import numpy as np
import pytest
from PIL import Image

from mmifn.core.errors import UserError
from mmifn.core.native_messages import held_back
from mmifn.data.images import read_image


def test_lines_of_libraries_are_held_back_and_others_pass(capfd):
    lines = []
    with held_back(lines):
        os.write(2, b"TIFFReadDirectory: Warning, nonsense.\n\rscoring:  40%|####      | 2/5\nstopping ...; again\n")
        os.write(2, b"LZWDecode: Not enough data.\nLZWDecode: Not enough data.\n[ WARN:0@1.2] cv2 says\n")
    assert lines == ["TIFFReadDirectory: Warning, nonsense.", "LZWDecode: Not enough data.", "[ WARN:0@1.2] cv2 says"]
    assert capfd.readouterr().err == "\rscoring:  40%|####      | 2/5\nstopping ...; again\n"
    os.write(2, b"after.\n")
    assert capfd.readouterr().err == "after.\n"


def test_file_descriptor_2_is_given_back_after_an_error(capfd):
    with pytest.raises(RuntimeError), held_back([]):
        raise RuntimeError
    os.write(2, b"here\n")
    assert capfd.readouterr().err == "here\n"


def test_a_damaged_tiff_tells_libtiffs_reason_in_one_message(tmp_path, capfd):
    pixels = np.random.default_rng(0).integers(0, 255, (64, 128, 3), np.uint8)
    path = tmp_path / "a.tif"
    Image.fromarray(pixels).save(path, compression="tiff_lzw")
    assert np.array_equal(read_image(path), pixels)
    content = bytearray(path.read_bytes())
    content[60:4000] = b"\xff" * 3940  # of the compressed pixels
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.tif is truncated or damaged \(decoder error -2; [^;]+\.\); replace") as caught:
        read_image(path)
    assert "\n" not in str(caught.value) and "tempfile" not in str(caught.value) and capfd.readouterr().err == ""
