"""LaTeX of tables: parsed by hand here, compiled where TeX is installed."""

import re
import shutil
import subprocess

import pytest

from mmifn.report.latex import escaped
from mmifn.report.tables import Table, write_tables

NASTY = "a_b & 90 % of {x} ~ ^2 #1 $5 \\n <3 → 40° ± .2 – ok"


def table():
    return Table(f"Table I. {NASTY}", ["method", "PLCC", "p_Holm"],
                 [["full", ".979 ± .011", "–"], None, [NASTY, "-.005", ".064"]], [f"Note: {NASTY}", "twice", "twice"])


def test_every_special_character_is_written_out():
    text = escaped(NASTY)
    assert text == (r"a\_b \& 90 \% of \{x\} \textasciitilde{} \textasciicircum{}2 \#1 \$5 \textbackslash{}n \textless{}3 "
                    r"$\rightarrow$ 40$^\circ$ $\pm$ .2 -- ok")


def test_the_tables_cells_are_those_of_the_text(tmp_path):
    write_tables([table(), table()], tmp_path / "t.txt")
    text = (tmp_path / "t.tex").read_text(encoding="utf-8")
    assert text.isascii() and text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    first = text[: text.index(r"\end{table}")]
    inside = first[first.index(r"\toprule"): first.index(r"\bottomrule")]
    rows = [re.split(r"(?<!\\)&", line.strip().removesuffix(r"\\")) for line in inside.splitlines() if line.endswith(r"\\")]
    assert [len(row) for row in rows] == [3, 3, 3] and r"\begin{tabular}{lrr}" in first
    assert [cell.strip() for cell in rows[1]] == ["full", r".979 $\pm$ .011", "--"]
    assert inside.count(r"\midrule") == 2 and first.count("twice") == 1
    bare = re.sub(r"\\[{}]", "", first)
    assert bare.count("{") == bare.count("}")
    assert len(re.findall(r"(?<!\\)\$", first)) % 2 == 0


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX here")
def test_it_compiles(tmp_path):
    write_tables([table()], tmp_path / "t.txt")
    (tmp_path / "main.tex").write_text("\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs}"
                                       "\\begin{document}\\input{t.tex}\\end{document}")
    subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"], cwd=tmp_path, check=True,
                   capture_output=True)
