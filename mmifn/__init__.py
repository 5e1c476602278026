"""MMIFN: no-reference quality assessment of 360° (equirectangular) images from text, global and local features."""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:  # `import mmifn` stays light: torch and the networks come with the first use
    modules = {"score": "mmifn.scoring.panorama", "load_model": "mmifn.scoring.api", "Prediction": "mmifn.scoring.prediction",
               "score_view": "mmifn.scoring.perspective", "UserError": "mmifn.core.errors"}
    if name in modules:
        import importlib

        return getattr(importlib.import_module(modules[name]), name)
    raise AttributeError(f"module 'mmifn' has no attribute {name!r}")
