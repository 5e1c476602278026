"""Fit a small network from scratch to patches: first to what a teacher says of them, more and more to what is true.

Distillation (Hinton et al., 2015). A teacher says something sensible of every patch; the truth is noisier (people's mean
for a setting, whatever the patch shows) and not known of all, but the teacher errs too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from mmifn.adapt.fit import agreement, rate_share, transform, write_adapted
from mmifn.adapt.patches import Patches, make_part
from mmifn.adapt.samples import KINDS, TARGETS, make_samples
from mmifn.adapt.scenes import of_teacher
from mmifn.adapt.settings import SIDES, Making, Patching, require_schedule
from mmifn.adapt.working_state import keep, take_up
from mmifn.core.files import sha256_json
from mmifn.core.workers import usable_cores
from mmifn.encoders.adaptable import TITLES
from mmifn.encoders.adapted import BACKBONES, AdaptedEncoder, load_adapted
from mmifn.simulate.panoramas import Scene

_SAVE_EVERY = 100  # steps
_SCORES = slice(len(KINDS), len(TARGETS))
_KINDS_WEIGHT = 2


@dataclass(frozen=True)
class DistilConfig:
    """How a network learns from patches. true_shares: weight of the truth at the start and at the end, the rest is the teacher's;
    average: of the weights, how much of it stays at every step."""

    encoder: str
    epochs: int
    learning_rate: float
    patching: Patching = Patching()
    batch_size: int = 64
    weight_decay: float = 0.02
    true_shares: tuple[float, float] = (0.25, 0.75)
    average: float = 0.998
    seed: int = 0

    def __post_init__(self) -> None:
        require_schedule(self.epochs, self.learning_rate)


def batches_a_part(pictures: int, batch_size: int) -> int:
    """Return how many batches the patches of so many pictures make in one part; every batch is of one size."""
    return sum(regions * count * pictures // batch_size for regions, count in SIDES.values())


@dataclass(frozen=True)
class Standard:
    """Mean and SD of the teacher's and of the true scores, taken over the patches of which both are known."""

    taught: tuple[Tensor, Tensor]
    true: tuple[Tensor, Tensor]

    @classmethod
    def fit(cls, patches: list[Patches]) -> Standard:
        """Take the standard from the patches of one part."""
        taught = torch.cat([group.taught[:, _SCORES] for group in patches])
        true = torch.cat([transform(group.true) for group in patches])
        return cls(*(_mean_sd(values.masked_fill(true.isnan(), torch.nan)) for values in (taught, true)))


def _mean_sd(values: Tensor) -> tuple[Tensor, Tensor]:
    mean = values.nanmean(dim=0)
    return mean, ((values - mean) ** 2).nanmean(dim=0).sqrt().clamp_min(1e-6)


def distil_loss(outputs: Tensor, taught: Tensor, true: Tensor, standard: Standard, true_share: float) -> Tensor:
    """Return the loss of outputs (N, len(TARGETS)) against the teacher's outputs and the truth, both as Patches have them."""
    scores, kinds = outputs[:, _SCORES], outputs[:, :len(KINDS)]
    goals = ((true_share, true[:, :len(KINDS)], (transform(true) - standard.true[0]) / standard.true[1]),
             (1 - true_share, taught[:, :len(KINDS)].sigmoid(), (taught[:, _SCORES] - standard.taught[0]) / standard.taught[1]))
    total = outputs.new_zeros(())
    for weight, wanted_kinds, wanted in goals:
        known = ~wanted.isnan()
        error = functional.smooth_l1_loss(scores, wanted.nan_to_num(), reduction="none", beta=0.5)
        told = functional.binary_cross_entropy_with_logits(kinds, wanted_kinds)
        total = total + weight * (_KINDS_WEIGHT * told + (error * known).sum() / known.sum().clamp_min(1))
    return total


