"""Named configurations: a model with the way it is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mmifn.core.errors import UserError
from mmifn.encoders.extent import ALL, LORA, blocks_wished
from mmifn.fusion.config import ModelConfig

LOSSES = ("mse", "mse+plcc")  # computed in training.fit, as are the schedules
SCHEDULES = ("constant", "cosine")  # of the learning rate


@dataclass(frozen=True)
class TrainConfig:
    """How a model is fitted. AdaMax, 1e-3, MSE and 100 epochs are the paper's; batch size and decay are not given.

    branch_epochs: epochs for which GFF and LFF are first fitted alone (0: from scratch);
    freeze_branches: then train AFM and the head only; last_epoch: keep the last one, whatever the validation scenes say.
    """

    epochs: int = 100
    branch_epochs: int = 30
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    batch_size: int = 32
    loss: str = "mse"
    schedule: str = "constant"
    freeze_branches: bool = False
    last_epoch: bool = False

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("branch_epochs", 0), ("batch_size", 1)):
            if getattr(self, name) < low:
                raise UserError(f"--{name.replace('_', '-')} must be at least {low}, got {getattr(self, name)}")
        if self.freeze_branches and not self.branch_epochs:
            raise UserError("frozen branches must have been fitted: --freeze-branches does not go with --from-scratch")
        if not 0 < self.learning_rate < math.inf:
            raise UserError(f"--learning-rate must be positive, got {self.learning_rate}")
        if not 0 <= self.weight_decay < math.inf:
            raise UserError(f"--weight-decay must not be negative, got {self.weight_decay}")
        if self.loss != "mse" and self.batch_size < 2:
            raise UserError(f"--loss {self.loss} correlates the scores of a batch: --batch-size must be at least 2")


@dataclass(frozen=True)
class Tuning:
    """How the encoders of views and of the whole are tuned after the training, with the fusion, from pixels (not in the paper).

    what: "lora", "last-N" or "all"; rate: learning rate of the encoders, None for RATES of `what`; rank: of LoRA's updates;
    images: panoramas a step. Weights lie in files of the user's (view_weights, erp_weights) or where the stages find them.
    """

    what: str
    epochs: int = 10
    rate: float | None = None
    rank: int = 8
    images: int = 4
    view_weights: str | None = None
    erp_weights: str | None = None

    def __post_init__(self) -> None:
        blocks_wished(self.what)
        for flag, value in (("--tune-epochs", self.epochs), ("--lora-rank", self.rank), ("--tune-images", self.images)):
            if value < 1:
                raise UserError(f"{flag} must be at least 1, got {value}")
        if not 0 < self.learning_rate < math.inf:
            raise UserError(f"--tune-rate must be positive, got {self.rate}")

    @property
    def learning_rate(self) -> float:
        """Return the learning rate of the encoders."""
        return self.rate if self.rate is not None else RATES.get(self.what, RATES[ALL])

    def words(self) -> str:
        """Say how the encoders were tuned."""
        ways = {LORA: f"LoRA of rank {self.rank}", ALL: "all weights"}
        what = ways.get(self.what, f"the last {blocks_wished(self.what)} blocks")
        return (f"encoders tuned end to end ({what}, {self.epochs} epochs of {self.images} panoramas a step, AdamW "
                f"{self.learning_rate:g})")


RATES = {LORA: 1e-4, ALL: 1e-5}  # and of the last blocks as of all


@dataclass(frozen=True)
class Config:
    """A model with the way it is trained; tuning: and how its encoders are tuned, None where they stay as they are."""

    model: ModelConfig
    train: TrainConfig
    tuning: Tuning | None = None


CONFIGS: dict[str, Config] = {
    # Eq. 13-19 to the letter, GFF as wide as its features, AdaMax 1e-3, MSE, 100 epochs.
    "paper": Config(ModelConfig(lit_hidden=768, width=768, lit_residual=False, afm_residual=False), TrainConfig()),
    # Narrow enough for a CPU; LIT and AFM keep what they read, text is sometimes hidden (docs/experiments.md).
    "compact": Config(ModelConfig(level_widths=(48, 64, 96), lit_hidden=96, width=96, heads=4, text_dropout=0.5),
                      TrainConfig(epochs=20, branch_epochs=6, schedule="cosine")),
    # Eq. 13-19 to the letter, AdaMax and MSE at a constant rate, as narrow and as short as "compact".
    "letter": Config(ModelConfig(level_widths=(48, 64, 96), lit_hidden=96, width=96, heads=4, lit_residual=False,
                                 afm_residual=False), TrainConfig(epochs=20, branch_epochs=6)),
}
