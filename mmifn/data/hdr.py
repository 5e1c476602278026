"""Pictures of high dynamic range (Radiance .hdr, OpenEXR .exr), brought to 8 bits by a stated tone curve.

Importing this module teaches Pillow to open them; FFmpeg (PyAV) decodes.
"""

from __future__ import annotations

import re
import struct
from typing import IO, Any

import numpy as np
from PIL import Image, ImageFile

TONE_CURVE = "Reinhard's curve, the log-average brightness at 18 %, the brightest half percent at white"
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of linear light (ITU-R BT.709)
_GREY, _WHITE_QUANTILE = 0.18, 0.995
_EXR, _RADIANCE = b"\x76\x2f\x31\x01", (b"#?RADIANCE", b"#?RGBE")
_HEADER_BYTES = 65536


def tone_mapped(linear: np.ndarray) -> np.ndarray:
    """Bring linear light (H, W, 3) float32, of any scale, to sRGB (H, W, 3) uint8.

    Extended Reinhard (Reinhard et al. 2002, Eq. 4) on each channel: x (1 + x / w²) / (1 + x), where x is scaled so that the
    geometric mean of the luminance becomes 0.18 and w is the 99.5th percentile of the luminance, at least 1.
    """
    linear = np.nan_to_num(linear, nan=0.0, posinf=float(np.finfo(np.float32).max) / 1e6, neginf=0.0).clip(min=0)
    luminance = linear @ _LUMINANCE
    lit = luminance[luminance > 0]
    if not lit.size:
        return np.zeros(linear.shape, np.uint8)
    exposure = np.float32(_GREY / np.exp(np.log(lit, dtype=np.float64).mean()))
    white = np.float32(max(float(np.quantile(lit[:: max(1, lit.size // 1_000_000)], _WHITE_QUANTILE) * exposure), 1.0))
    result = np.empty(linear.shape, np.uint8)
    for start in range(0, len(linear), 256):  # bands: the curve makes several copies
        x = linear[start: start + 256] * exposure
        y = (x * (1 + x / white ** 2) / (1 + x)).clip(0, 1)
        coded = np.where(y <= 0.0031308, 12.92 * y, 1.055 * y ** (1 / 2.4) - 0.055)  # IEC 61966-2-1
        result[start: start + 256] = (coded * 255).round()
    return result


def _size(head: bytes) -> tuple[int, int]:
    """Return (width, height) from the first bytes of a file; raises SyntaxError where they are not there."""
    if head.startswith(_EXR):
        match = re.search(rb"dataWindow\0box2i\0\x10\0\0\0(.{16})", head, re.DOTALL)
        if match:
            left, top, right, bottom = struct.unpack("<4i", match[1])
            return right - left + 1, bottom - top + 1
    else:
        match = re.search(rb"\n-Y (\d+) \+X (\d+)\n", head)
        if match:
            return int(match[2]), int(match[1])
    raise SyntaxError("no size in its header")


class _HighDynamicRange(ImageFile.ImageFile):
    """A picture whose size is read at once, and whose pixels are decoded and tone-mapped when they are asked for."""

    fp: IO[bytes]  # open for as long as the picture is
    format = "HDR"
    format_description = "High dynamic range"

    def _open(self) -> None:
        head = self.fp.read(_HEADER_BYTES)
        self._size = _size(head)
        self._mode, self._decoded = "RGB", False
        self.fp.seek(0)

    def load(self) -> Any:
        if not self._decoded:
            self._decode()
        return Image.Image.load(self)

    def _decode(self) -> None:
        """Read linear light by FFmpeg and bring it to 8 bits by the tone curve."""
        import av

        self.fp.seek(0)
        with av.open(self.fp, "r") as container:
            frame = next(container.decode(video=0))
        pixels = frame.to_ndarray()
        linear = pixels[..., :3] if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
        if linear.dtype != np.float32 or linear.shape[1::-1] != self.size:
            raise OSError(f"decoded to {linear.shape} {linear.dtype}")
        image = Image.fromarray(tone_mapped(linear))
        self.im, self._mode, self._size = image.im, "RGB", image.size
        self.info["tone_curve"] = TONE_CURVE
        self._decoded = True


Image.register_open("HDR", _HighDynamicRange, lambda head: head.startswith((_EXR, *_RADIANCE)))
