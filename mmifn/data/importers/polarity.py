"""Which way round the scores of a database are, looked at and never assumed, and bringing them to 0-100, higher is better."""

from __future__ import annotations

from dataclasses import replace

from scipy import stats

from mmifn.core.errors import UserError
from mmifn.data.importers.database import Database
from mmifn.data.importers.scores import Score

_CLEAR = 0.2  # Spearman correlation of score and severity that tells


def as_quality(database: Database, scores: dict[str, Score]) -> tuple[dict[str, Score], list[str]]:
    """Return scores on 0-100 where higher is better, and remarks on what was done.

    The polarity is that of the score against the severity that file names tell; scales are brought to 0-100 linearly, which
    changes no correlation. Raises UserError where scores do not follow severity, or lie off the scale that people judged on.
    """
    low, high = database.judged or (0.0, 100.0)
    off = [key for key, line in scores.items() if not low <= line.mos <= high]
    if off:
        raise UserError(f"{database.name}: {len(off)} scores are off the scale {low:g}-{high:g} that people judged on, such as "
                        f"{scores[off[0]].mos:g} of {off[0]}")
    notes, worse = [], False
    known = [(line.mos, severity) for key, line in scores.items() if database.severity
             and (severity := database.severity(key)) is not None]
    if known:
        rho = float(stats.spearmanr([mos for mos, _ in known], [severity for _, severity in known]).statistic)
        if not abs(rho) >= _CLEAR:
            raise UserError(f"{database.name}: scores do not follow severity (SRCC {rho:.2f}), so nothing tells whether higher "
                            "is better; are they labels of these files?")
        worse = rho > 0
        direction = "WORSE, turned round" if worse else "better"
        notes.append(f"polarity: higher is {direction} (SRCC of score and severity {rho:+.2f})")

    def quality(value: float) -> float:
        part = (value - low) / (high - low)
        return 100 * (1 - part if worse else part)

    if database.judged:
        notes.append(f"scale: {low:g}-{high:g}, brought to 0-100 linearly")
    if worse or database.judged:
        scores = {key: replace(line, mos=quality(line.mos)) for key, line in scores.items()}
    return scores, notes
