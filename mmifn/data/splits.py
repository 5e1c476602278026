"""Splits by reference scene: 12 train / 1 validation / 3 test of 16, scaled for other counts, seeded and stored."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmifn.core.errors import UserError

SIDES = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """Scenes on each side; `unit` says what a scene is ("reference" or "image"), `seed` how the split was drawn."""

    seed: int
    unit: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        sides = [set(self.train), set(self.val), set(self.test)]
        if sum(map(len, sides)) != len(set().union(*sides)):
            raise ValueError("a scene stands on two sides of a split")
        if not self.train or not self.val:
            raise ValueError("a split needs training and validation scenes")

    def rows(self, scenes: list[str], side: str) -> list[int]:
        """Return the indices of the images whose scene is on a side (train, val, test)."""
        wanted = set(getattr(self, side))
        return [i for i, scene in enumerate(scenes) if scene in wanted]

    def as_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, for storage beside results."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(self).items()}


def side_counts(scenes: int) -> tuple[int, int, int]:
    """Return how many of `scenes` train, validate and test: 12/1/3 of 16 in proportion, at least one each."""
    test = max(1, round(scenes * 3 / 16))
    val = max(1, round(scenes / 16))
    return scenes - test - val, val, test


def _ordered(scenes: list[str], dataset: str, needed: int) -> list[str]:
    unique = sorted(set(scenes))
    if len(unique) < needed:
        raise UserError(f"{dataset} has {len(unique)} scene(s); a split into training, validation and test scenes needs "
                        f"at least {needed}")
    return unique


def make_split(scenes: list[str], seed: int, *, dataset: str = "the database", unit: str = "reference") -> Split:
    """Draw one split of the distinct `scenes`, depending only on their names and the seed."""
    unique = _ordered(scenes, dataset, 3)
    order = [unique[i] for i in np.random.default_rng([2026, seed]).permutation(len(unique))]
    train, val, _ = side_counts(len(unique))
    return Split(seed, unit, tuple(sorted(order[:train])), tuple(sorted(order[train:train + val])),
                 tuple(sorted(order[train + val:])))


def published_split(scenes: list[str], seed: int, *, dataset: str = "the database", unit: str = "reference") -> Split:
    """Return the field's habit, for comparison only: the test scenes of make_split's split stand on the side `val`, where
    they choose the epoch, and all other scenes train. No scene is left to test on.
    """
    honest = make_split(scenes, seed, dataset=dataset, unit=unit)
    return Split(seed, unit, tuple(sorted(honest.train + honest.val)), honest.test, ())


def make_splits(scenes: list[str], count: int, *, dataset: str = "the database", unit: str = "reference") -> list[Split]:
    """Return the splits of seeds 0 … count - 1."""
    if count < 1:
        raise UserError(f"--splits must be at least 1, got {count}")
    return [make_split(scenes, seed, dataset=dataset, unit=unit) for seed in range(count)]


def whole_database_split(scenes: list[str], seed: int, *, dataset: str = "the database", unit: str = "reference") -> Split:
    """Return a split without test scenes, for training on a whole source database: one part validates, the rest train."""
    unique = _ordered(scenes, dataset, 2)
    order = [unique[i] for i in np.random.default_rng([2026, seed]).permutation(len(unique))]
    val = side_counts(len(unique))[1]
    return Split(seed, unit, tuple(sorted(order[val:])), tuple(sorted(order[:val])), ())
