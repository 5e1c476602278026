"""What a scene of fewer pixels than the headset shows lacks is charged; a larger one is compared as it is."""

import numpy as np
import pytest

from mmifn.simulate.comparison import LABEL_METRIC, SceneComparison
from mmifn.simulate.curves import HEADSET_WIDTH, size_loss
from mmifn.sphere import HEADSET_PPD

SOURCE = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)


def test_the_label_metric_is_named_and_the_headset_is_peoples():
    assert LABEL_METRIC == "FSIM on headset views" and SceneComparison(SOURCE).ppd == HEADSET_PPD and HEADSET_WIDTH == 4096


@pytest.mark.parametrize(("ppd", "charged"), [(64 / 360, False), (64 / 360 / 1.0001, False), (64 / 360 * 1.1, True), (1.0, True)])
def test_only_a_source_below_the_headset_is_charged(ppd, charged):
    """Its own pixels have FSIM 1 against themselves, so what is left is the loss of the size."""
    got = SceneComparison(SOURCE, ppd).fsim(SOURCE)
    assert got == pytest.approx(1 - float(size_loss(64, ppd)) if charged else 1, abs=1e-6)
    assert (got < 0.9999) == charged


def test_a_distorted_one_loses_more():
    comparison = SceneComparison(SOURCE, 1.0)
    assert comparison.fsim(255 - SOURCE // 2) < comparison.fsim(SOURCE)
