"""From statistics to a verdict: which distortion, how strong, and what overall quality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KINDS = ("blur", "noise", "compression")
REVISION = "1"


@dataclass(frozen=True)
class Verdict:
    """dominant: "none" or one of KINDS; severity: kind -> 0 (none) to 5 (extreme); quality: 0 (bad) to 5 (pristine)."""

    dominant: str
    severity: dict[str, float]
    quality: float


def judge(values: dict[str, float]) -> Verdict:
    """Judge the statistics of a panorama."""
    noise = np.clip(np.log2(max(values["noise_floor"], 0.5)) + 0.5, 0, 5)
    blur = np.clip(-3 * values["fine_q98"], 0, 5)
    blocks = np.clip(np.log2(max(values["blocking"], 0.2) / 0.2), 0, 5)
    smear = np.clip((values["fine_spread"] - 0.8) * 3, 0, 5) if values["fine_q10"] < -0.6 else 0.0
    severity = {"blur": float(blur), "noise": float(noise), "compression": float(max(blocks, smear))}
    worst = max(KINDS, key=lambda kind: severity[kind])
    return Verdict(worst if severity[worst] >= 1 else "none", severity, float(5 - max(severity.values())))
