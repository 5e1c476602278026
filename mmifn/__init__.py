"""MMIFN: no-reference quality assessment of 360° (equirectangular) images from text, global and local features."""

__version__ = "0.1.0"


def __getattr__(name: str):  # `import mmifn` stays light: torch and the networks come with the first use
    if name in ("score", "Prediction"):
        import importlib

        return getattr(importlib.import_module("mmifn.scoring.panorama"), name)
    raise AttributeError(f"module 'mmifn' has no attribute {name!r}")
