"""Tune the encoders of views and of the whole end to end with the fusion, from pixels, on the training scenes of one split.

Starts from a model that was fitted on frozen features. A step reads a few panoramas (decoded ahead in threads), embeds their
views and wholes with gradients (recomputing activations, so that memory holds those of a few views), and moves encoders and
fusion together. The validation scenes choose the epoch, that before the first included. On CUDA in mixed precision.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmifn.core.artefact import load_torch, save_torch, sha256_tensors
from mmifn.core.errors import ArtefactError, UserError
from mmifn.core.files import sha256_json
from mmifn.core.resumable import read_ahead
from mmifn.encoders.encode import embed_erp, embed_views, readers_of
from mmifn.encoders.encoder import Encoder
from mmifn.encoders.pictures import Pictures, Seen, open_encoders, open_pictures
from mmifn.encoders.tunable import leave_idle, make_tunable, put_in_place, tuned_state
from mmifn.fusion.inputs import Database, Inputs
from mmifn.metrics import selection_quality
from mmifn.training.configs import Tuning
from mmifn.training.fit import LOSSES, SCHEDULES, Fit, Tick, image_scores, seeded
from mmifn.training.trial import Trial

VIEWS_AT_ONCE = 20  # whose activations lie in memory together
FUSION_SHARE = 0.1  # of the fusion's own learning rate, since it is fitted already


@dataclass(frozen=True)
class TunedWeights:
    """What tuning changed, for a checkpoint: parameters by name, to be put beside the weights of encoders loaded anew."""

    tuning: Tuning
    views: dict[str, Tensor]
    whole: dict[str, Tensor]

    def digest(self) -> str:
        """Identify the tuned weights."""
        return sha256_tensors({f"{part} {key}": value for part, state in (("views", self.views), ("whole", self.whole))
                               for key, value in state.items()})

    def into(self, views: Encoder, whole: Encoder) -> None:
        """Put the tuned parameters into encoders as they were loaded. Raises ArtefactError where they do not fit."""
        for encoder, state in ((views, self.views), (whole, self.whole)):
            make_tunable(encoder.network, encoder.name, self.tuning.what, self.tuning.rank)
            put_in_place(encoder.network, encoder.name, state)
            encoder.network.requires_grad_(False)


@dataclass(frozen=True)
class EndToEnd:
    """The two encoders while they are tuned."""

    views: Encoder
    whole: Encoder

    def inputs(self, seen: list[Seen], told: Inputs) -> Inputs:
        """Embed panoramas with gradients; told: the inputs of the same panoramas, whose text is kept."""
        device = self.views.device
        scales = []
        for pictures in zip(*(one.views for one in seen), strict=True):
            parts = torch.cat(pictures).float().div(255).split(VIEWS_AT_ONCE)
            embedded = torch.cat([_recomputed(self.views.differentiable, part) for part in parts])
            scales.append(embedded.float().unflatten(0, (len(seen), -1)))
        known = torch.stack([one.known for one in seen]).to(device)
        levels = zip(*(_recomputed(self.whole.differentiable, one.erp[None].float() / 255) for one in seen), strict=True)
        return replace(told.to(device), views=torch.cat([*scales, known], dim=2),
                       levels=tuple(torch.cat(level).float() for level in levels))

    def embedded(self, database: Database, pictures: Pictures, rows: list[int]) -> Inputs:
        """Return the inputs of some rows as caches of these encoders would hold them."""
        views, levels = [], []
        for i, seen in _ahead(pictures, rows, self.views.device):
            floats = [scale.float() / 255 for scale in seen.views]
            views.append(embed_views(floats, seen.known, self.views, pictures.names[i]))
            levels.append(embed_erp(seen.erp.float() / 255, self.whole, pictures.names[i]))
        told = database.inputs[rows]
        return Inputs.of(told.text, told.mask, told.pooled, torch.stack(views),
                         [torch.stack(part) for part in zip(*levels, strict=True)])

    def database(self, database: Database) -> Database:
        """Return a database with the features of these encoders in place of those of its caches."""
        pictures = open_pictures(database.space, database.manifest)
        return replace(database, inputs=self.embedded(database, pictures, list(range(len(database.manifest)))))

    def states(self) -> dict[str, dict[str, Tensor]]:
        return {"views": tuned_state(self.views.network), "whole": tuned_state(self.whole.network)}

    def restore(self, states: dict[str, dict[str, Tensor]]) -> None:
        """Put tuned parameters back."""
        for encoder, name in ((self.views, "views"), (self.whole, "whole")):
            put_in_place(encoder.network, encoder.name, states[name])

    def parameters(self) -> list[torch.nn.Parameter]:
        """Return what is tuned."""
        return [value for encoder in (self.views, self.whole) for value in encoder.network.parameters() if value.requires_grad]


def _recomputed(run: Callable[[Tensor], Any], images: Tensor) -> Any:
    return checkpoint(run, images, use_reentrant=False)


def _ahead(pictures: Pictures, rows: list[int], device: torch.device) -> Iterator[tuple[int, Seen]]:
    for i, seen in read_ahead(pictures.__getitem__, rows, readers_of(device)):
        if isinstance(seen, UserError):
            raise seen
        yield i, seen


def opened(database: Database, tuned: TunedWeights, device: torch.device) -> EndToEnd:
    """Load the encoders of a database's caches with tuned weights in place."""
    tuning = tuned.tuning
    encoders = open_encoders(database.space, database.name, device, _path(tuning.view_weights), _path(tuning.erp_weights))
    tuned.into(*encoders)
    return EndToEnd(*encoders)


