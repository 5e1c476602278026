"""What predictions say once all runs are in: the agreement of every run, and the images worth looking at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mmifn.experiment.predictions import RUN
from mmifn.metrics import agreement
from mmifn.report.evaluation import MIN_PER_TYPE

MEASURED_SIDES = ("test", "target")


def run_agreements(rows: pd.DataFrame) -> pd.DataFrame:
    """Measure every run on its test scenes, and on the whole of any other database, as Tables I-IV do.

    rows: of mmifn.experiment.predictions. Returns RUN, dataset, images, plcc, srcc, rmse; sets too small for a
    correlation are left out.
    """
    agreements = []
    for keys, group in rows[rows["side"].isin(MEASURED_SIDES)].groupby([*RUN, "dataset"], sort=False):
        if len(group) >= MIN_PER_TYPE:
            figures = agreement(group["score"].to_numpy(), group["mos"].to_numpy())
            agreements.append((*keys, figures.images, figures.plcc, figures.srcc, figures.rmse))
    return pd.DataFrame(agreements, columns=[*RUN, "dataset", "images", "plcc", "srcc", "rmse"])


@dataclass(frozen=True)
class Example:
    """One image with the scores of the runs that had it on their test side, in the order of their seeds."""

    dataset: str
    image_name: str
    distortion_type: str
    mos: float
    scores: tuple[float, ...]

    @property
    def score(self) -> float:
        """Mean of the scores."""
        return float(np.mean(self.scores))

    @property
    def error(self) -> float:
        """Mean predicted score minus MOS: positive where the image is taken for better than it is."""
        return self.score - self.mos

    @property
    def spread(self) -> float:
        """Sample SD of the scores over splits; 0 for a single one."""
        return float(np.std(self.scores, ddof=1)) if len(self.scores) > 1 else 0.0


def examples_tested(rows: pd.DataFrame, dataset: str) -> list[Example]:
    """Return the images of a database that any run of its own had on its test side, in order of name."""
    mine = rows[(rows["dataset"] == dataset) & (rows["side"] == "test")].sort_values(["image_name", "seed"])
    return [Example(dataset, name, group["distortion_type"].iloc[0], float(group["mos"].iloc[0]), tuple(group["score"]))
            for name, group in mine.groupby("image_name")]


def pick_examples(examples: list[Example], count: int) -> dict[str, list[Example]]:
    """Return the `count` best predicted, worst predicted and most disputed (scored in two splits or more) images.

    Of equals the first come first.
    """
    best, worst = (sorted(examples, key=lambda example, sign=sign: sign * abs(example.error)) for sign in (1, -1))
    disputed = sorted((example for example in examples if len(example.scores) > 1), key=lambda example: -example.spread)
    return {"Best predicted": best[:count], "Worst predicted": worst[:count], "Most disputed": disputed[:count]}
