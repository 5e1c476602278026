"""Texts that a spreadsheet would run are written as text and come back exactly; numbers stay numbers."""

import csv
import io

import pandas as pd
import pytest

from mmifn.core.csv_cells import neutral, neutral_frame, original

FORMULAS = ['=HYPERLINK("http://example.org","x")', "+1 step", "-blurry-", "@home", "\tx", "\rx", "\nx", "=", "-", "＝A1",
            "+49-30-1", "-1+cmd|' /C calc'!A0"]
PLAIN = ["", "a", " =x", "'", "'quoted'", "''", "1e5", "-5", "+.5", "-1.25e-3", "-0.123 ± 0.045", "0-100", "模糊", "–",
         "[0.1, 0.2]"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_text(text):
    assert neutral(text) == f"'{text}" and original(neutral(text)) == text
    for apostrophes in ("'", "''"):  # a text that looks like a written one
        assert original(neutral(apostrophes + text)) == apostrophes + text


@pytest.mark.parametrize("text", PLAIN)
def test_other_texts_and_numbers_stay(text):
    assert neutral(text) == original(text) == text


def test_a_frame_keeps_its_numbers_and_types():
    table = pd.DataFrame({"name": ["=a", "b"], "score": [-1.5, 2.0], "count": [-1, 2]}, index=["@x", "y"])
    written = neutral_frame(table)
    assert written["name"].tolist() == ["'=a", "b"] and written.index.tolist() == ["'@x", "y"]
    assert written["score"].equals(table["score"].set_axis(written.index)) and written["count"].tolist() == [-1, 2]
    cells = list(csv.reader(io.StringIO(written.to_csv())))
    assert cells[1] == ["'@x", "'=a", "-1.5", "-1"] and table["name"].tolist() == ["=a", "b"]
