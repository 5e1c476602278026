"""Every method by distortion type, with KRCC: what stands behind one overall figure of a baseline or a variant."""

from __future__ import annotations

from collections.abc import Mapping

from mmifn.experiment.runs import Outcome
from mmifn.fusion.inputs import Database
from mmifn.report.evaluation import agreement_on_test, types_in_order
from mmifn.report.tables import Table, mean_sd


def per_type_table(title: str, database: Database, methods: Mapping[str, list[Outcome]], logistic: int = 4) -> Table:
    """Build a table of one row per method and distortion type, and one per method overall; mean ± SD over runs.

    methods: name in print -> its outcomes, all on the same splits. Types with too few test images are left out.
    """
    table = Table(title, ["method", "images", "PLCC", "SRCC", "KRCC", "RMSE"])
    for name, outcomes in methods.items():
        table.rows += [None] if table.rows else []
        for kind in [*types_in_order(database.manifest.types), None]:
            figures = [figure for outcome in outcomes if (figure := agreement_on_test(outcome, database, kind, logistic))]
            if figures:
                table.rows.append([name, kind or "overall", *[mean_sd([getattr(figure, part) for figure in figures], digits)
                                                              for part, digits in (("plcc", 3), ("srcc", 3), ("krcc", 3),
                                                                                   ("rmse", 2))]])
    table.notes = ["As the table before, by distortion type; PLCC and RMSE after a logistic fit of the images of that row."]
    return table
