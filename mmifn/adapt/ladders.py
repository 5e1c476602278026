"""Views of one place ever worse: flawless, faulty, faultier. Nobody's opinion is needed to know their order.

Of faults that befall the whole sphere, so that every view shows them; an encoder taught by photographs learns from the
order alone what such faults look like on panoramas, not how much people mind them.
"""

from __future__ import annotations

import contextlib
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmifn.core.artefact import load_torch, save_torch
from mmifn.core.errors import ArtefactError
from mmifn.core.files import sha256_json
from mmifn.core.progress import Progress
from mmifn.core.workers import run_tasks
from mmifn.simulate.authentic import FAULTS, WHOLE, Happening
from mmifn.simulate.panoramas import Scene
from mmifn.sphere import render_viewports

SCHEMA = "ladders/1"
SIZE_PX = 224
SCALES = ((512, 80.0), (1024, 40.0))  # height of the panorama, field of view: one pixel of either in a view's pixel
_RUNGS = (2, 4)  # strengths; the mild ones of these need not be worse than none:
_LATE = {"over": (3, 4), "under": (3, 4), "white": (3, 4)}
_UNORDERED = ("burnt", "crushed", "flare", "ghost", "lenses", "step")  # a view may miss them
RANKED = tuple(name for name in FAULTS if name not in _UNORDERED)
_VIEWS = 2


@dataclass(frozen=True)
class _Job:
    scene: Scene
    scale: int
    seed: int
    folder: Path

    @property
    def path(self) -> Path:
        """Return where the ladders are kept, by all that they depend on."""
        key = sha256_json([SCHEMA, self.scene.digest(), self.scale, self.seed, RANKED, SIZE_PX])
        return self.folder / f"{self.scene.name}.{key[:16]}.pt"


def make_ladders(scenes: list[Scene], seed: int, folder: Path, workers: int) -> Tensor:
    """Return (N, 3, 3, S, S) uint8: N ladders of three rungs, best first. Every third scene at 2048 px, the rest at 1024.

    Finished scenes are kept in `folder`.
    """
    jobs = [_Job(scene, 1 if i % 3 == 2 else 0, seed, folder) for i, scene in enumerate(scenes)]
    with Progress(total=len(jobs), desc="ladders", unit="scene") as bar:
        for _ in run_tasks(_make, jobs, workers, preload=__name__):
            bar.update()
    return torch.cat([_read(job) for job in jobs])


def _read(job: _Job) -> Tensor:
    content = load_torch(job.path)
    views = content.get("views") if isinstance(content, dict) else None
    if not isinstance(views, Tensor) or views.dtype != torch.uint8 or views.shape[1:] != (3, 3, SIZE_PX, SIZE_PX):
        raise ArtefactError(f"{job.path} holds no ladders; remove it, and run the same command again")
    return views


def _make(job: _Job) -> None:
    """Write the ladders of one scene, unless they are there: two views of every fault, at three strengths."""
    with contextlib.suppress(ArtefactError):  # missing or damaged
        _read(job)
        return
    height, fov_deg = SCALES[job.scale]
    pixels = job.scene.load(height)
    rng = np.random.default_rng([job.seed, zlib.crc32(job.scene.name.encode())])
    made = []
    for name in RANKED:
        lon, lat = rng.uniform(-180, 180, _VIEWS), np.degrees(np.arcsin(rng.uniform(-0.8, 0.8, _VIEWS)))
        centres, seed = torch.tensor(np.stack([lon, lat], axis=1)), int(rng.integers(2 ** 31))
        rungs = [pixels] + [Happening(name, strength, WHOLE, seed).apply(pixels) for strength in _LATE.get(name, _RUNGS)]
        views = torch.stack([render_viewports(rung, centres, fov_deg, SIZE_PX) for rung in rungs], dim=1)
        made.append((views * 255).round().byte())
    save_torch({"schema": SCHEMA, "views": torch.cat(made)}, job.path)
