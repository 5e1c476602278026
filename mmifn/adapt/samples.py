"""What encoders are adapted on: views of randomly distorted panoramas, with what is known of each.

Every panorama is distorted as a whole, as in the databases, and views are cut from it at the resolution at which the
encoders will see views. Targets are the kinds of distortion, the mean score that people would give to that kind and
strength, and two full-reference metrics of the view itself: GMSD and SSIM, never the metric that labels rest on.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmifn.adapt.settings import Making
from mmifn.core.artefact import load_torch, save_torch
from mmifn.core.errors import ArtefactError
from mmifn.core.files import sha256_json
from mmifn.core.pixels import to_bytes
from mmifn.core.progress import Progress
from mmifn.core.workers import run_tasks
from mmifn.fullref.metrics import gmsd_of_views, ssim_of_views
from mmifn.simulate.draws import KINDS, Draw, draw
from mmifn.simulate.panoramas import Scene
from mmifn.sphere import dodecahedron, render_viewports

SCHEMA = "adaptation samples/2"
TARGETS = (*KINDS, "mos", "gmsd", "ssim")  # columns of the targets
SIZE_PX, FOV_DEG = 160, 29.1  # as fine as 224 px over 40 degrees
_TURNS = 4


@dataclass(frozen=True)
class Samples:
    """views (N, 3, S, S) uint8; targets (N, len(TARGETS)), NaN where nothing is known."""

    views: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.views)


@dataclass(frozen=True)
class _SceneSamples:
    scene: Scene
    making: Making
    folder: Path

    @property
    def path(self) -> Path:
        key = sha256_json([SCHEMA, self.scene.digest(), self.making.versions, self.making.seed,
                           SIZE_PX, FOV_DEG])
        return self.folder / f"{self.scene.name}.{key[:16]}.pt"


def make_samples(scenes: list[Scene], making: Making, folder: Path, workers: int) -> dict[str, Samples]:
    """Return the samples of every scene by name; finished scenes are kept in `folder`."""
    jobs = [_SceneSamples(scene, making, folder) for scene in scenes]
    with Progress(total=len(jobs), desc="distorting", unit="scene") as bar:
        for _ in run_tasks(_make, jobs, workers, preload=__name__):
            bar.update()
    return {job.scene.name: _read(job) for job in jobs}


def _read(job: _SceneSamples) -> Samples:
    content = load_torch(job.path)
    views, targets = (content.get(name) if isinstance(content, dict) else None for name in ("views", "targets"))
    if not (isinstance(views, Tensor) and isinstance(targets, Tensor) and views.dtype == torch.uint8
            and views.shape[1:] == (3, SIZE_PX, SIZE_PX) and targets.shape == (len(views), len(TARGETS))):
        raise ArtefactError(f"{job.path} holds no samples; remove it, and run the same command again")
    return Samples(views, targets)


def _make(job: _SceneSamples) -> None:
    """Write the samples of one scene, unless they are there and whole."""
    with contextlib.suppress(ArtefactError):  # missing or damaged
        _read(job)
        return
    pixels = job.scene.load()
    rng = np.random.default_rng([job.making.seed, zlib.crc32(job.scene.name.encode())])
    made = list(_versions(pixels, job.making, rng))
    save_torch({"schema": SCHEMA, "views": torch.cat([views for views, _ in made]),
                "targets": torch.cat([targets for _, targets in made])}, job.path)


def _versions(pixels: np.ndarray, making: Making, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield views (10, 3, S, S) uint8 and targets (10, len(TARGETS)) of every version.

    The panorama is turned, by one of a few angles, and every second view taken: their geometry is worked out once.
    """
    turns = rng.integers(pixels.shape[1], size=_TURNS)

    @lru_cache(maxsize=2 * _TURNS)
    def pristine(turn: int, half: int) -> Tensor:
        return _views(pixels, turn, half)

    for _ in range(making.versions):
        what, turn, half = draw(rng, pixels.shape[1]), int(rng.choice(turns)), int(rng.integers(2))
        views = _views(what.apply(pixels, rng), turn, half)
        yield to_bytes(views), true_targets(what, pristine(turn, half), views)


def _views(pixels: np.ndarray, turn: int, half: int) -> Tensor:
    return render_viewports(np.roll(pixels, turn, axis=1), dodecahedron()[half::2], FOV_DEG, SIZE_PX)


def true_targets(what: Draw, reference: Tensor, views: Tensor) -> Tensor:
    """Return what is true of views (V, 3, S, S) 0..1 of a distorted picture, given the flawless ones: (V, len(TARGETS))."""
    known = torch.tensor([float(kind in what.kinds) for kind in KINDS] + [np.nan if what.mos is None else what.mos])
    measured = torch.stack([gmsd_of_views(reference, views), ssim_of_views(reference, views)], dim=1)
    return torch.cat([known.expand(len(views), -1), measured], dim=1).float()
