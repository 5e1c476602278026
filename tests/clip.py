"""A small clip made here: twelve frames in three seconds, each brighter than the one before."""

from fractions import Fraction

import av
import numpy as np
from stand_in import panorama

LEVELS = [100 + 6 * k for k in range(12)]


def write_clip(path):
    """Write a panorama of 256 px whose mean brightness is LEVELS[k] in frame k, four frames a second."""
    erp = panorama(256).astype(float)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(4))
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 256, 128, "yuv420p", 4_000_000
        for level in LEVELS:
            pixels = (erp - erp[40:80].mean() + level).clip(0, 255).astype(np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path
