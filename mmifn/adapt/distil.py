"""Fit a small network to patches: first to what a teacher says of them, more and more to what is true.

Distillation (Hinton et al., 2015). A teacher says something sensible of every patch; the truth is noisier (people's mean
for a setting, whatever the patch shows) and not known of all, but the teacher errs too. The network looks through the first
stages of its teacher, which stay as they are.
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

from mmifn.adapt.fit import agreement, rate_share, transform, write_adapted
from mmifn.adapt.patches import Patches, make_part
from mmifn.adapt.samples import KINDS, TARGETS, make_samples
from mmifn.adapt.scenes import of_teacher
from mmifn.adapt.settings import SIDES, Making, Patching, require_schedule
from mmifn.adapt.working_state import keep, take_up
from mmifn.core.errors import UserError
from mmifn.core.files import sha256_json
from mmifn.core.progress import Progress
from mmifn.core.workers import usable_cores
from mmifn.encoders.adaptable import TITLES
from mmifn.encoders.adapted import BACKBONES, AdaptedEncoder, load_adapted
from mmifn.encoders.conv_stem import stem_of
from mmifn.encoders.encoder import freeze
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
    teacher: str = "lite0_adapted"
    patching: Patching = Patching()
    batch_size: int = 64
    weight_decay: float = 0.02
    true_shares: tuple[float, float] = (0.4, 0.9)
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
    def fit(cls, taught: Tensor, true: Tensor) -> Standard:
        """Take the standard from what is said and true of patches, both (N, len(TARGETS))."""
        taught, true = taught[:, _SCORES], transform(true)
        return cls(*(_mean_sd(values.masked_fill(true.isnan(), torch.nan)) for values in (taught, true)))


def _mean_sd(values: Tensor) -> tuple[Tensor, Tensor]:
    mean = values.nanmean(dim=0)
    return mean, ((values - mean) ** 2).nanmean(dim=0).sqrt().clamp_min(1e-6)


def distil_loss(outputs: Tensor, taught: Tensor, true: Tensor, standard: Standard, true_share: float) -> Tensor:
    """Return the loss of outputs (N, len(TARGETS)) against the teacher's outputs (logits of the kinds, scores) and the truth."""
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

    def batches(self, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield views uint8 and what is true of them, from step `first` on."""
        for index in range(first // self.per_part, self.parts):
            patches = self.part(index % self.config.patching.parts)
            generator = torch.Generator().manual_seed(self.config.seed * 10**6 + index)
            plan = [(side, rows) for side in SIDES
                    for rows in torch.randperm(len(patches[side]), generator=generator).split(self.config.batch_size)
                    if len(rows) == self.config.batch_size]
            order = torch.randperm(len(plan), generator=generator).tolist()
            symmetries = torch.randint(8, (len(plan),), generator=generator).tolist()
            for place in order[max(0, first - index * self.per_part):]:
                side, rows = plan[place]
                yield _turned(patches[side].views[rows], symmetries[place]), patches[side].true[rows]


def _turned(views: Tensor, symmetry: int) -> Tensor:
    """Return square views in one of the eight ways in which a square lies on itself."""
    across, down, diagonal = symmetry & 1, symmetry & 2, symmetry & 4
    views = views.flip([axis for axis, wanted in ((3, across), (2, down)) if wanted])
    return views.transpose(2, 3) if diagonal else views


def distil(config: DistilConfig, scenes: list[Scene], making: Making, out: Path, work: Path,
           device: torch.device) -> dict[str, float]:
    """Train on the scenes of places that the teacher knows, and write `out` (float16 safetensors with its provenance).

    Returns how well the scenes are told that the teacher was looked at with; making: of those. Patches are made below
    `work` when they are first wanted. A killed run goes on from its state there, which is saved every hundred steps and
    removed at the end; after every part `out` is written, so that a run may be stopped at any time.
    """
    teacher, known = load_adapted(config.teacher)
    if tuple(known["targets"]) != TARGETS:
        raise UserError(f"{config.teacher} tells {', '.join(known['targets'])}; a teacher must tell {', '.join(TARGETS)}")
    training, looked_at = of_teacher(scenes, known["scenes"], known["held_out_scenes"], config.teacher)
    print(f"{config.encoder} ({TITLES[config.encoder]}) on {len(training)} pictures, looked at with {len(looked_at)} more")
    workers = usable_cores()
    held_out = make_samples(looked_at, making, work / "samples", workers)
    torch.manual_seed(config.seed)
    course = _Course(config, lambda part: make_part(training, config.patching, part, work / "patches", workers), len(training))
    lesson = _Lesson(config, teacher, device)
    lesson.take_standard(list(course.part(0).values()))
    about = {"encoder": config.encoder, "scenes": sorted({scene.name for scene in training}), "held_out_scenes": sorted(held_out),
             "config": dataclasses.asdict(config)}
    state = work / f"{config.encoder}.state.pt"
    run = sha256_json([dataclasses.asdict(config), lesson.teacher_sha256, sorted(scene.digest() for scene in training)])
    first = take_up(state, run, lesson.parts) or 0
    bar = Progress(course.batches(first), initial=first, total=len(course), desc=f"distilling {config.encoder}", unit="step")
    figures: dict[str, float] = {}
    for step, batch in enumerate(bar, start=first):
        loss = lesson.step(*batch, done=step / len(course))
        bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        part_ends = (step + 1) % course.per_part == 0
        if part_ends:
            network = lesson.average.module.eval()
            figures = agreement(network, held_out, lesson.normalise)
            Progress.write(f"{config.encoder}, {step + 1} of {len(course)} steps: "
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

    standard: Standard

    def __init__(self, config: DistilConfig, teacher: AdaptedEncoder, device: torch.device) -> None:
        self.config, self.device = config, device
        backbone = BACKBONES[config.teacher]
        self.mean, self.std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (backbone.mean, backbone.std))
        network = AdaptedEncoder(config.encoder, TARGETS)
        stem_of(network).take_from(teacher)
        self.network = network.to(device, memory_format=torch.channels_last).train()
        frozen, self.teacher_sha256 = freeze(teacher, device)
        self.teacher = frozen.to(memory_format=torch.channels_last)
        self.average = AveragedModel(self.network, multi_avg_fn=_moving_average(config.average))
        self.learning = [value for value in self.network.parameters() if value.requires_grad]
        self.optimizer = torch.optim.AdamW(self.learning, config.learning_rate, weight_decay=config.weight_decay)
        self.parts = {"network": self.network, "average": self.average, "optimizer": self.optimizer}

    def normalise(self, views: Tensor) -> Tensor:
        """Return views uint8 as the network and its teacher, whose stem it has, want them."""
        values = (views.to(self.device).float() / 255 - self.mean) / self.std
        return values.contiguous(memory_format=torch.channels_last)

    def teach(self, images: Tensor) -> Tensor:
        """Return what the teacher says of normalised images: (N, len(TARGETS))."""
        with torch.no_grad(), self._fast():
            return self.teacher(images)[1].float()

    def take_standard(self, patches: list[Patches]) -> None:
        """Take the standard from patches of one part."""
        taught = [self.teach(self.normalise(views)).cpu()
                  for group in patches for views in group.views.split(self.config.batch_size)]
        self.standard = Standard.fit(torch.cat(taught), torch.cat([group.true for group in patches]))

    def step(self, views: Tensor, true: Tensor, done: float) -> float:
        """Take one step down the loss of a batch; return it."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * rate_share(done)
        low, high = self.config.true_shares
        images = self.normalise(views)
        with self._fast():
            outputs = self.network(images)[1].float()
        loss = distil_loss(outputs.cpu(), self.teach(images).cpu(), true, self.standard, low + (high - low) * done)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learning, 1.0)
        self.optimizer.step()
        self.average.update_parameters(self.network)
        return float(loss.detach())

    def _fast(self) -> torch.autocast:
        """Compute in bfloat16 where the device is faster in it."""
        able = self.device.type == "cuda" or torch.cpu.get_capabilities().get("avx512_bf16", False)
        return torch.autocast(self.device.type, torch.bfloat16, enabled=able)
