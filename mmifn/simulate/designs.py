"""The designs of OIQA and CVIQ: which distortions, at which levels, and how one distorted image is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mmifn.simulate import codecs
from mmifn.simulate.distortions import add_noise, blur_sphere
from mmifn.simulate.settings import CVIQ, OIQA


@dataclass(frozen=True)
class Distorted:
    """One distorted panorama: pixels (H, W, 3) uint8 as decoded; data: the file itself where it is kept (JPEG)."""

    pixels: np.ndarray
    data: bytes | None
    suffix: str


def _jpeg(pixels: np.ndarray, quality: float, _rng: np.random.Generator) -> Distorted:
    data = codecs.encode_jpeg(pixels, int(quality))
    return Distorted(codecs.decode(data), data, ".jpg")


def _jpeg2000(pixels: np.ndarray, ratio: float, _rng: np.random.Generator) -> Distorted:
    return Distorted(codecs.decode(codecs.encode_jpeg2000(pixels, ratio)), None, ".png")


def _noise(pixels: np.ndarray, sigma: float, rng: np.random.Generator) -> Distorted:
    return Distorted(add_noise(pixels, sigma, rng), None, ".png")


def _blur(pixels: np.ndarray, sigma_px: float, _rng: np.random.Generator) -> Distorted:
    return Distorted(blur_sphere(pixels, sigma_px), None, ".png")


def _video(codec: str) -> Callable[[np.ndarray, float, np.random.Generator], Distorted]:
    def distort(pixels: np.ndarray, qp: float, _rng: np.random.Generator) -> Distorted:
        return Distorted(codecs.decode_intra(codecs.encode_intra(pixels, codec, int(qp)), codec), None, ".png")

    return distort


@dataclass(frozen=True)
class Distortion:
    """One distortion type: its parameter's name, the value at each level (level 1 first), and how it is made."""

    type: str
    parameter: str
    values: tuple[float, ...]
    apply: Callable[[np.ndarray, float, np.random.Generator], Distorted]

    @property
    def suffix(self) -> str:
        """JPEG is kept as the file itself, the rest as PNG of the decoded pixels (JPEG 2000 is slow to read)."""
        return ".jpg" if self.type == "JPEG" else ".png"


_QP = tuple(float(qp) for qp in range(30, 51, 2))

# CVIQ's own settings (its JPEG qualities are confirmed by its pixels, its QPs are by repute). OIQA's are not
# published: these put each level's mean label metric where CVIQ's humans gave the score that OIQA's humans gave that
# level (docs/databases.md, "Levels of the OIQA-like design"). Blur and noise are in pixels and grey values.
DESIGNS: dict[str, tuple[Distortion, ...]] = {
    OIQA: (Distortion("JPEG", "quality", (43, 30, 18, 11, 7), _jpeg),
             Distortion("JP2K", "compression ratio", (23, 57, 120, 260, 1000), _jpeg2000),
             Distortion("GN", "sigma, grey values", (6, 8, 12.5, 14.6, 18.5), _noise),
             Distortion("GB", "sigma, pixels of the equator", (0.95, 1.4, 2.1, 2.85, 5.1), _blur)),
    CVIQ: (Distortion("JPEG", "quality", tuple(float(q) for q in range(50, -1, -5)), _jpeg),
             Distortion("AVC", "QP", _QP, _video("h264")),
             Distortion("HEVC", "QP", _QP, _video("hevc"))),
}


def image_name(scene: str, kind: Distortion, level: int) -> str:
    """Return <scene>_<type>_<level> with its suffix; levels have two digits where there are ten or more."""
    return f"{scene}_{kind.type}_{level:0{len(str(len(kind.values)))}d}{kind.suffix}"
