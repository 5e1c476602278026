"""Read the quantisation parameter of an intra picture back from its own H.264 or H.265 bit stream.

Only headers are read: the parameter sets and the start of the first slice. Syntax: ITU-T H.264 7.3.2-7.3.3 and
ITU-T H.265 7.3.2-7.3.6. Streams are Annex B (start codes). An encoder's `qp` option is not the picture's QP: x264
and x265 subtract 6·log2(ipratio), about 3, on intra pictures unless told otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass


class _Bits:
    """Bits of one NAL unit's payload, without the emulation prevention bytes (00 00 03)."""

    def __init__(self, payload: bytes) -> None:
        clean = payload.replace(b"\x00\x00\x03", b"\x00\x00")
        self._value = int.from_bytes(clean, "big")
        self._left = 8 * len(clean)

    def u(self, count: int) -> int:
        """Read an unsigned number of `count` bits."""
        self._left -= count
        if self._left < 0:
            raise ValueError("the stream ends inside a header")
        return (self._value >> self._left) & ((1 << count) - 1)

    def ue(self) -> int:
        """Read an unsigned Exp-Golomb number (H.264 9.1)."""
        zeros = 0
        while self.u(1) == 0:
            zeros += 1
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        """Read a signed Exp-Golomb number (H.264 9.1.1)."""
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)


@dataclass(frozen=True)
class IntraHeader:
    """What a stream's headers say: slice type is I, QP of the slice, and whether blocks may depart from it.

    qp: luma QP at the start of the slice; varies_by_block: blocks may carry their own QP (H.265 only: its picture
    parameter set says so; H.264 always allows it, so there it is None); chroma: "4:2:0", "4:2:2", "4:4:4" or "4:0:0".
    """

    qp: int
    varies_by_block: bool | None
    chroma: str
    intra: bool


_CHROMA = {0: "4:0:0", 1: "4:2:0", 2: "4:2:2", 3: "4:4:4"}


def nal_units(stream: bytes) -> list[bytes]:
    """Split an Annex B stream at its start codes."""
    parts = stream.replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01")
    return [part for part in parts[1:] if part]


def read_intra_header(stream: bytes, codec: str) -> IntraHeader:
    """Return the header facts of the first slice of a stream; codec: "h264" or "hevc".

    Raises ValueError where the stream lacks a parameter set or slice, or uses a tool the encoders here never use.
    """
    units = {}
    for unit in nal_units(stream):
        kind = unit[0] & 31 if codec == "h264" else (unit[0] >> 1) & 63
        units.setdefault(kind, unit)
    slice_kind = 5 if codec == "h264" else next((kind for kind in (19, 20, 21, 16, 17, 18) if kind in units), 19)
    wanted = [7, 8, slice_kind] if codec == "h264" else [33, 34, slice_kind]
    if any(kind not in units for kind in wanted):
        raise ValueError(f"the stream has NAL units {sorted(units)}, wanted {wanted}")
    header = 1 if codec == "h264" else 2
    sps, pps, piece = (_Bits(units[kind][header:]) for kind in wanted)
    return _h264(sps, pps, piece) if codec == "h264" else _hevc(sps, pps, piece, wanted[2])


def _h264(sps: _Bits, pps: _Bits, piece: _Bits) -> IntraHeader:
    """Walk through the fields of H.264 (7.3.2.1, 7.3.2.2, 7.3.3 of the standard) to those of the slice header that are wanted."""
    sequence = _h264_sequence(sps)
    pps.ue(), pps.ue()
    pps.u(1)  # entropy coding mode
    order_present = pps.u(1)
    if pps.ue():
        raise ValueError("slice groups are not read")
    pps.ue(), pps.ue(), pps.u(1), pps.u(2)
    initial = 26 + pps.se()
    pps.se(), pps.se(), pps.u(1), pps.u(1)
    redundant = pps.u(1)
    piece.ue()
    intra = piece.ue() in (2, 7)
    piece.ue(), piece.u(sequence["frame_num_bits"])
    one_field = not sequence["frames_only"] and piece.u(1)
    if one_field:
        piece.u(1)  # top or bottom
    piece.ue()  # idr_pic_id
    if sequence["order_bits"]:
        piece.u(sequence["order_bits"])
        if order_present and not one_field:
            piece.se()
    if redundant:
        piece.ue()
    piece.u(2)  # dec_ref_pic_marking of an IDR picture
    return IntraHeader(initial + piece.se(), None, _CHROMA[sequence["chroma"]], intra)


