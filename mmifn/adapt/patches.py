"""Patches for learning from a teacher: small, many, of every size, cheap to make.

A region of a panorama is distorted by itself, not the whole panorama, and several patches are cut from it. Of every patch
there is what is true of it: kinds, GMSD and SSIM, and the mean human score of the setting where the patch shows the
resolution that scores are drawn for. Patches come in parts; a part holds patches of every picture.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional

from mmifn.adapt.samples import true_targets
from mmifn.adapt.settings import SIDES, Patching
from mmifn.core.artefact import load_torch, save_torch
from mmifn.core.errors import ArtefactError
from mmifn.core.files import sha256_json
from mmifn.core.pixels import to_bytes
from mmifn.core.progress import Progress
from mmifn.core.workers import run_tasks
from mmifn.simulate.draws import Draw, distort, draw
from mmifn.simulate.panoramas import Scene

SCHEMA = "distillation patches/2"
_HEIGHT = 256  # rows of a region as it is seen; it is twice as wide, as distortions of panoramas want it
_MARGIN = 16  # rows and columns that are distorted too and cut off: codecs and filters behave otherwise at an edge
# Shares of regions seen as they are and at half the size; the others are resampled a little, as views are.
_NATIVE, _HALVED = 0.4, 0.2
_ZOOMS = (0.85, 1.2)
_SCORED_WIDTH = 2048  # of panoramas; at other scales people would score the same pixels otherwise
_HIGHEST = 60.0  # latitude of a region's centre, degrees


@dataclass(frozen=True)
class Patches:
    """Patches of one size: views (N, 3, S, S) uint8; true (N, len(TARGETS)), NaN where nothing is known."""

    views: Tensor
    true: Tensor

    def __len__(self) -> int:
        return len(self.views)


@dataclass(frozen=True)
class _Job:
    scene: Scene
    patching: Patching
    part: int
    folder: Path

    @property
    def path(self) -> Path:
        """Return where the patches are kept, by all that they depend on."""
        key = sha256_json([SCHEMA, self.scene.digest(), self.patching.seed, self.part, list(SIDES.items())])
        return self.folder / f"{self.scene.name}.{self.part}.{key[:16]}.pt"


def make_part(scenes: list[Scene], patching: Patching, part: int, folder: Path, workers: int) -> dict[int, Patches]:
    """Return the patches of one part by their side, of all pictures; finished pictures are kept in `folder`."""
    jobs = [_Job(scene, patching, part, folder) for scene in scenes]
    with Progress(total=len(jobs), desc=f"patches, part {part + 1} of {patching.parts}", unit="picture", leave=False) as bar:
        for _ in run_tasks(_make, jobs, workers, preload=__name__):
            bar.update()
    contents = [_read(job.path) for job in jobs]
    return {side: Patches(*(torch.cat(tensors) for tensors in zip(*(content[side] for content in contents), strict=True)))
            for side in SIDES}


def _read(path: Path) -> dict[int, tuple[Tensor, Tensor]]:
    content = load_torch(path)
    return {side: (content[f"views_{side}"], content[f"true_{side}"]) for side in SIDES}


def _make(job: _Job) -> None:
    """Write the patches of one picture and part, unless they are there and whole."""
    if job.path.is_file():
        try:
            _read(job.path)
            return
        except (ArtefactError, LookupError, TypeError):
            pass  # damaged: made again
    pixels = job.scene.load()
    rng = np.random.default_rng([job.patching.seed, job.part, zlib.crc32(job.scene.name.encode()), pixels.shape[1]])
    content: dict[str, Tensor | str] = {"schema": SCHEMA}
    for side, (regions, count) in SIDES.items():
        views, true = zip(*(_region(pixels, side, count, rng) for _ in range(regions)), strict=True)
        content |= {f"views_{side}": torch.cat(views), f"true_{side}": torch.cat(true)}
    save_torch(content, job.path)


def _region(pixels: np.ndarray, side: int, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Distort one region, see it at one scale, and cut `count` patches: views (count, 3, side, side) uint8, true targets."""
    fate = rng.random()
    zoom = 1.0 if fate < _NATIVE else 0.5 if fate < _NATIVE + _HALVED else float(rng.uniform(*_ZOOMS))
    pristine = _cut(pixels, 2 * round(_HEIGHT / zoom / 2) + 2 * _MARGIN, rng)
    what = draw(rng, pixels.shape[1])
    whole = [_see(picture) for picture in (_distort(what, pristine, rng), pristine)]
    corners = [(int(rng.integers(_HEIGHT - side + 1)), int(rng.integers(2 * _HEIGHT - side + 1))) for _ in range(count)]
    views, references = (torch.stack([picture[:, top:top + side, left:left + side] for top, left in corners])
                         for picture in whole)
    as_scored = pixels.shape[1] == _SCORED_WIDTH and zoom >= min(_ZOOMS)
    said = what if as_scored else Draw(what.parts, None)
    return to_bytes(views), true_targets(said, references, views)


def _cut(pixels: np.ndarray, height: int, rng: np.random.Generator) -> np.ndarray:
    """Return a region (height, 2 height, 3) at a random place, evenly over the sphere but for the poles."""
    rows, columns = pixels.shape[:2]
    latitude = math.degrees(math.asin(rng.uniform(-1, 1) * math.sin(math.radians(_HIGHEST))))
    top = int(np.clip(round((90 - latitude) / 180 * rows - height / 2), 0, rows - height))
    left = int(rng.integers(columns))
    return np.ascontiguousarray(pixels[top:top + height].take(range(left, left + 2 * height), axis=1, mode="wrap"))


def _distort(what: Draw, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Distort a region; blur is that of the plane, as a tangent view shows it."""
    for kind, value in what.parts:
        if kind == "GB":
            blurred = gaussian_filter(pixels.astype(np.float32), (value, value, 0), mode="nearest")
            pixels = np.clip(np.rint(blurred), 0, 255).astype(np.uint8)
        else:
            pixels = distort(kind, value, pixels, rng)
    return pixels


def _see(pixels: np.ndarray) -> Tensor:
    """Cut the margin off and resample to the size at which regions are seen: (3, _HEIGHT, 2 _HEIGHT) in 0..1."""
    inner = torch.from_numpy(pixels[_MARGIN:-_MARGIN, 2 * _MARGIN:-2 * _MARGIN].copy()).permute(2, 0, 1).float() / 255
    if inner.shape[1] == _HEIGHT:
        return inner
    return functional.interpolate(inner[None], (_HEIGHT, 2 * _HEIGHT), mode="bicubic", antialias=True)[0].clamp(0, 1)
