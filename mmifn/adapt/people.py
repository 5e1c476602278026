"""Teach an encoder what people mind: photographs with scores, and views of panoramas whose order is known.

First a ridge on the untouched network's features, then the network itself but for its early layers: absolute error and
correlation within the photographs' database, and the fidelity loss (Tsai et al. 2007) for each two rungs of a ladder.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from sklearn.linear_model import RidgeCV
from torch import Tensor
from torch.nn import functional

from mmifn import __version__
from mmifn.adapt.opinions import Photographs
from mmifn.adapt.settings import PeopleConfig
from mmifn.adapt.working_state import keep, take_up
from mmifn.core.artefact import save_safetensors
from mmifn.core.files import sha256_json
from mmifn.core.progress import Progress
from mmifn.encoders.people import NAME, SCHEMA, PeopleEncoder, normalise

WHOLE_PX = 448  # a photograph is looked at whole, at this size
_SIZES_PX = (320, 384, 448)
_LEAST_SHARE = 0.85  # of a photograph's sides in a crop
_TUNED = ("blocks.2", "blocks.3", "blocks.4", "blocks.5", "blocks.6")
_HEAD_RATE = 20  # the head learns this many times faster than the layers
_JUST_SEEN = 0.35  # SD of the judgement of a pair, in SDs of the opinions
_LADDERS_A_STEP = 2
_RIDGES = np.logspace(1, 5, 17)
_AVERAGE = 0.98
_SAVE_EVERY = 25  # steps


def as_seen(pixels: np.ndarray, size_px: int = WHOLE_PX) -> Tensor:
    """Return a photograph (H, W, 3) uint8 reduced or enlarged to a square, antialiased: (3, S, S) float32 in 0..1."""
    planes = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255
    return functional.interpolate(planes, (size_px, size_px), mode="bicubic", antialias=True)[0].clamp(0, 1)


def _glimpse(pixels: np.ndarray, size_px: int, rng: np.random.Generator) -> Tensor:
    """Cut most of a photograph at random, mirrored every second time."""
    share = rng.uniform(_LEAST_SHARE, 1)
    sides = [round(share * side) for side in pixels.shape[:2]]
    top, left = (int(rng.integers(whole - side + 1)) for whole, side in zip(pixels.shape[:2], sides, strict=True))
    seen = as_seen(pixels[top:top + sides[0], left:left + sides[1]], size_px)
    return seen.flip(2) if rng.random() < 0.5 else seen


def fidelity(better: Tensor, worse: Tensor, sd: float) -> Tensor:
    """Return 1 - sqrt(P(better is seen as better)), each judged with a Gaussian error of `sd` (Thurstone, case V)."""
    seen = 0.5 * (1 + torch.erf((better - worse) / (2 * sd)))
    return (1 - (seen + 1e-6).sqrt()).mean()


def correlation_loss(scores: Tensor, wanted: Tensor) -> Tensor:
    """Return (1 - PLCC) / 2, between 0 and 1."""
    pair = [values - values.mean() for values in (scores, wanted)]
    norms = pair[0].norm() * pair[1].norm()
    return (1 - (pair[0] * pair[1]).sum() / norms.clamp_min(1e-6)) / 2


@torch.inference_mode()
def judge(network: PeopleEncoder, photographs: Photographs, rows: np.ndarray) -> np.ndarray:
    """Return the network's scores of photographs seen whole, (len(rows),)."""
    return np.array([float(network(normalise(as_seen(photographs.pixels(i))[None]))) for i in rows])


def agreement(scores: np.ndarray, mos: np.ndarray) -> dict[str, float]:
    """Return SRCC, PLCC and RMSE, of the scores as they are: no curve is fitted."""
    return {"srcc": float(stats.spearmanr(scores, mos).statistic), "plcc": float(stats.pearsonr(scores, mos).statistic),
            "rmse": float(np.sqrt(np.mean((scores - mos) ** 2)))}


def _start(network: PeopleEncoder, photographs: Photographs, rows: np.ndarray) -> None:
    """Set the head to the ridge on the untouched features of photographs seen whole."""
    with torch.no_grad():
        seen = [as_seen(photographs.pixels(i)) for i in Progress(rows, desc="untouched features", unit="photograph")]
        features = torch.cat([network.features(normalise(picture[None])) for picture in seen])
        network.centre.copy_(features.mean(dim=0))
        network.spread.copy_(features.std(dim=0).clamp_min(1e-6))
        ridge = RidgeCV(_RIDGES).fit(((features - network.centre) / network.spread).numpy(), photographs.mos[rows])
        network.head.weight.copy_(torch.from_numpy(ridge.coef_)[None])
        network.head.bias.fill_(float(ridge.intercept_))


