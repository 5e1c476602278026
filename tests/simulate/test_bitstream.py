"""Numbers up to the last bit, codes of H.264's Table 9-2 and 9-3, an end that is said, and headers written by hand."""

import pytest

from mmifn.simulate.bitstream import IntraHeader, _Bits, nal_units, read_intra_header


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


def ue(number):
    """Write an unsigned Exp-Golomb number as text of bits (H.264 9.1)."""
    return "0" * ((number + 1).bit_length() - 1) + f"{number + 1:b}"


def se(number):
    """Write a signed one (H.264 Table 9-3)."""
    return ue(2 * number - 1 if number > 0 else -2 * number)


def unit(header, *fields):
    """Write a NAL unit: start code, header, fields, the stop bit and zeros up to a whole byte."""
    text = "".join(fields) + "1"
    text += "0" * (-len(text) % 8)
    payload = int(text, 2).to_bytes(len(text) // 8, "big")
    assert b"\0\0" not in payload  # nothing that would need guarding
    return b"\0\0\0\1" + bytes(header) + payload


HIGH = f"{100:08b}" + "00000000" + f"{40:08b}"  # profile, constraint flags, level 4.0
YUV420, TYPE_2 = (ue(1),), (ue(2),)  # chroma format; picture order that no slice states
HIGH_444 = f"{244:08b}" + HIGH[8:]


def h264(*, start=HIGH, chroma=YUV420, order=TYPE_2, frames_only="1", order_present="0", redundant="0", slice_type=7,
         picture=(), order_in_slice=(), redundant_in_slice=(), slice_qp=4):
    """Write parameter sets (H.264 7.3.2.1.1, 7.3.2.2) and a slice header (7.3.3) of an IDR picture at QP 26 - 3 + slice_qp."""
    size = [ue(1), "0", ue(15), ue(7)]  # reference frames, gaps in frame_num, macroblocks across and down less one
    sequence = unit([0x67], start, ue(0), *chroma, ue(0), ue(0), "0", "0", ue(2), *order, *size, frames_only, "1", "0", "0")
    parameters = unit([0x68], ue(0), ue(0), "1", order_present, ue(0), ue(0), ue(0), "0", "00", se(-3), se(5), se(-2), "1", "0",
                      redundant)
    piece = unit([0x65], ue(0), ue(slice_type), ue(0), "010101", *picture, ue(6), *order_in_slice, *redundant_in_slice, "01",
                 se(slice_qp), ue(0), se(2), se(-2))
    return sequence + parameters + piece


@pytest.mark.parametrize(("changes", "wanted"), [
    ({}, IntraHeader(27, None, "4:2:0", True)),
    ({"slice_qp": -20}, IntraHeader(3, None, "4:2:0", True)),
    ({"slice_type": 2}, IntraHeader(27, None, "4:2:0", True)),
    ({"slice_type": 5}, IntraHeader(27, None, "4:2:0", False)),
    ({"chroma": (ue(2),)}, IntraHeader(27, None, "4:2:2", True)),
    ({"start": HIGH_444, "chroma": (ue(3), "0")}, IntraHeader(27, None, "4:4:4", True)),
    ({"frames_only": "0", "picture": ("0",)}, IntraHeader(27, None, "4:2:0", True)),  # both fields in one frame
    ({"frames_only": "0", "picture": ("1", "1")}, IntraHeader(27, None, "4:2:0", True)),  # the bottom field alone
    ({"order": (ue(0), ue(1)), "order_in_slice": ("10110",)}, IntraHeader(27, None, "4:2:0", True)),
    ({"order": (ue(0), ue(1)), "order_present": "1", "order_in_slice": ("10110", se(-7))}, IntraHeader(27, None, "4:2:0", True)),
    ({"order": (ue(0), ue(1)), "order_present": "1", "frames_only": "0", "picture": ("1", "0"), "order_in_slice": ("10110",)},
     IntraHeader(27, None, "4:2:0", True)),
    ({"redundant": "1", "redundant_in_slice": (ue(9),)}, IntraHeader(27, None, "4:2:0", True)),
])
def test_headers_of_h264_written_by_hand_are_read_back(changes, wanted):
    """Every branch of the syntax puts its own bits before the slice's QP, so one misread field moves the QP."""
    assert read_intra_header(h264(**changes), "h264") == wanted


@pytest.mark.parametrize(("changes", "reason"), [({"start": HIGH_444, "chroma": (ue(3), "1")}, "colour planes"),
                                                 ({"order": (ue(1),)}, "picture order type 1")])
def test_tools_of_h264_that_are_not_read_are_refused(changes, reason):
    with pytest.raises(ValueError, match=reason):
        read_intra_header(h264(**changes), "h264")


LAYER = "".join(f"{byte:08b}" for byte in (1, 96, 17, 5, 144, 9, 7, 3, 129, 66, 31, 120))  # 96 bits that are passed over


def hevc(*, kind=19, chroma=YUV420, window=("0",), lists=("0",), sao="1", output="0", extra="000", varies="0",
         first="1", slice_type=2, in_slice=(), sao_in_slice=("1", "0"), slice_qp=4):
    """Write parameter sets (H.265 7.3.2.2.1, 7.3.2.3.1) and a slice header (7.3.6.1) of a picture at QP 26 - 3 + slice_qp."""
    buffer, blocks = [ue(4), ue(2), ue(0)], [ue(0), ue(3), ue(0), ue(3), ue(1), ue(2)]
    sequence = unit([33 << 1, 1], "0101", "000", "1", LAYER, ue(2), *chroma, ue(256), ue(128), *window, ue(0), ue(0), ue(4),
                    "1", *buffer, *blocks, *lists, "1", sao, "1")
    parameters = unit([34 << 1, 1], ue(1), ue(2), "1", output, extra, "1", "0", ue(0), ue(0), se(-3), "1", "0", varies, "1")
    piece = unit([kind << 1, 1], first, "0", ue(1), "1" * int(extra, 2), ue(slice_type), *in_slice, *sao_in_slice,
                 se(slice_qp), "1", "1")
    return sequence + parameters + piece


@pytest.mark.parametrize(("changes", "wanted"), [
    ({}, IntraHeader(27, False, "4:2:0", True)),
    ({"kind": 20}, IntraHeader(27, False, "4:2:0", True)),
    ({"slice_qp": -20}, IntraHeader(3, False, "4:2:0", True)),
    ({"slice_type": 1}, IntraHeader(27, False, "4:2:0", False)),
    ({"varies": "1"}, IntraHeader(27, True, "4:2:0", True)),
    ({"chroma": (ue(0),), "sao_in_slice": ("1",)}, IntraHeader(27, False, "4:0:0", True)),
    ({"chroma": (ue(3), "0")}, IntraHeader(27, False, "4:4:4", True)),
    ({"window": ("1", ue(0), ue(2), ue(1), ue(4))}, IntraHeader(27, False, "4:2:0", True)),
    ({"lists": ("1", "0")}, IntraHeader(27, False, "4:2:0", True)),
    ({"sao": "0", "sao_in_slice": ()}, IntraHeader(27, False, "4:2:0", True)),
    ({"output": "1", "in_slice": ("0",)}, IntraHeader(27, False, "4:2:0", True)),
    ({"extra": "010"}, IntraHeader(27, False, "4:2:0", True)),
])
def test_headers_of_hevc_written_by_hand_are_read_back(changes, wanted):
    assert read_intra_header(hevc(**changes), "hevc") == wanted


@pytest.mark.parametrize(("changes", "reason"), [
    ({"chroma": (ue(3), "1")}, "colour planes"), ({"lists": ("1", "1")}, "scaling lists"),
    ({"first": "0"}, "not the first"), ({"kind": 21}, "only IDR")])
def test_tools_of_hevc_that_are_not_read_are_refused(changes, reason):
    with pytest.raises(ValueError, match=reason):
        read_intra_header(hevc(**changes), "hevc")
