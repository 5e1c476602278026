"""Simulated opinion scores: human means per setting and size, deviations of scenes after a full-reference metric.

The metric is FSIM on a headset's views (`fullref.headset`). Of ten metrics FSIM deviates over scenes most like
OIQA's and CVIQ's humans do (noise with JPEG, blur with JPEG 2000, those two pairs against each other), and it goes least
with GMSD, which encoders may be adapted to (docs/databases.md). It is never an input of the model.
"""

from __future__ import annotations

import numpy as np

from mmifn.simulate.curves import HEADSET_WIDTH, setting_loss, setting_mos
from mmifn.simulate.designs import Distortion
from mmifn.simulate.human_anchor import HUMAN_MOS

_SMOOTHING_PASSES = 2
_LEAST_LOSS = 1e-6


def _standardise(values: np.ndarray) -> np.ndarray:
    """Give every column mean 0 and SD 1 (N - 1); a constant column becomes 0."""
    centred = values - values.mean(axis=0)
    spread = centred.std(axis=0, ddof=1)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-12)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Average each column with its neighbours, 1:2:1, so that a scene's deviation changes gently from level to level."""
    padded = np.pad(values, ((0, 0), (1, 1)), mode="edge")
    return 0.25 * padded[:, :-2] + 0.5 * values + 0.25 * padded[:, 2:]


def human_sd(like: str, kind: str, mos: np.ndarray) -> np.ndarray:
    """Return the standard deviation over scenes that people's scores have where their mean is `mos`, between levels."""
    mean, sd = np.array(HUMAN_MOS[like, kind]).T
    return np.interp(mos, mean[::-1], sd[::-1])


def design_mos(like: str, kind: Distortion, fsim: np.ndarray, levels: tuple[int, ...], widths: list[int],
               shown: list[float]) -> np.ndarray:
    """Return simulated MOS (S, L) of one type of a design.

    fsim: (S, L) label metric of S scenes at L levels (their numbers ascending from 1) against the scenes at their best;
    widths: of the scenes, in pixels; shown: pixels per degree of the headset. At 4096 px in people's headset the mean is
    that of people; at other sizes it moves as the human curve of the type does between the two.
    """
    anchors = np.array([HUMAN_MOS[like, kind.type][level - 1][0] for level in levels])
    values = [kind.values[level - 1] for level in levels]
    mean, expected = np.empty(fsim.shape), np.empty(fsim.shape)
    for i, (width, ppd) in enumerate(zip(widths, shown, strict=True)):
        for j, value in enumerate(values):
            moved = setting_mos(kind.type, value, width, ppd) - setting_mos(kind.type, value, HEADSET_WIDTH)
            mean[i, j], expected[i, j] = anchors[j] + moved, setting_loss(kind.type, value, width, ppd)
    better = np.log(expected) - np.log(np.maximum(1 - fsim, _LEAST_LOSS))
    return simulated_mos(better, mean, human_sd(like, kind.type, mean))


def simulated_mos(scores: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Turn label scores into simulated MOS.

    scores: (S, L) label scores of S scenes at L levels of one distortion type, mild to severe, higher is better;
    mean, sd: (L,) of people over scenes at those levels, or (S, L) where scenes differ in size. Returns (S, L): mean + SD
    times the scene's standardised deviation, so that each level has exactly that mean and, with two scenes or more, that
    SD (N - 1) over scenes.
    """
    if len(scores) < 2:
        return np.broadcast_to(np.asarray(mean, dtype=np.float64), np.shape(scores)).copy()
    deviation = _standardise(np.asarray(scores, dtype=np.float64))
    for _ in range(_SMOOTHING_PASSES):
        deviation = _standardise(_smooth(deviation))
    return mean + sd * deviation
