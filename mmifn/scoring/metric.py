"""The mean score of panoramas as a metric of torchmetrics, which `pip install 'mmifn[metrics]'` brings."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmifn.scoring.api import PanoramaModel, load_model

try:
    from torchmetrics import Metric
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("mmifn.Score needs the package torchmetrics, which is not installed: pip install "
                              "'mmifn[metrics]'") from error


class Score(Metric):
    """Mean score, 0..100, of all panoramas (B, 3, H, W) float in 0..1 that update() was given; NaN where there was none.

    model: of `mmifn.load_model` (default: the one that comes with the package, on the CPU or the GPU as there is one). Scores
    have no gradient. Raises UserError for a panorama that cannot be scored.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, model: PanoramaModel | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model or load_model()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, images: Tensor) -> None:
        """Add the scores of panoramas."""
        scores = [prediction.score for prediction in self.model.score_many(images)]
        self.total += sum(scores)
        self.count += len(scores)

    def compute(self) -> Tensor:
        """Return the mean of all scores so far."""
        return self.total / self.count
