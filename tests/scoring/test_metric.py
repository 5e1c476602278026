"""mmifn.Score: the mean of the model's own scores, kept by torchmetrics."""

from types import SimpleNamespace

import pytest
import torch
from stand_in import needs_encoders

import mmifn
from mmifn.simulate.rendered.panorama import render_scene

pytest.importorskip("torchmetrics")


class Brightness:
    """Stands in for a model: scores a panorama by its mean."""

    def score_many(self, images):
        return (SimpleNamespace(score=100 * float(image.mean())) for image in images)


def test_it_is_the_mean_over_all_batches():
    metric = mmifn.Score(Brightness())
    metric.update(torch.full((2, 3, 4, 8), 0.25))
    assert float(metric(torch.full((1, 3, 4, 8), 1.0))) == 100  # of this batch alone
    assert float(metric.compute()) == pytest.approx((25 + 25 + 100) / 3)
    metric.reset()
    metric.update(torch.full((1, 3, 4, 8), 0.5))
    assert float(metric.compute()) == 50


@needs_encoders
def test_it_scores_panoramas_as_the_model_does():
    pixels, model = render_scene("plaza_01", 128), mmifn.load_model(device="cpu")
    metric = mmifn.Score(model)
    metric.update(torch.from_numpy(pixels).movedim(-1, 0)[None] / 255)
    assert float(metric.compute()) == pytest.approx(model.score(pixels).score)
