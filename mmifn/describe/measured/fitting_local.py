"""Fit the constants of local.py: regions of the calibration scenes, put together of pristine and distorted measurements.

A patch inside a region has the statistics of the distorted picture, one outside those of the pristine one, one on the edge
their mean by share; so a picture is distorted and measured once for any number of regions.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import cv2
import numpy as np

from mmifn.core.workers import run_tasks
from mmifn.describe.measured import local
from mmifn.describe.measured.statistics import tile_maps
from mmifn.simulate import codecs
from mmifn.simulate.distortions import add_noise, blur_sphere
from mmifn.simulate.panoramas import Scene

# Kind, what is done, and the severity that the judge of whole panoramas gives it (docs/words.md).
DISTORTIONS = (
    ("blur", lambda x, rng: blur_sphere(x, 1.2), 1.8), ("blur", lambda x, rng: blur_sphere(x, 2.5), 3.7),
    ("noise", lambda x, rng: add_noise(x, 8.0, rng), 1.2), ("noise", lambda x, rng: add_noise(x, 20.0, rng), 2.9),
    ("compression", lambda x, rng: codecs.decode(codecs.encode_jpeg(x, 25)), 1.45),
    ("compression", lambda x, rng: codecs.decode(codecs.encode_jpeg(x, 10)), 2.6),
)  # fmt: skip
HEIGHTS = (512, 1024)
SAVED = (88, 99)  # JPEG qualities, from and below
REGIONS, SEED, UNTOLD = 6, 0, -1  # regions of each distorted picture; the kind of patches on an edge
_GRID = (45, 90)


def _region(rng: np.random.Generator) -> np.ndarray:
    """Draw a region, the share of each patch in it: half, floor, part of a side above or below the horizon, or a pole."""
    _, lat, lon = local.rays_of(*_GRID)
    kind, middle = rng.integers(4), rng.uniform(-180, 180)
    away = np.abs((lon - middle + 180) % 360 - 180)
    masks = (away < 90, lat < rng.uniform(-50, 0), (away < rng.uniform(45, 90)) & ((lat > 0) ^ bool(rng.integers(2))),
             (lat * rng.choice([-1, 1])) > rng.uniform(35, 55))
    return local.shares_of(masks[kind], *_GRID)


def scene_samples(scene: Scene, heights: tuple[int, ...] = HEIGHTS) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Return of one scene (features of the patches, their kinds as indices of local.KINDS, severity) for every region."""
    rng = np.random.default_rng([SEED, *scene.name.encode()])
    samples = []
    for height in heights:
        pristine = cv2.resize(scene.load(), (2 * height, height), interpolation=cv2.INTER_AREA)
        for quality in (None, int(rng.integers(*SAVED))):  # as it is, and saved as cameras and stitchers do
            samples += _samples(pristine, quality, rng)
    return samples


def _measured(pixels: np.ndarray, quality: int | None) -> np.ndarray:
    """Return the features of the patches of a picture, saved as JPEG before where a quality is given."""
    saved = pixels if quality is None else codecs.decode(codecs.encode_jpeg(pixels, quality))
    return local.patch_statistics(tile_maps(saved, 1)[0])


def _samples(pristine: np.ndarray, quality: int | None, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Return the samples of one picture: pristine, and every distortion all over and in regions."""
    clean = _measured(pristine, quality)
    samples = [(clean, np.zeros(len(clean)), 0.0)]
    for kind, distort, severity in DISTORTIONS:
        spoilt = _measured(distort(pristine, rng), quality)
        label = local.KINDS.index(kind)
        samples.append((spoilt, np.full(len(clean), label), severity))
        for share in (_region(rng)[:, None] for _ in range(REGIONS)):
            mixed = share * np.nan_to_num(spoilt) + (1 - share) * np.nan_to_num(clean)
            patches = np.where(share > local.FULL, spoilt, np.where(share < local.EMPTY, clean, mixed))
            kinds = np.where(share > local.FULL, label, np.where(share < local.EMPTY, 0, UNTOLD))[:, 0]
            samples.append((patches, kinds, severity))
    return samples


def fit_local(scenes: list[Scene], workers: int, heights: tuple[int, ...] = HEIGHTS) -> dict[str, Any]:
    """Fit the judge of patches and its severities; return the content of local.json."""
    from sklearn.linear_model import LogisticRegression, Ridge

    done = dict(run_tasks(partial(scene_samples, heights=heights), scenes, workers))
    patches, kinds, levels = zip(*(sample for i in range(len(scenes)) for sample in done[i]), strict=True)
    rows = np.concatenate([local.design(patch) for patch in patches])
    mean, scale = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    rows = np.clip((rows - mean) / scale, -local.LIMIT, local.LIMIT)
    kind, level = np.concatenate(kinds), np.repeat(levels, len(local.directions()))
    told = kind != UNTOLD
    judge = LogisticRegression(C=1.0, max_iter=150, class_weight="balanced").fit(rows[told], kind[told])
    ridges = [Ridge(alpha=10.0).fit(rows[kind == k], level[kind == k]) for k in range(1, len(local.KINDS))]

    def short(values: np.ndarray) -> list:
        return np.vectorize(lambda value: float(f"{value:.5g}"))(values).tolist()

    return {"scenes": sorted(scene.name for scene in scenes), "samples": len(patches), "mean": short(mean), "scale": short(scale),
            "weights": short(judge.coef_), "bias": short(judge.intercept_),
            "severity_weights": short(np.stack([ridge.coef_ for ridge in ridges])),
            "severity_bias": short(np.array([ridge.intercept_ for ridge in ridges]))}
