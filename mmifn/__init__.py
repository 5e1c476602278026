"""MMIFN: no-reference quality assessment of 360° (equirectangular) images from text, global and local features."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmifn.core.errors import UserError as UserError
    from mmifn.scoring.api import load_model as load_model
    from mmifn.scoring.metric import Score as Score
    from mmifn.scoring.panorama import score as score
    from mmifn.scoring.perspective import score_view as score_view
    from mmifn.scoring.prediction import Prediction as Prediction

__version__ = "0.1.0"


def __getattr__(name: str) -> object:  # `import mmifn` stays light: torch and the networks come with the first use
    modules = {"score": "mmifn.scoring.panorama", "load_model": "mmifn.scoring.api", "Prediction": "mmifn.scoring.prediction",
               "score_view": "mmifn.scoring.perspective", "Score": "mmifn.scoring.metric", "UserError": "mmifn.core.errors"}
    if name in modules:
        import importlib

        return getattr(importlib.import_module(modules[name]), name)
    raise AttributeError(f"module 'mmifn' has no attribute {name!r}")
