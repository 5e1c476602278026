r"""Tables as LaTeX, for papers: booktabs, notes below, every character escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ESCAPED = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
            "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
            "±": r"$\pm$", "→": r"$\rightarrow$", "×": r"$\times$", "°": r"$^\circ$", "²": r"$^2$", "–": "--", "…": r"\dots{}",
            "≤": r"$\leq$", "≥": r"$\geq$", "−": "$-$", "σ": r"$\sigma$"}
_SPECIAL = re.compile("|".join(map(re.escape, _ESCAPED)))
PREAMBLE = "% needs \\usepackage{booktabs}, and with pdflatex \\usepackage[T1]{fontenc}\n"


def escaped(text: str) -> str:
    """Return text with every character that LaTeX would read as a command written out."""
    return _SPECIAL.sub(lambda match: _ESCAPED[match[0]], text)


def latex_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str] | None], notes: Sequence[str]) -> str:
    """Return a table environment: first column to the left, the others to the right; a row of None is a rule."""
    def line(row: Sequence[str]) -> str:
        return "    " + " & ".join(map(escaped, row)) + r" \\"

    body = [r"    \midrule" if row is None else line(row) for row in rows]
    below = [rf"  \par\footnotesize {escaped(note)}" for note in dict.fromkeys(notes)]
    return "\n".join([
        r"\begin{table}", r"  \centering", rf"  \caption{{{escaped(title)}}}",
        rf"  \begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}", r"    \toprule", line(columns), r"    \midrule", *body,
        r"    \bottomrule", r"  \end{tabular}", *below, r"\end{table}", ""])
