"""The stages are numbered in one place; docstrings, first lines and the pipeline follow it."""

import ast
import re

import pytest
from conftest import ROOT

from mmifn.cli.stages import STAGES, heading


@pytest.mark.parametrize("script", STAGES)
def test_a_stage_says_its_number_at_the_top(script):
    text = (ROOT / f"{script}.py").read_text(encoding="utf-8")
    number = STAGES.index(script) + 1
    assert ast.get_docstring(ast.parse(text)).startswith(f"Stage {number} of {len(STAGES)}: ")
    assert heading(script) == f"[{number}/10] {script}"
    assert not re.search(r"\[\d+/\d+\]", text), "a first line numbers itself: heading() does"


def test_another_script_has_no_number():
    with pytest.raises(ValueError):
        heading("predict")
