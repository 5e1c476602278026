"""Real encoders at stated settings: JPEG, JPEG 2000, and intra frames of H.264 and H.265.

Pixels are (H, W, 3) uint8 RGB everywhere. Every encoder runs on one thread: results do not depend on the machine's
cores, and the simulation runs images in parallel instead.
"""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import Interpolation
from PIL import Image

from mmifn.simulate.bitstream import read_intra_header

# swscale's default rounding shifts colours by 1 to 2 grey values between RGB and YCbCr and back; these flags do not.
_EXACT = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
             | Interpolation.FULL_CHR_H_INP)
_ENCODERS = {"h264": "libx264", "hevc": "libx265"}


def encode_jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """Return a baseline JPEG, 4:2:0, with the tables of ITU-T T.81 annex K scaled by the IJG rule for `quality`.

    quality: 0..100; the IJG rule treats 0 as 1 (scale 5000 %), as MATLAB's imwrite does.
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=int(quality), subsampling="4:2:0")
    return file.getvalue()


def decode(data: bytes) -> np.ndarray:
    """Decode a still picture to (H, W, 3) uint8."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def encode_jpeg2000(pixels: np.ndarray, ratio: float) -> bytes:
    """Return a JPEG 2000 file (irreversible 9/7 wavelet) `ratio` times smaller than the raw pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG2000", quality_mode="rates", quality_layers=[float(ratio)],
                                 irreversible=True)
    return file.getvalue()


def encode_intra(pixels: np.ndarray, codec: str, qp: int) -> bytes:
    """Return the Annex B stream of one intra picture whose own QP is `qp`, 4:2:0, at the size of `pixels`.

    codec: "h264" (x264) or "hevc" (x265), preset medium. ipratio=1 makes the I frame's QP the one asked for.
    Raises RuntimeError where the stream's headers say another QP, subsampling or picture type: it is read back.
    """
    height, width = pixels.shape[:2]
    context = av.CodecContext.create(_ENCODERS[codec], "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate, context.thread_count = Fraction(1, 25), Fraction(25), 1
    shared = "ipratio=1.0:keyint=1"
    if codec == "h264":
        context.options = {"preset": "medium", "qp": str(qp), "x264-params": f"{shared}:threads=1"}
    else:
        context.options = {"preset": "medium", "x265-params":
                           f"{shared}:qp={qp}:pools=none:frame-threads=1:wpp=0:log-level=none"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    frame = frame.reformat(format="yuv420p", interpolation=_EXACT)
    frame.pts = 0
    stream = b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
    header = read_intra_header(stream, codec)
    if header.qp != qp or header.chroma != "4:2:0" or not header.intra or header.varies_by_block:
        raise RuntimeError(f"{_ENCODERS[codec]} was asked for an intra picture at QP {qp} and wrote {header}")
    return stream


def decode_intra(stream: bytes, codec: str) -> np.ndarray:
    """Decode a stream of one picture to (H, W, 3) uint8."""
    context = av.CodecContext.create(codec, "r")
    context.thread_count = 1
    frames = [*context.decode(av.Packet(stream)), *context.decode(None)]
    if len(frames) != 1:
        raise RuntimeError(f"{codec}: {len(frames)} pictures decoded, wanted 1")
    return frames[0].reformat(format="rgb24", interpolation=_EXACT).to_ndarray()
