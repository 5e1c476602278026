"""Reading bits: numbers up to the last bit, codes of H.264's Table 9-2 and 9-3, and an end that is said."""

import pytest

from mmifn.simulate.bitstream import _Bits, nal_units


def bits(text):
    return _Bits(int(text, 2).to_bytes(len(text) // 8, "big"))


def test_numbers_are_read_to_the_last_bit():
    source = bits("10110000" "11111111")
    assert [source.u(3), source.u(1), source.u(4), source.u(8)] == [5, 1, 0, 255]
    with pytest.raises(ValueError, match="ends inside a header"):
        source.u(1)


@pytest.mark.parametrize(("code", "number", "signed"), [("10000000", 0, 0), ("01000000", 1, 1), ("01100000", 2, -1),
                                                        ("00100000", 3, 2), ("00111000", 6, -3), ("00010000", 7, 4)])
def test_exp_golomb_codes(code, number, signed):
    assert (bits(code).ue(), bits(code).se()) == (number, signed)


def test_bytes_that_guard_start_codes_are_left_out():
    assert [_Bits(b"\x00\x00\x03\x01").u(24)] == [1]


def test_units_are_split_at_start_codes_of_three_and_four_bytes():
    assert nal_units(b"\x00\x00\x00\x01ab\x00\x00\x01cd") == [b"ab", b"cd"]
