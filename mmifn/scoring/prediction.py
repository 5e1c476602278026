"""What is said of one panorama, and the one form it takes as a row of a file: flat, plain values, rounded to 1e-4.

A row made of a prediction (`Prediction.to_row`) gives that prediction again (`Prediction.from_row`); the lines of JSON and
the tables of predict.py, and all that reads them, know the fields from here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from types import NoneType
from typing import Any

from mmifn.core.errors import UserError
from mmifn.core.files import Stamp
from mmifn.core.schema import misfits
from mmifn.scoring.row_form import STAMP, RowForm
from mmifn.simulate.human_anchor import HUMAN_PRISTINE

QUALITY_WORDS = ("bad", "poor", "fair", "good", "excellent")  # equal fifths, as on the continuous scale of ITU-R BT.500
# The fields of a row, in the order of a table's columns; full-reference scores, where wanted, follow the worst view.
_FIRST = ("image", "score", "quality", "low", "high", "level")
_WORST = ("worst_lon_deg", "worst_lat_deg", "worst_score", "worst_words")  # for people's tables: `viewports` holds them all
_SIZE = ("ceiling", "judged_px", "covered", "heading_deg")  # not in files of earlier versions
_LAST = ("description", "warnings", "fov_deg", "viewports", "image_sha256", "model")
REQUIRED = (*_FIRST, *_LAST)  # what every row has; a prediction can be made of it again
PRISTINE_SPREAD = max(sd for _, sd in HUMAN_PRISTINE.values())  # points by which flawless panoramas differ by their scenes
PANORAMAS = RowForm(REQUIRED, ("image", "quality", "description", "image_sha256", "model"), {
    "score": (int, float), "fov_deg": (int, float), "viewports": (list,), "warnings": (list,),
    **dict.fromkeys(("low", "high", "level"), (int, float, NoneType))})
_DECIMALS = 4


def columns(compared: Iterable[str] = ()) -> list[str]:
    """Return the fields of a row in order; compared: names of the full-reference scores that it also has."""
    return [*_FIRST, *_SIZE, *_WORST, *compared, *_LAST, *STAMP]


def in_words(score: float) -> str:
    """Return bad, poor, fair, good or excellent for a score of 0..100."""
    return QUALITY_WORDS[min(int(score // 20), 4)]


def as_flawless(score: float, ceiling: float | None) -> bool:
    """Tell whether a score is as good as that of a flawless panorama, the ceiling, within what scenes differ by."""
    return ceiling is not None and score >= ceiling - PRISTINE_SPREAD


def _rounded(value: Any) -> Any:
    return round(value, _DECIMALS) if isinstance(value, float) else value


@dataclass(frozen=True)
class View:
    """One tangent view: where its centre looks, in degrees, and its score, 0..100."""

    lon_deg: float
    lat_deg: float
    score: float


@dataclass(frozen=True)
class Prediction:
    """What is said of one panorama.

    score: 0..100, higher is better; quality: the same in one word; interval: where the mean opinion is expected with
    probability `level` (None where the model was never calibrated); viewports: every view with its own score;
    fov_deg: how wide they look; description: what was found, in words, without a verdict of its own; warnings: why
    the score may not mean anything;
    model: identity of all that made it; ceiling: the score of a flawless panorama of this size, which shows less than a
    headset could (None where the model's labels do not count that); worst_words: the views of `worst()` in words; judged_px:
    the width at which it was judged, its own or as much as the headset shows; covered: how much of the sphere has content,
    0..1, so that views elsewhere are left out; heading_deg: the compass direction of its middle, where the file tells it.
    """

    score: float
    quality: str
    interval: tuple[float, float] | None
    level: float | None
    viewports: tuple[View, ...]
    fov_deg: float
    description: str
    warnings: tuple[str, ...]
    model: str
    ceiling: float | None = None
    worst_words: tuple[str, ...] = ()
    judged_px: int | None = None
    covered: float = 1.0
    heading_deg: float | None = None

    @property
    def flawless(self) -> bool:
        """Return whether the score is as good as that of a flawless panorama of this size."""
        return as_flawless(self.score, self.ceiling)

    def worst(self, count: int = 3) -> list[int]:
        """Return the indices of the viewports with the lowest scores, worst first."""
        return sorted(range(len(self.viewports)), key=lambda i: self.viewports[i].score)[:count]

    def rounded(self) -> Prediction:
        """Return it as its row keeps it, so that what is drawn of it is the same after a stop as before."""
        return replace(self, score=_rounded(self.score), level=_rounded(self.level), ceiling=_rounded(self.ceiling),
                       fov_deg=_rounded(self.fov_deg), covered=_rounded(self.covered), heading_deg=_rounded(self.heading_deg),
                       interval=self.interval and (_rounded(self.interval[0]), _rounded(self.interval[1])),
                       viewports=tuple(View(*map(_rounded, astuple(view))) for view in self.viewports))

    def to_row(self, image: str, image_sha256: str, compared: dict[str, float | None],
               stamp: Stamp | None = None) -> dict[str, Any]:
        """Return it as one flat row of plain values, rounded to 1e-4.

        image: the name of the panorama; image_sha256, stamp: of its file; compared: full-reference scores by name.
        """
        low, high = self.interval or (None, None)
        worst = self.viewports[self.worst(1)[0]]
        values = {"image": image, "score": self.score, "quality": self.quality, "low": low, "high": high, "level": self.level,
                  "ceiling": self.ceiling, "judged_px": self.judged_px, "covered": self.covered, "heading_deg": self.heading_deg,
                  "worst_lon_deg": worst.lon_deg, "worst_lat_deg": worst.lat_deg,
                  "worst_score": worst.score, "worst_words": list(self.worst_words), **compared,
                  "description": self.description, "warnings": list(self.warnings), "fov_deg": self.fov_deg,
                  "viewports": [list(map(_rounded, astuple(view))) for view in self.viewports],
                  "image_sha256": image_sha256, "model": self.model, **dict(zip(STAMP, stamp or (None, None), strict=True))}
        return {column: _rounded(values[column]) for column in columns(compared)}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Prediction:
        """Return the prediction that a row was made from."""
        try:
            interval = None if row["low"] is None else (row["low"], row["high"])
            views = tuple(View(*view) for view in row["viewports"])
            prediction = cls(row["score"], row["quality"], interval, row["level"], views, row["fov_deg"], row["description"],
                             tuple(row["warnings"]), row["model"], row.get("ceiling"), tuple(row.get("worst_words") or ()),
                             row.get("judged_px"), 1.0 if row.get("covered") is None else row["covered"], row.get("heading_deg"))
            wrong = misfits(prediction) or ["it has no views"] * (not views)
        except (LookupError, TypeError) as error:
            wrong = [str(error)]
        if wrong:
            raise UserError(f"the row of {row.get('image')} in a file of results is damaged ({wrong[0]}); remove that row, and "
                            "run the same command again")
        return prediction
