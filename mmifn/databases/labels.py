"""Simulated opinion scores: human means per type and level, deviations of scenes after a full-reference metric."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mmifn import compat  # noqa: F401  (before piq)
from mmifn.databases.human_anchor import HUMAN_MOS
from mmifn.sphere import cube, render_viewports

import piq  # isort: skip

LABEL_METRIC = "VSI on the six 90° faces of a cube"
_FOV_DEG = 90.0


def label_views(pixels: np.ndarray) -> Tensor:
    """Render the views that the label metric compares: six faces of a cube, a quarter of the ERP's width each."""
    return render_viewports(pixels, cube(), _FOV_DEG, pixels.shape[1] // 4)


def label_score(reference: Tensor, distorted: Tensor) -> float:
    """Score (V, 3, S, S) distorted views against their references; higher is better.

    Never an input of the model, and not the metric by which encoders are adapted (GMSD).
    """
    with torch.inference_mode():
        return float(piq.vsi(reference, distorted, data_range=1.0))


def simulated_mos(like: str, kind: str, scores: np.ndarray, levels: list[int]) -> np.ndarray:
    """Turn label scores into simulated MOS on 0..100.

    scores: (S, L) label scores of S scenes at L levels of one distortion type; levels: their numbers from 1.
    Returns (S, L): human mean + human SD times the scene's standardised score, so that each level has exactly the
    human mean and, with two scenes or more, the human SD (N - 1) over scenes.
    """
    anchor = np.array([HUMAN_MOS[like, kind][level - 1] for level in levels])
    mean, sd = anchor[:, 0], anchor[:, 1]
    if len(scores) < 2:
        return np.repeat(mean[None], len(scores), axis=0)
    centred = scores - scores.mean(axis=0)
    spread = centred.std(axis=0, ddof=1)
    standard = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-12)
    return mean + sd * standard