def _path(name: str | None) -> Path | None:
    return Path(name) if name else None


def tune(fit: Fit, trial: Trial, device: torch.device, journal: Path | None = None,
         tick: Tick | None = None) -> tuple[Fit, EndToEnd, TunedWeights]:
    """Tune the encoders of a trial's database with a fitted fusion; return both at the best epoch, and what was tuned.

    journal: where the state after every epoch is kept until the end, so that a run that was stopped goes on from there.
    The curve goes on after the fit's, and so does the count of its epochs.
    """
    tuning, database = trial.config.tuning, trial.database
    pictures = open_pictures(database.space, database.manifest)
    with seeded("low rank", trial.seed):
        encoders = _tunable(trial, pictures, device)
    session = _Session(fit, trial, encoders, pictures, device)
    session.begin(journal)
    while session.epoch < tuning.epochs:
        session.run_epoch()
        if journal:
            save_torch(session.state(), journal)
        if tick:
            tick(session.curve[-1])
    session.finish()
    if journal:
        journal.unlink(missing_ok=True)
    states = encoders.states()
    result = Fit(fit.network, fit.scale, fit.epoch + session.best_epoch, fit.curve + session.curve)
    return result, encoders, TunedWeights(tuning, states["views"], states["whole"])


def _tunable(trial: Trial, pictures: Pictures, device: torch.device) -> EndToEnd:
    """Load the encoders and let gradients reach what is to be tuned and has a say."""
    tuning, database = trial.config.tuning, trial.database
    encoders = EndToEnd(*open_encoders(database.space, database.name, device, _path(tuning.view_weights),
                                       _path(tuning.erp_weights)))
    seen = pictures[trial.rows("train")[0]]
    for encoder in (encoders.views, encoders.whole):
        make_tunable(encoder.network, encoder.name, tuning.what, tuning.rank)
    leave_idle(encoders.views.network, lambda: [encoders.views.differentiable(scale[:1].float() / 255) for scale in seen.views])
    leave_idle(encoders.whole.network, lambda: encoders.whole.differentiable(seen.erp[None].float() / 255))
    return encoders


