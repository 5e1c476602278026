"""Named configurations of model and training."""

from __future__ import annotations

from dataclasses import dataclass

from mmifn.fusion.model import ModelConfig
from mmifn.training.fit import TrainConfig


@dataclass(frozen=True)
class Config:
    """A model with the way it is trained."""

    model: ModelConfig
    train: TrainConfig


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
