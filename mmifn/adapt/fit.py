"""Fit an encoder to views of distorted panoramas: which distortions, how people would score them, GMSD and SSIM."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional

from mmifn import __version__
from mmifn.adapt.samples import KINDS, TARGETS, Samples, make_samples
from mmifn.adapt.settings import Making, require_schedule
from mmifn.adapt.working_state import keep, take_up
from mmifn.core.artefact import save_safetensors
from mmifn.core.errors import UserError, listed
from mmifn.core.files import sha256_json
from mmifn.core.progress import Progress
from mmifn.core.workers import usable_cores
from mmifn.encoders.adaptable import TITLES
from mmifn.encoders.adapted import BACKBONES, SCHEMA, AdaptedEncoder
from mmifn.simulate.panoramas import Scene

_WARM_UP = 0.05  # share of the steps over which the learning rate rises
_SAVE_EVERY = 100  # steps
_SCORES = slice(len(KINDS), len(TARGETS))


@dataclass(frozen=True)
class AdaptConfig:
    """How an encoder is adapted; learning rate and epochs default to those of its backbone."""

    encoder: str
    epochs: int
    learning_rate: float
    batch_size: int = 32
    weight_decay: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        require_schedule(self.epochs, self.learning_rate)


@dataclass(frozen=True)
class Scale:
    """Mean and SD of the transformed scores over the training views."""

    mean: Tensor
    sd: Tensor

    @classmethod
    def fit(cls, targets: Tensor) -> Scale:
        """Take the scale from targets (N, 3) of training views; where one is not known it does not count."""
        scores = transform(targets)
        mean = scores.nanmean(dim=0)
        return cls(mean, ((scores - mean) ** 2).nanmean(dim=0).sqrt().clamp_min(1e-6))

    def apply(self, targets: Tensor) -> Tensor:
        """Return targets, transformed, with mean 0 and SD 1."""
        return (transform(targets) - self.mean) / self.sd


def transform(targets: Tensor) -> Tensor:
    """Return the scores of targets (N, len(TARGETS)) as they are learnt, (N, 3). GMSD and SSIM are spread evenly: square roots,
    SSIM from its perfect end."""
    mos, gmsd, ssim = targets[:, _SCORES].unbind(dim=1)
    return torch.stack([mos, gmsd.clamp_min(0).sqrt(), (1 - ssim).clamp_min(0).sqrt()], dim=1)


def _loss(outputs: Tensor, kinds: Tensor, scores: Tensor) -> Tensor:
    known = ~torch.isnan(scores)
    error = functional.smooth_l1_loss(outputs[:, _SCORES], scores.nan_to_num(), reduction="none", beta=0.5)
    return functional.binary_cross_entropy_with_logits(outputs[:, :len(KINDS)], kinds) * 2 + (error * known).sum() / known.sum()


class _Batches:
    """Normalised batches of views with their targets, in the order that the seed gives each epoch; mirrored at random."""

    def __init__(self, samples: list[Samples], config: AdaptConfig, device: torch.device) -> None:
        backbone = BACKBONES[config.encoder]
        self.views = torch.cat([sample.views for sample in samples])
        self.targets = torch.cat([sample.targets for sample in samples])
        self.scale = Scale.fit(self.targets)
        self.mean, self.std = (torch.tensor(values).view(3, 1, 1) for values in (backbone.mean, backbone.std))
        self.config, self.device = config, device

    def normalise(self, views: Tensor) -> Tensor:
        return ((views.float() / 255 - self.mean) / self.std).to(self.device)

    def __len__(self) -> int:
        return self.config.epochs * (len(self.views) // self.config.batch_size)

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        size = self.config.batch_size
        epoch, place = divmod(step, len(self.views) // size)
        order = torch.randperm(len(self.views), generator=torch.Generator().manual_seed(self.config.seed * 1000 + epoch))
        rows = order[place * size:(place + 1) * size]
        views = self.normalise(self.views[rows])
        mirrored = torch.rand(size, generator=torch.Generator().manual_seed(self.config.seed * 10**6 + step)) < 0.5
        views = torch.where(mirrored.to(self.device)[:, None, None, None], views.flip(3), views)
        return views, self.targets[rows][:, :len(KINDS)].to(self.device), self.scale.apply(self.targets[rows]).to(self.device)


def adapt_to_scenes(config: AdaptConfig, training: list[Scene], held_out: list[Scene], making: Making, out: Path, work: Path,
                    device: torch.device) -> dict[str, float]:
    """Make the samples of all scenes below `work`, where there are none, and adapt (see there) on those of `training`.

    Raises UserError where two pictures are of one name: samples are kept by it.
    """
    names = [scene.name for scene in training + held_out]
    if doubles := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"two pictures have the name of one scene; give one folder, or rename:\n{listed(doubles)}")
    print(f"{config.encoder} ({TITLES[config.encoder]}) on {len(training)} scenes, looked at with {len(held_out)} more")
    samples = make_samples(training + held_out, making, work / "samples", usable_cores())
    parts = ({scene.name: samples[scene.name] for scene in part} for part in (training, held_out))
    return adapt(config, *parts, out, work / f"{config.encoder}.state.pt", device)


def adapt(config: AdaptConfig, training: dict[str, Samples], held_out: dict[str, Samples], out: Path, state: Path,
          device: torch.device) -> dict[str, float]:
    """Train and write `out` (float16 safetensors with its provenance); return how well held-out scenes are told.

    A killed run goes on from `state`, which is saved every hundred steps and removed at the end.
    """
    torch.manual_seed(config.seed)
    network = AdaptedEncoder(config.encoder, TARGETS).to(device, memory_format=torch.channels_last)
    batches = _Batches([training[name] for name in sorted(training)], config, device)
    optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    run = sha256_json([dataclasses.asdict(config), sorted(training), len(batches.views)])
    parts = {"network": network, "optimizer": optimizer}
    first = take_up(state, run, parts) or 0
    bar = Progress(range(first, len(batches)), initial=first, total=len(batches), desc=f"adapting {config.encoder}", unit="step")
    network.train()
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * rate_share(step / len(batches))
        views, kinds, scores = batches[step]
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            outputs = network(views)[1].float()
        loss = _loss(outputs, kinds, scores)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        bar.set_postfix(loss=f"{float(loss.detach()):.3f}", refresh=False)
        if step % _SAVE_EVERY == _SAVE_EVERY - 1:
            keep(state, run, step + 1, parts)
    figures = agreement(network.eval(), held_out, batches.normalise)
    write_adapted(network, {"encoder": config.encoder, "scenes": sorted(training), "held_out_scenes": sorted(held_out),
                            "held_out": figures, "config": dataclasses.asdict(config)}, out)
    state.unlink(missing_ok=True)
    return figures


def rate_share(done: float) -> float:
    """Return the share of the learning rate when `done` of the steps are over: a warm-up, then half a cosine."""
    return done / _WARM_UP if done < _WARM_UP else 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))


@torch.inference_mode()
def agreement(network: AdaptedEncoder, held_out: dict[str, Samples], normalise: Callable[[Tensor], Tensor]) -> dict[str, float]:
    """Return, over views of scenes not trained on, the rank correlation of each score and the share of kinds told right."""
    views = torch.cat([sample.views for sample in held_out.values()])
    targets = torch.cat([sample.targets for sample in held_out.values()])
    outputs = torch.cat([network(normalise(part))[1].float().cpu() for part in views.split(64)])
    result = {}
    for i, name in enumerate(TARGETS[_SCORES]):
        wanted = transform(targets)[:, i]
        known = ~torch.isnan(wanted)
        result[f"srcc_{name}"] = float(stats.spearmanr(outputs[known, len(KINDS) + i], wanted[known]).statistic)
    single = targets[:, :len(KINDS)].sum(dim=1) == 1
    told = outputs[single, :len(KINDS)].argmax(dim=1) == targets[single, :len(KINDS)].argmax(dim=1)
    return {key: round(value, 4) for key, value in (result | {"kind_right": float(told.float().mean())}).items()}


def write_adapted(network: AdaptedEncoder, about: dict[str, Any], out: Path) -> None:
    """Write float16 weights with what they were taught by: the encoder's name, scenes, held-out scenes, configuration."""
    about = {"schema": SCHEMA, "targets": list(TARGETS), "mmifn": __version__, **about}
    state = {key: (value.half() if value.is_floating_point() else value).contiguous().cpu()
             for key, value in network.state_dict().items()}
    save_safetensors(state, out, {"about": json.dumps(about)})