def teach(config: PeopleConfig, photographs: Photographs, rows: np.ndarray, ladders: Tensor, state: Path,
          look: Callable[[int, PeopleEncoder], None]) -> PeopleEncoder:
    """Return the encoder taught by the photographs of `rows` and by ladders (N, 3, 3, S, S) uint8, best rung first.

    look(epoch, network): called with the averaged weights after the ridge (epoch 0) and after each epoch. A killed run
    goes on from `state`, which is saved every 25 steps.
    """
    torch.manual_seed(config.seed)
    network = PeopleEncoder().eval().to(memory_format=torch.channels_last)  # normalisation stays ImageNet's
    run = sha256_json([dataclasses.asdict(config), [photographs.files[i].name for i in rows], len(ladders)])
    lesson = _Lesson.begin(network, config)
    first = take_up(state, run, vars(lesson))
    if first is None:
        _start(network, photographs, rows)
        look(0, network)
        lesson, first = _Lesson.begin(network, config), 0
    per_epoch = len(rows) // config.batch_size
    steps = config.epochs * per_epoch
    for step in Progress(range(first, steps), initial=first, total=steps, unit="step"):
        _rates(lesson.optimizer, config, step / steps)
        lesson.step(_loss(network, config, photographs, _chosen(rows, step, config), ladders, step))
        if (step + 1) % _SAVE_EVERY == 0:
            keep(state, run, step + 1, vars(lesson))
        if (step + 1) % per_epoch == 0:
            look((step + 1) // per_epoch, lesson.average.module)
    return lesson.average.module


@dataclass(frozen=True)
class _Lesson:
    """What changes while the encoder learns: its weights, their moving average, and the optimizer's memory."""

    network: PeopleEncoder
    average: torch.optim.swa_utils.AveragedModel
    optimizer: torch.optim.Optimizer

    @classmethod
    def begin(cls, network: PeopleEncoder, config: PeopleConfig) -> _Lesson:
        """Free the later layers and the head of a network, and start the average at its weights."""
        average = torch.optim.swa_utils.AveragedModel(
            network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(_AVERAGE))
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name.startswith("head") or name.removeprefix("trunk.").startswith(_TUNED))
        return cls(network, average, _optimizer(network, config))

    def step(self, loss: Tensor) -> None:
        """Take one step down a loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.average.update_parameters(self.network)


def _optimizer(network: PeopleEncoder, config: PeopleConfig) -> torch.optim.Optimizer:
    layers = [parameter for parameter in network.trunk.parameters() if parameter.requires_grad]
    return torch.optim.AdamW([{"params": layers, "share": 1}, {"params": list(network.head.parameters()), "share": _HEAD_RATE}],
                             config.learning_rate, weight_decay=0.01)


def _rates(optimizer: torch.optim.Optimizer, config: PeopleConfig, done: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * group["share"] * min(1, done / 0.05 + 0.02) * 0.5 * (1 + math.cos(math.pi * done))


def _chosen(rows: np.ndarray, step: int, config: PeopleConfig) -> np.ndarray:
    """Return the photographs of a step: every one once an epoch, in the order that the seed gives that epoch."""
    epoch, place = divmod(step, len(rows) // config.batch_size)
    order = np.random.default_rng([config.seed, 1, epoch]).permutation(rows)
    return order[place * config.batch_size:(place + 1) * config.batch_size]


def _loss(network: PeopleEncoder, config: PeopleConfig, photographs: Photographs, chosen: np.ndarray, ladders: Tensor,
          step: int) -> Tensor:
    """Return the loss of one step: photographs at one random size, and two random ladders."""
    rng = np.random.default_rng([config.seed, 2, step])
    size = int(rng.choice(_SIZES_PX))
    seen = torch.stack([_glimpse(photographs.pixels(i), size, rng) for i in chosen])
    sd = float(photographs.mos.std())
    wanted = torch.from_numpy(photographs.mos[chosen]).float()
    scores = network(normalise(seen))
    loss = functional.smooth_l1_loss(scores / sd, wanted / sd, beta=0.5)
    loss = loss + config.correlation_weight * correlation_loss(scores, wanted)
    if config.ladder_weight and len(ladders):
        views = ladders[torch.from_numpy(rng.integers(len(ladders), size=_LADDERS_A_STEP))].flatten(0, 1).float() / 255
        best, middle, worst = network(normalise(views)).reshape(_LADDERS_A_STEP, 3).unbind(dim=1)
        order = sum(fidelity(a, b, _JUST_SEEN * sd) for a, b in ((best, middle), (middle, worst), (best, worst)))
        loss = loss + config.ladder_weight * order
    return loss


def write_people(network: PeopleEncoder, about: dict, out: Path) -> None:
    """Write float16 weights with what they were taught by."""
    state = {key: (value.half() if value.is_floating_point() else value).cpu()
             for key, value in network.state_dict().items()}
    save_safetensors(state, out, {"about": json.dumps({"schema": SCHEMA, "encoder": NAME, "mmifn": __version__, **about})})
