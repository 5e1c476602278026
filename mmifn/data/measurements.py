"""Values measured on the images of a database, kept on disk: nothing is measured twice, and a killed run goes on.

features/<DS>/full_reference.pt and statistics.pt hold one row per image, found again by the hashes of the files that it
was measured on, with every value that was ever asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from mmifn.core.artefact import Artefact, Provenance
from mmifn.core.errors import ArtefactError
from mmifn.core.progress import Progress
from mmifn.core.resumable import Row, RowStore
from mmifn.core.schema import shaped
from mmifn.core.workers import run_tasks

_IMAGES_A_JOB = 8  # a job reads its reference once, and what it measured is kept when it ends


@dataclass(frozen=True)
class Measurements(Artefact):
    """Measured values (N, K) float64, column k named columns[k]; row i belongs to names[i]."""

    SCHEMA: ClassVar[str] = "measurements/1"  # bump when a metric or a statistic of the same image becomes another number
    STAGE: ClassVar[str] = "evaluate.py"
    values: Tensor = field(metadata=shaped("N K"))
    columns: list[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.columns) != self.values.shape[1] or len(set(self.columns)) != len(self.columns):
            raise ArtefactError(f"{self.SCHEMA}: {self.values.shape[1]} columns of values, named {', '.join(self.columns)}")

    def only(self, columns: list[str]) -> Measurements:
        """Return some of the columns, in the order given."""
        return replace(self, values=self.values[:, [self.columns.index(column) for column in columns]], columns=columns)

    def rows(self) -> list[Row]:
        """Return each image's values by column."""
        return [dict(zip(self.columns, values.unbind(), strict=True)) for values in self.values]


def parts(names: list[str]) -> list[list[str]]:
    """Cut the images of a scene, or of a database, into what one job measures."""
    return [names[i:i + _IMAGES_A_JOB] for i in range(0, len(names), _IMAGES_A_JOB)]


def collect(cache: Path, dataset: str, made_by: Provenance, columns: list[str],
            jobs: Callable[[dict[str, tuple[str, ...]]], list[Any]],
            function: Callable[[Any], dict[str, dict[str, float]]], workers: int) -> Measurements:
    """Measure what is not known yet, with progress, keeping every finished job, and write the whole; return `columns`.

    jobs: image name -> columns that it lacks, to jobs; function: a job -> image name -> column -> value.
    """
    store = RowStore(cache, Measurements, made_by, Measurements.rows)
    names = list(made_by.inputs)
    lacking = {name: tuple(column for column in columns if column not in store.rows.get(name, {})) for name in names}
    todo = {name: lacks for name, lacks in lacking.items() if lacks}
    with Progress(total=len(names), initial=len(names) - len(todo), desc=f"{cache.stem.replace('_', ' ')} {dataset}",
              unit="image") as progress:
        for _, measured in run_tasks(function, jobs(todo), workers, preload=function.__module__):
            for name, values in measured.items():
                row = {column: torch.tensor(value, dtype=torch.float64) for column, value in values.items()}
                store.put(name, store.rows.get(name, {}) | row)
            progress.update(len(measured))
    rows = [store.rows[name] for name in names]
    kept = [*columns, *(column for column in rows[0] if column not in columns and all(column in row for row in rows))]
    values = torch.stack([torch.stack([row[column] for column in kept]) for row in rows])
    result = Measurements(dataset, names, made_by, values, kept)
    store.finish(result)
    return result.only(columns)
