"""Calibrated words for a verdict."""

from __future__ import annotations

from mmifn.describe.calibration import KINDS, Verdict
from mmifn.describe.statistics import Statistics

STRENGTHS = ("slight", "noticeable", "strong", "severe")
OVERALL = ("bad", "poor", "fair", "good", "excellent")


def put_into_words(statistics: Statistics, verdict: Verdict) -> str:
    """Return the description of a panorama."""
    found = sorted((kind for kind in KINDS if verdict.severity[kind] >= 1), key=lambda kind: -verdict.severity[kind])
    words = [f"{STRENGTHS[min(3, int(verdict.severity[kind]) - 1)]} {kind}" for kind in found] or ["no visible distortion"]
    overall = OVERALL[min(4, int(verdict.quality))]
    return "; ".join(words).capitalize() + f". Overall: {overall}."