def _h264_sequence(sps: _Bits) -> dict[str, int]:
    """Read a sequence parameter set up to the flag that says whether every picture is a frame (H.264 7.3.2.1.1).

    order_bits: of the picture order count in a slice, 0 where slices do not state it.
    """
    profile, _ = sps.u(8), sps.u(16)  # the latter: constraint flags, level
    sps.ue()
    chroma = 1
    if profile in (100, 110, 122, 244, 44, 83, 86, 118, 128):
        chroma = sps.ue()
        if chroma == 3 and sps.u(1):
            raise ValueError("colour planes coded apart are not read")
        sps.ue(), sps.ue(), sps.u(1)  # bit depths, lossless bypass
        if sps.u(1):
            raise ValueError("scaling matrices are not read")
    frame_num_bits = sps.ue() + 4
    order_type = sps.ue()
    order_bits = sps.ue() + 4 if order_type == 0 else 0
    if order_type == 1:
        raise ValueError("picture order type 1 is not read")
    sps.ue(), sps.u(1), sps.ue(), sps.ue()  # reference frames, gaps, size
    return {"chroma": chroma, "frame_num_bits": frame_num_bits, "order_bits": order_bits, "frames_only": sps.u(1)}


def _hevc(sps: _Bits, pps: _Bits, piece: _Bits, slice_kind: int) -> IntraHeader:
    """Walk through the fields of H.265 (7.3.2.2, 7.3.2.3, 7.3.6 of the standard) to those of the slice header that are wanted."""
    tools = _hevc_sequence(sps)
    pps.ue(), pps.ue()
    dependent, output_flag = pps.u(1), pps.u(1)
    extra_bits = pps.u(3)
    pps.u(2), pps.ue(), pps.ue()
    initial = 26 + pps.se()
    pps.u(2)
    varies = bool(pps.u(1))
    if not piece.u(1):
        raise ValueError("the first slice segment is not the first of its picture")
    if 16 <= slice_kind <= 23:
        piece.u(1)
    piece.ue()
    del dependent  # only later segments can be dependent
    piece.u(extra_bits)
    intra = piece.ue() == 2
    if output_flag:
        piece.u(1)
    if slice_kind not in (19, 20):
        raise ValueError("only IDR pictures are read")
    if tools["sao"]:
        piece.u(1)
        if tools["chroma"]:
            piece.u(1)
    return IntraHeader(initial + piece.se(), varies, _CHROMA[tools["chroma"]], intra)


def _hevc_sequence(sps: _Bits) -> dict[str, int]:
    """Read a sequence parameter set up to the sample-adaptive-offset flag (H.265 7.3.2.2)."""
    sps.u(4)
    if sps.u(3):
        raise ValueError("temporal sub-layers are not read")
    sps.u(1)
    sps.u(96)  # profile, tier, level
    sps.ue()
    chroma = sps.ue()
    if chroma == 3 and sps.u(1):
        raise ValueError("colour planes coded apart are not read")
    sps.ue(), sps.ue()
    if sps.u(1):
        for _ in range(4):
            sps.ue()
    sps.ue(), sps.ue(), sps.ue()
    sps.u(1)
    for _ in range(3 + 6):  # picture buffer of the one sub-layer, then block sizes and depths
        sps.ue()
    if sps.u(1) and sps.u(1):
        raise ValueError("scaling lists are not read")
    sps.u(1)  # asymmetric partitions
    return {"chroma": chroma, "sao": sps.u(1)}
