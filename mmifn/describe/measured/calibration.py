"""From statistics to a verdict: which distortion, how strong, and what overall quality.

The constants in calibrated.json were fitted on simulated distortions (JPEG, JPEG 2000, H.264, H.265, noise, blur, and
pairs of them, of random strengths) of pristine panoramas, at two sizes; the names of those scenes are in the file.
Remake them:  python tools/calibrate_words.py --panoramas DIR

The kind is a multinomial logistic regression, each severity a ridge regression with squares, both on the same
standardised features, limited to LIMIT standard deviations so that odd pictures cannot run away. Compression and the
overall loss have two regressions each, for pictures with and without a block grid: what compression does to the other
statistics differs too much between the two (with one, JPEG at quality 11 passed for milder than at 30). Severity is on a
scale of opinion: 0 as pristine, 5 as JPEG at quality 0; the fit placed every distortion on it by its loss of MS-SSIM,
read through the mean opinions that CVIQ published for its JPEG, H.264 and H.265 levels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mmifn.core.files import sha256_file

KINDS = ("blur", "noise", "compression")
FILE = Path(__file__).with_name("calibrated.json")
LIMIT = 3.0
MAX_SEVERITY = 5.0
# Mean opinions in CVIQ, of 100: of its pristine images, and of its JPEG at quality 0, which has the highest severity.
PRISTINE_OPINION, WORST_OPINION = 69.5, 17.5
BLOCKED = 0.08  # grey levels of blocking from which a picture counts as one with a block grid; pristine ones have none
TARGETS = ("blur", "noise", "compression", "loss", "compression, blocked", "loss, blocked")
# The parts of a verdict are fitted apart; these keep them from contradicting each other.
OVERRULED_BY = 2.0  # the kinds were fitted on single distortions; of two at once, a far more severe one is the main one
MAX_CLEAN_LOSS, MIN_NAMED_SEVERITY, LOSS_BY_SEVERITY = 1.0, 0.36, 0.85
# Statistics that do not depend on what is shown; those with an offset enter as log2(value + offset).
FEATURES: dict[str, float | None] = {
    "noise_floor": 0.1, "noise": 0.1, "chroma_noise_floor": 0.1, "chroma_noise": 0.1, "fine_q10": None,
    "fine_q50": None, "fine_q90": None, "fine_q98": None, "fine_weak": None, "middle_q10": None, "middle_q50": None,
    "middle_q90": None, "middle_q98": None, "blocking": 0.05, "blocking_across": 0.05, "blocking_down": 0.05,
    "ringing": None, "constant": 0.005, "flat_chroma": 0.01, "chroma_detail": 0.02, "banding": 0.0005, "blur": None,
    "blur_sharpest": None, "blur_softest": None}
_SHARPNESS = tuple(name for name in FEATURES if name.startswith(("fine_q", "middle_q")))  # each 0 where no tile could tell


@dataclass(frozen=True)
class Verdict:
    """dominant: "none" or one of KINDS; probability: of the likeliest kind; severity: kind -> 0 (none) to 5 (extreme);
    loss: overall, 0 (pristine) to 5 (bad)."""

    dominant: str
    probability: float
    severity: dict[str, float]
    loss: float

    def within(self, points: float) -> Verdict:
        """Return the same, no kind of it stronger than a loss of so many points of 100 allows."""
        most = severity_of_points(points)
        return replace(self, severity={kind: min(severity, most) for kind, severity in self.severity.items()})


def severity_of_points(points: float) -> float:
    """Return the severity, 0..5, of what costs so many points of 100 of opinion."""
    return float(np.clip(MAX_SEVERITY * points / (PRISTINE_OPINION - WORST_OPINION), 0.0, MAX_SEVERITY))


def features(values: dict[str, float]) -> np.ndarray:
    """Return the calibration's features of named statistics, (len(FEATURES),) float64, not standardised."""
    return np.array([values[name] if offset is None else np.log2(max(values[name], 0.0) + offset)
                     for name, offset in FEATURES.items()])


def with_squares(standardised: np.ndarray) -> np.ndarray:
    """Limit standardised features (…, F) and append their squares: (…, 2 F)."""
    limited = np.clip(standardised, -LIMIT, LIMIT)
    return np.concatenate([limited, limited ** 2], axis=-1)


@lru_cache(maxsize=1)
def constants() -> dict[str, Any]:
    """Return the fitted constants; the lists as float64 arrays."""
    stored = json.loads(FILE.read_text(encoding="utf-8"))
    if stored["features"] != list(FEATURES):
        raise RuntimeError(f"{FILE.name} was fitted on other features; remake it: python tools/calibrate_words.py")
    arrays = ("mean", "scale", "kind_weights", "kind_bias", "severity_weights", "severity_bias")
    return {**stored, **{name: np.array(stored[name], dtype=np.float64) for name in arrays}}


def revision() -> str:
    """Identify the fitted constants (12 hex digits)."""
    return sha256_file(FILE)[:12]


def judge(values: dict[str, float]) -> Verdict:
    """Judge the statistics of a panorama (statistics.NAMES -> value)."""
    known = constants()
    row = with_squares((features(values) - known["mean"]) / known["scale"])
    scores = known["kind_weights"] @ row[:len(FEATURES)] + known["kind_bias"]
    chances = np.exp(scores - scores.max())
    chances /= chances.sum()
    best = int(np.argmax(chances))
    levels = np.clip(known["severity_weights"] @ row + known["severity_bias"], 0.0, MAX_SEVERITY)
    level = dict(zip(TARGETS, levels.tolist(), strict=True))
    suffix = ", blocked" if values["blocking"] >= BLOCKED else ""
    parts, loss = [level["blur"], level["noise"], level[f"compression{suffix}"]], level[f"loss{suffix}"]
    dominant, severity = known["kinds"][best], dict(zip(KINDS, parts, strict=True))
    worst = max(KINDS, key=lambda kind: severity[kind])
    if severity[worst] > severity.get(dominant, 0.0) + OVERRULED_BY:
        dominant = worst
    if dominant == "none":
        return Verdict(dominant, float(chances[best]), severity, min(loss, MAX_CLEAN_LOSS))
    if dominant == "blur" and not any(values[name] for name in _SHARPNESS):  # no tile has texture left to tell its sharpness by
        severity["blur"] = MAX_SEVERITY
    severity[dominant] = max(severity[dominant], MIN_NAMED_SEVERITY)
    return Verdict(dominant, float(chances[best]), severity, max(loss, LOSS_BY_SEVERITY * severity[dominant]))