class _Course:
    """The batches of a whole run, part after part; the same for one seed, wherever it starts."""

    def __init__(self, config: DistilConfig, part: Callable[[int], dict[int, Patches]], pictures: int) -> None:
        self.config, self.part = config, part
        self.per_part = batches_a_part(pictures, config.batch_size)
        self.parts = config.epochs * config.patching.parts

    def __len__(self) -> int:
        return self.parts * self.per_part

    def batches(self, first: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield views uint8, what the teacher says and what is true, from step `first` on."""
        for index in range(first // self.per_part, self.parts):
            patches = self.part(index % self.config.patching.parts)
            generator = torch.Generator().manual_seed(self.config.seed * 10**6 + index)
            plan = [(side, rows) for side in SIDES
                    for rows in torch.randperm(len(patches[side]), generator=generator).split(self.config.batch_size)
                    if len(rows) == self.config.batch_size]
            order = torch.randperm(len(plan), generator=generator).tolist()
            for place in order[max(0, first - index * self.per_part):]:
                side, rows = plan[place]
                yield _mirrored(patches[side].views[rows], rows), patches[side].taught[rows], patches[side].true[rows]


def _mirrored(views: Tensor, rows: Tensor) -> Tensor:
    """Mirror about half of the views, chosen by a batch's own rows."""
    chosen = torch.rand(len(rows), generator=torch.Generator().manual_seed(int(rows.sum()))) < 0.5
    return torch.where(chosen[:, None, None, None], views.flip(3), views)


def distil(config: DistilConfig, scenes: list[Scene], making: Making, out: Path, work: Path,
           device: torch.device) -> dict[str, float]:
    """Train on the scenes of places that the teacher knows, and write `out` (float16 safetensors with its provenance).

    Returns how well the scenes are told that the teacher was looked at with; making: of those. Patches are made below
    `work` when they are first wanted. A killed run goes on from its state there, which is saved every hundred steps and
    removed at the end; after every part `out` is written, so that a run may be stopped at any time.
    """
    teacher = load_adapted(config.patching.teacher)[1]
    training, looked_at = of_teacher(scenes, teacher["scenes"], teacher["held_out_scenes"], config.patching.teacher)
    print(f"{config.encoder} ({TITLES[config.encoder]}) on {len(training)} pictures, looked at with {len(looked_at)} more")
    workers = usable_cores()
    held_out = make_samples(looked_at, making, work / "samples", workers)
    torch.manual_seed(config.seed)
    course = _Course(config, lambda part: make_part(training, config.patching, part, work / "patches", workers), len(training))
    lesson = _Lesson(config, Standard.fit(list(course.part(0).values())), device)
    about = {"encoder": config.encoder, "scenes": sorted({scene.name for scene in training}), "held_out_scenes": sorted(held_out),
             "config": dataclasses.asdict(config)}
    state = work / f"{config.encoder}.state.pt"
    run = sha256_json([dataclasses.asdict(config), sorted(scene.digest() for scene in training)])
    first = take_up(state, run, lesson.parts) or 0
    bar = tqdm(course.batches(first), initial=first, total=len(course), desc=f"distilling {config.encoder}", unit="step")
    figures: dict[str, float] = {}
    for step, batch in enumerate(bar, start=first):
        loss = lesson.step(*batch, done=step / len(course))
        bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        part_ends = (step + 1) % course.per_part == 0
        if part_ends:
            network = lesson.average.module.eval()
            figures = agreement(network, held_out, lesson.normalise)
            tqdm.write(f"{config.encoder}, {step + 1} of {len(course)} steps: "
                       + ", ".join(f"{key} {value:.3f}" for key, value in figures.items()))
            write_adapted(network, about | {"held_out": figures, "steps": [step + 1, len(course)]}, out)
        if part_ends or (step + 1) % _SAVE_EVERY == 0:
            keep(state, run, step + 1, lesson.parts)
    state.unlink(missing_ok=True)
    return figures


def _moving_average(kept: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """Return how an average takes up weights at a step: it keeps `kept` of itself, less while it is young."""
    def move(average: Sequence[Tensor], weights: Sequence[Tensor], count: Tensor | int) -> None:
        torch._foreach_lerp_(list(average), list(weights), 1 - min(kept, (1 + int(count)) / (10 + int(count))))

    return move


class _Lesson:
    """What changes while a network learns: its weights, their moving average, and the optimizer's memory."""

    def __init__(self, config: DistilConfig, standard: Standard, device: torch.device) -> None:
        backbone = BACKBONES[config.encoder]
        self.config, self.standard, self.device = config, standard, device
        self.network = AdaptedEncoder(config.encoder, TARGETS).to(device, memory_format=torch.channels_last).train()
        self.average = AveragedModel(self.network, multi_avg_fn=_moving_average(config.average))
        self.optimizer = torch.optim.AdamW(self.network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        self.mean, self.std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (backbone.mean, backbone.std))
        self.parts = {"network": self.network, "average": self.average, "optimizer": self.optimizer}

    def normalise(self, views: Tensor) -> Tensor:
        """Return views uint8 as the network wants them."""
        values = (views.to(self.device).float() / 255 - self.mean) / self.std
        return values.contiguous(memory_format=torch.channels_last)

    def step(self, views: Tensor, taught: Tensor, true: Tensor, done: float) -> float:
        """Take one step down the loss of a batch; return it."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * rate_share(done)
        low, high = self.config.true_shares
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            outputs = self.network(self.normalise(views))[1].float()
        loss = distil_loss(outputs.cpu(), taught, true, self.standard, low + (high - low) * done)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.average.update_parameters(self.network)
        return float(loss.detach())
