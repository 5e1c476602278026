"""What is said of a prediction to a person, in lines of text."""

from __future__ import annotations

from mmifn.describe.directions import direction_words
from mmifn.scoring.prediction import Prediction, View
from mmifn.simulate.human_anchor import HUMAN_PRISTINE

PRISTINE_SPREAD = max(sd for _, sd in HUMAN_PRISTINE.values())  # points by which flawless panoramas differ by their scenes


def score_line(prediction: Prediction) -> str:
    """Return the score in one line of words and numbers."""
    spread = ""
    if prediction.interval:
        low, high = prediction.interval
        spread = f", {low:.0f} to {high:.0f} with {100 * prediction.level:.0f} % confidence"
    limit = ""
    if prediction.ceiling is not None:
        equal = "as good as " if prediction.score >= prediction.ceiling - PRISTINE_SPREAD else ""
        limit = f" ({equal}a flawless one of this size: {prediction.ceiling:.0f})"
    return f"{prediction.score:.0f} of 100{limit}, {prediction.quality}{spread}"


def looking(view: View) -> str:
    """Return where a view looks, in words: ahead is the middle of the panorama."""
    return direction_words(view.lon_deg, view.lat_deg)
