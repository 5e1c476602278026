"""MMIFN: no-reference quality assessment of 360° (equirectangular) images from text, global and local features."""

__version__ = "0.1.0"
