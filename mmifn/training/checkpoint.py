"""checkpoints/mmifn_best.pth: trained weights with all that is needed to use, judge and repeat them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmifn import __version__
from mmifn.core.artefact import load_torch, save_torch
from mmifn.core.errors import ArtefactError
from mmifn.core.schema import built
from mmifn.data.splits import Split
from mmifn.fusion.config import ModelConfig
from mmifn.fusion.inputs import Dimensions
from mmifn.fusion.model import MMIFN
from mmifn.training.configs import Config, TrainConfig
from mmifn.training.fit import Fit, MosScale
from mmifn.training.trial import Trial
from mmifn.training.tuning import TunedWeights

SCHEMA = "checkpoint/2"


@dataclass(frozen=True)
class Checkpoint:
    """A trained MMIFN.

    state: its parameters; dims: the inputs it was built for; split: scenes it learnt from, chose on, and never saw;
    scale: of the training MOS; method: how its features are made; database, digest: what it was trained on;
    mos_source: "human" or "simulated"; curve: loss and validation of every epoch; tuned: weights of encoders that were tuned
    with it, to be put into those that `method` tells of.
    """

    model: ModelConfig
    train: TrainConfig
    dims: Dimensions
    split: Split
    scale: MosScale
    epoch: int
    seed: int
    database: str
    digest: str
    method: dict[str, str]
    mos_source: str
    mos_scale: str
    curve: list[dict[str, float]]
    state: dict[str, Tensor]
    version: str = __version__
    tuned: TunedWeights | None = None

    @classmethod
    def of(cls, fit: Fit, trial: Trial, tuned: TunedWeights | None = None) -> Checkpoint:
        """Bundle what a trial came to."""
        state = {key: value.detach().cpu() for key, value in fit.network.state_dict().items()}
        database, config = trial.database, trial.config
        return cls(config.model, config.train, database.inputs.dimensions, trial.split, fit.scale, fit.epoch, trial.seed,
                   database.name, database.digest, database.method, database.manifest.mos_source, database.manifest.mos_scale,
                   fit.curve, state, tuned=tuned)

    @property
    def config(self) -> Config:
        """Return how it was made."""
        return Config(self.model, self.train, self.tuned.tuning if self.tuned else None)

    def network(self, device: torch.device) -> MMIFN:
        """Rebuild the network with its weights, in evaluation mode."""
        try:
            network = MMIFN(self.model, self.dims)
            network.load_state_dict(self.state)
        except (RuntimeError, ValueError, TypeError, ArithmeticError, AssertionError) as error:  # torch lists every parameter
            reason = " ".join(str(error).split())[:300]
            raise ArtefactError(f"the parameters of this checkpoint do not fit its own configuration ({reason}); "
                                "train again: python train.py") from error
        return network.eval().to(device)


def as_content(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return a checkpoint as plain dicts, lists, numbers and tensors, with its schema."""
    content: dict[str, Any] = {"schema": SCHEMA}
    for part in dataclasses.fields(checkpoint):
        value = getattr(checkpoint, part.name)
        if part.name == "tuned" and value is None:
            continue  # as files were before encoders could be tuned
        content[part.name] = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value
    return content


def from_content(content: Any, path: Path, hint: str) -> Checkpoint:
    """Rebuild a checkpoint from its content. Raises ArtefactError, ending with the hint, where it is of another kind."""
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else type(content).__name__
        raise ArtefactError(f"{path} is not a checkpoint of this version: found {found}, wanted {SCHEMA}{hint}")
    try:
        return built(Checkpoint, {key: value for key, value in content.items() if key != "schema"})
    except (TypeError, ValueError) as error:
        raise ArtefactError(f"{path} is not whole: {error}{hint}") from error


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint atomically as plain dicts, lists and tensors."""
    save_torch(as_content(checkpoint), path, durable=True)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint. Raises ArtefactError where it is missing, damaged or of another kind."""
    hint = "\nMake it: python train.py"
    try:
        content = load_torch(path)
    except ArtefactError as error:
        raise ArtefactError(f"{error}{hint}") from error
    return from_content(content, path, hint)


def require_method(checkpoint: Checkpoint, method: dict[str, str], owner: str, path: Path, remedy: str) -> None:
    """Refuse features that were made otherwise than those the checkpoint was trained on.

    method: cache name -> digest of how it is made; owner: whose features they are; remedy: what to do about it.
    """
    differ = [f"  {name}  file {checkpoint.method.get(name)}, run {digest}" for name, digest in method.items()
              if checkpoint.method.get(name) != digest]
    if differ:
        raise ArtefactError(f"{path} was trained on features of other encoders or settings than {owner}'s:\n"
                            + "\n".join(differ) + f"\n{remedy}")
