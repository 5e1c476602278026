"""What is said of a prediction to a person, in lines of text."""

from __future__ import annotations

from mmifn.describe.directions import compass_word, direction_words
from mmifn.scoring.prediction import Prediction, View


def score_line(prediction: Prediction) -> str:
    """Return the score in one line of words and numbers."""
    spread = ""
    if prediction.interval and prediction.level:
        low, high = prediction.interval
        spread = f", {low:.0f} to {high:.0f} with {100 * prediction.level:.0f} % confidence"
    return f"{prediction.score:.0f} of 100, {rank(prediction)}{spread}"


def rank(prediction: Prediction) -> str:
    """Return the score's word, beside what a flawless panorama of that size reaches where that is known."""
    if prediction.ceiling is None:
        return prediction.quality
    if prediction.flawless:
        return f"as good as a flawless panorama of this size ({prediction.ceiling:.0f})"
    return f"{prediction.quality} (a flawless panorama of this size: {prediction.ceiling:.0f})"


def looking(view: View, heading_deg: float | None = None) -> str:
    """Return where a view looks, in words: ahead is the middle of the panorama, heading_deg its bearing where it is known."""
    words = direction_words(view.lon_deg, view.lat_deg)
    return words if heading_deg is None else f"{words} ({compass_word(heading_deg + view.lon_deg)})"
