"""Simulated opinion scores: human means per type and level, deviations of scenes after a full-reference metric.

The metric is FSIM on viewports (`fullref.metrics.LABEL_METRIC`). Of ten metrics it deviates over scenes most like
OIQA's and CVIQ's humans do (noise with JPEG, blur with JPEG 2000, those two pairs against each other), and it goes least
with GMSD, which encoders may be adapted to (docs/databases.md). It is never an input of the model.
"""

from __future__ import annotations

import numpy as np

from mmifn.simulate.human_anchor import HUMAN_MOS

_SMOOTHING_PASSES = 2


def _standardise(values: np.ndarray) -> np.ndarray:
    """Give every column mean 0 and SD 1 (N - 1); a constant column becomes 0."""
    centred = values - values.mean(axis=0)
    spread = centred.std(axis=0, ddof=1)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-12)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Average each column with its neighbours, 1:2:1, so that a scene's deviation changes gently from level to level."""
    padded = np.pad(values, ((0, 0), (1, 1)), mode="edge")
    return 0.25 * padded[:, :-2] + 0.5 * values + 0.25 * padded[:, 2:]


def simulated_mos(like: str, kind: str, scores: np.ndarray, levels: list[int]) -> np.ndarray:
    """Turn label scores into simulated MOS on 0..100.

    scores: (S, L) label scores of S scenes at L levels of one distortion type, higher is better; levels: their
    numbers, ascending from 1. Returns (S, L): human mean + human SD times the scene's standardised deviation, so that
    each level has exactly the human mean and, with two scenes or more, the human SD (N - 1) over scenes.
    """
    anchor = np.array([HUMAN_MOS[like, kind][level - 1] for level in levels])
    mean, sd = anchor[:, 0], anchor[:, 1]
    if len(scores) < 2:
        return np.repeat(mean[None], len(scores), axis=0)
    deviation = _standardise(np.asarray(scores, dtype=np.float64))
    for _ in range(_SMOOTHING_PASSES):
        deviation = _standardise(_smooth(deviation))
    return mean + sd * deviation