class _Session:
    """One tuning: what moves, how far it is, and the best so far."""

    def __init__(self, fit: Fit, trial: Trial, encoders: EndToEnd, pictures: Pictures, device: torch.device) -> None:
        self.fit, self.trial, self.encoders, self.pictures, self.device = fit, trial, encoders, pictures, device
        self.network = fit.network.to(device).requires_grad_(True)
        config = trial.config
        groups = [{"params": encoders.parameters(), "lr": config.tuning.learning_rate},
                  {"params": list(self.network.parameters()), "lr": FUSION_SHARE * config.train.learning_rate}]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=config.train.weight_decay)
        self.rates = [group["lr"] for group in groups]
        self.scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
        self.epoch, self.best_epoch, self.curve = 0, 0, []
        self.best, self.best_quality = {}, -float("inf")

    @property
    def key(self) -> str:
        """Identify what this session would come to."""
        trial = self.trial
        return sha256_json([trial.database.digest, trial.split.as_dict(), dataclasses.asdict(trial.config), trial.seed,
                            self.fit.epoch, self.device.type])

    def begin(self, journal: Path | None) -> None:
        """Go on from a journal of the same session, or begin with the fit."""
        try:
            kept = load_torch(journal) if journal and journal.is_file() else {}
        except ArtefactError:
            kept = {}  # a damaged one counts as not there
        if not isinstance(kept, dict) or kept.get("key") != self.key:
            self.judge()
            return
        self.network.load_state_dict(kept["network"])
        self.encoders.restore(kept["encoders"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.scaler.load_state_dict(kept["scaler"])
        for name in ("epoch", "best_epoch", "curve", "best", "best_quality"):
            setattr(self, name, kept[name])

    def state(self) -> dict[str, Any]:
        """Return all that is needed to go on from here."""
        names = ("key", "epoch", "best_epoch", "curve", "best", "best_quality")
        return {**{name: getattr(self, name) for name in names}, "network": _on_cpu(self.network.state_dict()),
                "encoders": self.encoders.states(), "optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def judge(self) -> float:
        """Measure the validation scenes and keep the state where none was better."""
        rows, database = self.trial.rows("val"), self.trial.database
        scores = image_scores(self.fit, self.encoders.embedded(database, self.pictures, rows))
        if not np.isfinite(scores).all():
            raise UserError("the scores of the validation images are not finite; lower --tune-rate")
        quality = float(selection_quality(scores, database.mos[rows]))
        if quality >= self.best_quality:
            self.best_quality, self.best_epoch = quality, self.epoch
            self.best = {"network": _on_cpu(self.network.state_dict()), "encoders": self.encoders.states()}
        return quality

    def run_epoch(self) -> None:
        """Go once over the training scenes and judge."""
        tuning, rows = self.trial.config.tuning, self.trial.rows("train")
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * SCHEDULES["cosine"](self.epoch / tuning.epochs)
        self.epoch += 1
        with seeded("tune", self.trial.seed, self.epoch) as shuffler:
            order = [rows[i] for i in torch.randperm(len(rows), generator=shuffler)]
            self.network.train()
            seen, losses = [], []
            for place, (_, picture) in enumerate(_ahead(self.pictures, order, self.device), 1):
                seen.append(picture)
                if len(seen) == tuning.images or place == len(order):
                    losses.append(self._step(order[place - len(seen):place], seen) * len(seen))
                    seen = []
        self.curve.append({"epoch": self.fit.epoch + self.epoch, "loss": sum(losses) / len(order), "validation": self.judge()})

    def _step(self, rows: list[int], seen: list[Seen]) -> float:
        """Move encoders and fusion once by the loss of a few panoramas; return it."""
        database, config = self.trial.database, self.trial.config.train
        target = self.fit.scale.standardise(database.mos[rows]).to(self.device)
        with torch.autocast(self.device.type, enabled=self.device.type == "cuda"):
            score = self.network(self.encoders.inputs(seen, database.inputs[rows])).float().mean(dim=1)
        loss = LOSSES[config.loss if len(rows) > 1 else "mse"](score, target)  # a correlation needs two
        if not torch.isfinite(loss):
            raise UserError(f"the loss is not finite while the encoders are tuned; lower --tune-rate (now "
                            f"{self.trial.config.tuning.learning_rate:g})")
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return float(loss.detach())

    def finish(self) -> None:
        """Return to the best epoch."""
        self.network.load_state_dict(self.best["network"])
        self.encoders.restore(self.best["encoders"])


def _on_cpu(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in state.items()}
