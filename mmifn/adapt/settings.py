"""How encoders are adapted and taught by people: what flags show, apart from what computes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mmifn.core.errors import UserError


def require_schedule(epochs: int, learning_rate: float) -> None:
    """Refuse a training that would not move, or by a learning rate that is none."""
    if epochs < 1:
        raise UserError(f"--epochs {epochs}: at least 1 is needed")
    require_rate(learning_rate)


def require_rate(learning_rate: float) -> None:
    """Refuse what is no learning rate."""
    if not 0 < learning_rate < math.inf:
        raise UserError(f"--learning-rate {learning_rate}: wanted a number above 0")


@dataclass(frozen=True)
class Making:
    """How many distorted versions of each scene (ten views of each), and the seed."""

    versions: int = 48
    seed: int = 0

    def __post_init__(self) -> None:
        if self.versions < 1:
            raise UserError(f"--versions {self.versions}: at least 1 is needed")
        if self.seed < 0:
            raise UserError(f"--seed {self.seed}: wanted 0 or more")


# Side of a patch: regions of a part that give such patches, patches that each gives.
SIDES = {64: (6, 16), 96: (16, 10), 128: (10, 8), 160: (4, 5), 224: (4, 3)}
PATCHES_A_PICTURE = sum(regions * patches for regions, patches in SIDES.values())


@dataclass(frozen=True)
class Patching:
    """Which patches are made for a network that learns from a teacher: how many parts, and the seed."""

    parts: int = 13
    seed: int = 0

    def __post_init__(self) -> None:
        if self.parts < 1:
            raise UserError(f"--parts {self.parts}: at least 1 is needed")
        if self.seed < 0:
            raise UserError(f"--seed {self.seed}: wanted 0 or more")


@dataclass(frozen=True)
class PeopleConfig:
    """How the encoder is taught; ladder_weight 0 leaves the panoramas out."""

    epochs: int = 6
    learning_rate: float = 1e-4
    batch_size: int = 12
    ladder_weight: float = 0.3
    correlation_weight: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise UserError(f"--epochs {self.epochs}: wanted 0 (the ridge alone) or more")
        require_rate(self.learning_rate)
