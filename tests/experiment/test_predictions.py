"""Stored predictions are whole: every database says where its labels come from, every run what it was."""

import dataclasses

import numpy as np
import pytest
from made_predictions import evaluated

GOOD = evaluated("OIQA", "CVIQ")


@pytest.mark.parametrize("unlabelled", [("OIQA",), ("CVIQ",), ("CVIQ", "OIQA")])
def test_a_database_without_the_origin_of_its_labels_is_refused(unlabelled):
    labels = {name: origin for name, origin in GOOD.labels.items() if name not in unlabelled}
    with pytest.raises(ValueError, match=f"^no origin of the labels of {', '.join(unlabelled)}$"):
        dataclasses.replace(GOOD, labels=labels)


def test_an_origin_of_a_database_that_is_not_there_does_no_harm():
    assert dataclasses.replace(GOOD, labels=GOOD.labels | {"MINE": "human"}).split_by == "reference"


@pytest.mark.parametrize("missing", ["split", "epoch", "curve", "seed", "source", "variant", "control"])
def test_a_run_that_does_not_say_what_it_was_is_refused(missing):
    runs = [*GOOD.runs[:-1], {key: value for key, value in GOOD.runs[-1].items() if key != missing}]
    with pytest.raises(ValueError, match="runs without"):
        dataclasses.replace(GOOD, runs=runs)
    with pytest.raises(ValueError, match="runs without"):
        dataclasses.replace(GOOD, runs=[])


@pytest.mark.parametrize("column", ["mos", "score"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused(column, value):
    rows = GOOD.rows.copy()
    rows.loc[len(rows) - 1, column] = value
    with pytest.raises(ValueError, match="not finite"):
        dataclasses.replace(GOOD, rows=rows)
