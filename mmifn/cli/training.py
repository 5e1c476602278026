"""What train.py does: train jointly, tune the encoders where that is asked for, and hand on the features to be scored."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from mmifn.data.workspace import Workspace
from mmifn.fusion.inputs import Database
from mmifn.training.branches import train_jointly, with_progress
from mmifn.training.fit import Fit
from mmifn.training.trial import Trial
from mmifn.training.tuning import TunedWeights, tune


@dataclass(frozen=True)
class Trained:
    """What train.py made: the fit, tuned weights where encoders were tuned, and trial and targets with their features."""

    fit: Fit
    tuned: TunedWeights | None
    trial: Trial
    targets: list[Database]


def train_and_tune(space: Workspace, trial: Trial, targets: list[Database], device: torch.device) -> Trained:
    """Train from the branch caches and, where the configuration says so, tune the encoders afterwards, with progress."""
    fit = train_jointly(space, trial, device)
    if not trial.config.tuning:
        return Trained(fit, None, trial, targets)
    bar, tick = with_progress(f"encoders {trial.database.name}", trial.config.tuning.epochs)
    with bar:
        fit, encoders, tuned = tune(fit, trial, device, space.checkpoint.with_suffix(".tuning"), tick)
    own, *others = [encoders.database(database) for database in [trial.database, *targets]]
    return Trained(fit, tuned, replace(trial, database=own), others)
