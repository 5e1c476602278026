"""JPEG tables, intra QPs read back from streams, and real encoders at the stated settings."""

from __future__ import annotations

import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn

from mmifn.simulate import codecs
from mmifn.simulate.bitstream import nal_units, read_intra_header

# ITU-T T.81 annex K, tables K.1 and K.2, in natural order.
LUMA = np.array([16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
                 14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
                 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99])
CHROMA = np.array([17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99,
                   47, 66] + [99] * 38)


def ijg(table: np.ndarray, quality: int) -> np.ndarray:
    """Scale a table by the IJG rule; quality 0 counts as 1."""
    quality = max(quality, 1)
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((table * scale + 50) // 100, 1, 255)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    rng = np.random.default_rng(1)
    coarse = rng.uniform(60, 200, (8, 16, 3)).astype(np.float32)
    smooth = np.asarray(Image.fromarray(coarse.astype(np.uint8)).resize((256, 128), Image.Resampling.BICUBIC))
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("quality", range(0, 51, 5))
def test_jpeg_carries_the_standard_tables_and_420(picture, quality):
    with Image.open(io.BytesIO(codecs.encode_jpeg(picture, quality))) as image:
        assert list(image.quantization[0]) == list(ijg(LUMA, quality))
        assert list(image.quantization[1]) == list(ijg(CHROMA, quality))
        assert [layer[1:3] for layer in image.layer] == [(2, 2), (1, 1), (1, 1)]


@pytest.mark.parametrize("quality", (5, 20, 50))
def test_decoded_dct_coefficients_are_multiples_of_the_table(picture, quality):
    grey = np.repeat(picture[..., :1], 3, axis=2)  # without colour, decoding to RGB loses no luma
    decoded = codecs.decode(codecs.encode_jpeg(grey, quality))[..., 0].astype(float) - 128
    blocks = decoded.reshape(16, 8, 32, 8).transpose(0, 2, 1, 3).reshape(-1, 8, 8)
    blocks = blocks[(np.abs(blocks) < 127).all(axis=(1, 2))]  # unclipped ones
    steps = dctn(blocks, axes=(1, 2), norm="ortho") / ijg(LUMA, quality).reshape(8, 8)
    away = np.abs(steps - steps.round())  # 0.25 on average for any other table; rounding of pixels leaves a little
    assert len(blocks) > 100 and np.abs(steps).max() > 1
    assert away.max() < 0.15 and away.mean() < 0.02


def test_jpeg2000_hits_its_compression_ratio(picture):
    data = codecs.encode_jpeg2000(picture, 40)
    assert picture.size / len(data) == pytest.approx(40, rel=0.05)
    assert codecs.decode(data).shape == picture.shape


@pytest.mark.parametrize("codec", ("h264", "hevc"))
@pytest.mark.parametrize("qp", range(30, 51, 4))
def test_intra_picture_has_the_stated_qp_and_420(picture, codec, qp):
    stream = codecs.encode_intra(picture, codec, qp)
    header = read_intra_header(stream, codec)
    assert (header.qp, header.chroma, header.intra) == (qp, "4:2:0", True)
    assert not header.varies_by_block
    assert codecs.decode_intra(stream, codec).shape == picture.shape


def test_every_macroblock_of_h264_has_the_stated_qp(picture):
    """The decoder's own account of each block, which our header reader has no part in."""
    context = av.CodecContext.create("h264", "r")
    context.options = {"export_side_data": "venc_params"}
    stream = codecs.encode_intra(picture, "h264", 38)
    frame = [*context.decode(av.Packet(stream)), *context.decode(None)][0]
    data = bytes(next(part for part in frame.side_data if "ENC_PARAMS" in str(part.type)))
    count, offset, size, _kind, qp = struct.unpack_from("=I4xQQii", data)
    deltas = {struct.unpack_from("=i", data, offset + i * size + 16)[0] for i in range(count)}
    assert count == (128 // 16) * (256 // 16)
    assert {qp + delta for delta in deltas} == {38}


@pytest.mark.parametrize("encoder,codec", (("libx264", "h264"), ("libx265", "hevc")))
def test_header_reader_sees_the_encoders_default_offset(picture, encoder, codec):
    """Left alone, both encoders lower an I picture's QP by 6 log2(1.4) = 2.9."""
    context = av.CodecContext.create(encoder, "w")
    context.width, context.height, context.pix_fmt, context.time_base = 256, 128, "yuv420p", Fraction(1, 25)
    context.options = {"qp": "40"} if codec == "h264" else {"x265-params": "qp=40:log-level=none"}
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
    stream = b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
    assert read_intra_header(stream, codec).qp == 37


def test_a_stream_without_parameter_sets_is_refused(picture):
    stream = codecs.encode_intra(picture, "h264", 30)
    picture_only = b"".join(b"\0\0\1" + unit for unit in nal_units(stream) if unit[0] & 31 == 5)
    with pytest.raises(ValueError, match="wanted"):
        read_intra_header(picture_only, "h264")


def test_colours_survive_the_codecs(picture):
    """swscale's default rounding would shift the mean by 1 to 2 grey values."""
    for codec in ("h264", "hevc"):
        decoded = codecs.decode_intra(codecs.encode_intra(picture, codec, 30), codec)
        assert np.abs((decoded.astype(float) - picture).mean(axis=(0, 1))).max() < 0.75
