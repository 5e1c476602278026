"""One training, told whole: what is learnt from, what is trained and how, and by which seed."""

from __future__ import annotations

from dataclasses import dataclass

from mmifn.data.splits import Split, make_split, whole_database_split
from mmifn.fusion.inputs import Database
from mmifn.training.configs import Config


@dataclass(frozen=True)
class Trial:
    """A database, a split of its scenes, a configuration, and the seed of weights, batches and dropout."""

    database: Database
    split: Split
    config: Config
    seed: int

    @classmethod
    def drawn(cls, database: Database, unit: str, config: Config, seed: int, whole: bool = False) -> Trial:
        """Draw the split by the seed of the training, as all scripts do; unit: "reference" or "image"; whole: none is tested."""
        draw = whole_database_split if whole else make_split
        split = draw(database.manifest.scenes(unit), seed, dataset=database.name, unit=unit)
        return cls(database, split, config, seed)

    def rows(self, side: str) -> list[int]:
        """Return the indices of the images on a side of the split: train, val or test."""
        return self.split.rows(self.database.manifest.scenes(self.split.unit), side)
