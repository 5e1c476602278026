"""Fit what the measured words rest on, on simulated distortions: which kind a picture suffers from, and how much.

The constants lie in calibrated.json. Scenes for fitting and for checking never share a location.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge

from mmifn.core.errors import UserError
from mmifn.core.files import write_text
from mmifn.core.json_text import parse_json
from mmifn.core.progress import Progress
from mmifn.core.schema import built
from mmifn.core.workers import run_tasks
from mmifn.describe.measured import calibration
from mmifn.describe.measured.statistics import NAMES, measure
from mmifn.simulate import codecs
from mmifn.simulate.distortions import add_noise, blur_sphere
from mmifn.simulate.panoramas import Scene
from mmifn.sphere import latitude_weights

CALIBRATION_SHARE = 0.27  # of the locations; the rest checks
SPLIT_SEED, DRAW_SEED = 20, 7  # of the locations, of strengths and noise
Distort = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]

DISTORTIONS: dict[str, tuple[str, Distort]] = {
    "JPEG": ("compression", lambda x, q, rng: codecs.decode(codecs.encode_jpeg(x, round(q)))),
    "JP2K": ("compression", lambda x, r, rng: codecs.decode(codecs.encode_jpeg2000(x, r))),
    "AVC": ("compression", lambda x, q, rng: codecs.decode_intra(codecs.encode_intra(x, "h264", round(q)), "h264")),
    "HEVC": ("compression", lambda x, q, rng: codecs.decode_intra(codecs.encode_intra(x, "hevc", round(q)), "hevc")),
    "GN": ("noise", lambda x, s, rng: add_noise(x, s, rng)),
    "GB": ("blur", lambda x, s, rng: blur_sphere(x, s)),
}
# Weakest and strongest strength drawn for fitting (log-uniform, QP uniform), and how many draws a scene.
RANGES = {"JPEG": (70, 3, 4), "JP2K": (15, 600, 4), "AVC": (26, 51, 3), "HEVC": (26, 51, 2), "GN": (2.5, 70, 4),
          "GB": (0.5, 5.5, 4)}
MIXED_PER_SCENE = 3
# Weaker than this the kind is not asked for in fitting: neither "none" nor the distortion would be wrong.
MILD = {"JPEG": 55, "JP2K": 22, "AVC": 29, "HEVC": 29, "GN": 3, "GB": 0.6}
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# Severity by loss: calibration.severity_of_points of the points below pristine ones in CVIQ. At each loss, halfway between where
# its JPEG levels and where its H.264 levels put it.
SEVERITY_LOSSES = (0.0, 0.004, 0.012, 0.02, 0.035, 0.05, 0.08, 0.10, 0.16, 0.21, 0.30)
SEVERITIES = (0.0, 0.1, 0.35, 0.7, 1.35, 1.9, 2.8, 3.1, 4.0, 4.3, 5.0)


@dataclass(frozen=True)
class Sample:
    """A measured distorted panorama: the loss of MS-SSIM by each part alone, and by the whole."""

    scene: str
    type: str
    strength: float
    values: np.ndarray
    parts: dict[str, float]
    loss: float


def split_scenes(scenes: list[Scene]) -> tuple[list[Scene], list[Scene]]:
    """Return scenes for fitting and for checking, disjoint by location."""
    places = sorted({scene.location for scene in scenes})
    chosen = set(np.random.default_rng(SPLIT_SEED).permutation(places)[:round(CALIBRATION_SHARE * len(places))])
    return ([scene for scene in scenes if scene.location in chosen],
            [scene for scene in scenes if scene.location not in chosen])


def ms_ssim_loss(reference: np.ndarray, distorted: np.ndarray) -> float:
    """Return 1 - MS-SSIM (Wang et al. 2003; luma, area-weighted) of two ERPs (H, W, 3) uint8."""
    def smooth(plane: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(plane, (11, 11), 1.5)

    a, b = (cv2.cvtColor(x, cv2.COLOR_RGB2GRAY).astype(np.float32) for x in (reference, distorted))
    c1, c2, result = (0.01 * 255) ** 2, (0.03 * 255) ** 2, 1.0
    for i, weight in enumerate(MS_SSIM_WEIGHTS):
        mean_a, mean_b = smooth(a), smooth(b)
        var_a, var_b = smooth(a * a) - mean_a ** 2, smooth(b * b) - mean_b ** 2
        similar = (2 * (smooth(a * b) - mean_a * mean_b) + c2) / (var_a + var_b + c2)
        if i == len(MS_SSIM_WEIGHTS) - 1:
            similar = similar * (2 * mean_a * mean_b + c1) / (mean_a ** 2 + mean_b ** 2 + c1)
        area = latitude_weights(len(similar)).numpy()
        result *= max(float(np.average(similar.mean(axis=1), weights=area)), 0.0) ** weight
        a, b = (cv2.resize(x, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for x in (a, b))
    return 1 - result


def severity_of(loss: float) -> float:
    """Place a loss of MS-SSIM on the scale of severity, 0..5."""
    return float(np.interp(loss, SEVERITY_LOSSES, SEVERITIES))


def _draw(kind: str, rng: np.random.Generator) -> float:
    weak, strong, _ = RANGES[kind]
    position = rng.random()
    return weak + (strong - weak) * position if kind in ("AVC", "HEVC") else weak * (strong / weak) ** position


def fitting_samples(scene: Scene) -> list[Sample]:
    """Distort one scene at random strengths, at two sizes, alone and in pairs, and measure all."""
    rng = np.random.default_rng([DRAW_SEED, *scene.name.encode()])
    samples = []
    for height in (None, 512):
        pristine = scene.load(height)
        samples.append(Sample(scene.name, "pristine", 0.0, measure(pristine).vector(), {}, 0.0))
        for kind, (_, distort) in DISTORTIONS.items():
            for _ in range(RANGES[kind][2] if height is None else 1):
                strength = _draw(kind, rng)
                image = distort(pristine, strength, rng)
                loss = ms_ssim_loss(pristine, image)
                samples.append(Sample(scene.name, kind, strength, measure(image).vector(),
                                      {DISTORTIONS[kind][0]: loss}, loss))
        for _ in range(MIXED_PER_SCENE if height is None else 0):
            samples.append(_mixed(scene.name, pristine, rng))
    return samples


def _mixed(name: str, pristine: np.ndarray, rng: np.random.Generator) -> Sample:
    """Blur or add noise, then compress, as a camera and its codec do."""
    first, second = rng.choice(["GN", "GB"]), rng.choice(["JPEG", "JP2K", "AVC", "HEVC"])
    image, parts = pristine, {}
    for kind in (first, second):
        strength = _draw(kind, rng)
        parts[DISTORTIONS[kind][0]] = ms_ssim_loss(pristine, DISTORTIONS[kind][1](pristine, strength, rng))
        image = DISTORTIONS[kind][1](image, strength, rng)
    return Sample(name, f"{first}+{second}", 0.0, measure(image).vector(), parts, ms_ssim_loss(pristine, image))


def gather_samples(scenes: list[Scene], workers: int, path: Path | None) -> list[Sample]:
    """Measure the samples for fitting, or take them from a file of an earlier run."""
    if path and path.is_file():
        try:
            rows = [parse_json(line) for line in path.read_bytes().splitlines()]
            return [_sample(row) for row in rows]
        except (ValueError, TypeError, LookupError) as error:
            raise UserError(f"{path} holds no measurements of this version ({error}); name another file, or remove it") from error
    samples = over_scenes(fitting_samples, scenes, workers)
    if path:
        write_text(path, "".join(json.dumps({**vars(sample), "values": sample.values.tolist()}) + "\n" for sample in samples))
    return samples


def _sample(row: dict[str, Any]) -> Sample:
    """Return a sample as it was written; raises ValueError, TypeError or LookupError where it is none."""
    sample = built(Sample, {**row, "values": np.array(row["values"], dtype=np.float64)})
    if sample.values.shape != (len(NAMES),):
        raise ValueError(f"{sample.values.size} values, wanted {len(NAMES)}")
    return sample


def fit_constants(samples: list[Sample]) -> dict[str, Any]:
    """Fit kind and severities; return the constants of mmifn.describe.measured.calibration."""
    measured = np.array([calibration.features(dict(zip(NAMES, sample.values, strict=True))) for sample in samples])
    mean, scale = measured.mean(axis=0), measured.std(axis=0)
    full = calibration.with_squares((measured - mean) / scale)
    kinds = np.array([_kind(sample) for sample in samples])
    told = kinds != ""
    logistic = LogisticRegression(C=1.0, class_weight="balanced", max_iter=5000)
    logistic.fit(full[told, :len(mean)], kinds[told])
    blocked = np.array([sample.values[NAMES.index("blocking")] >= calibration.BLOCKED for sample in samples])
    ridges = []
    for target in calibration.TARGETS:
        name, _, regime = target.partition(", ")
        wanted = np.array([severity_of(sample.loss if name == "loss" else sample.parts.get(name, 0.0)) for sample in samples])
        rows = np.full(len(samples), True) if name in ("blur", "noise") else blocked == (regime == "blocked")
        ridges.append(Ridge(alpha=1.0).fit(full[rows], wanted[rows]))

    def short(values: np.ndarray) -> list:
        return np.vectorize(lambda value: float(f"{value:.5g}"))(values).tolist()

    return {"features": list(calibration.FEATURES), "kinds": logistic.classes_.tolist(),
            "scenes": sorted({sample.scene for sample in samples}), "samples": len(samples),
            "mean": short(mean), "scale": short(scale), "kind_weights": short(logistic.coef_),
            "kind_bias": short(logistic.intercept_), "severity_weights": short(np.stack([r.coef_ for r in ridges])),
            "severity_bias": short(np.array([r.intercept_ for r in ridges]))}


def _kind(sample: Sample) -> str:
    """Return the kind to be told for a sample, "" where it is not asked for."""
    if sample.type not in MILD:
        return "none" if sample.type == "pristine" else ""
    weak, strong, _ = RANGES[sample.type]
    return DISTORTIONS[sample.type][0] if (sample.strength - MILD[sample.type]) * (strong - weak) >= 0 else ""


def over_scenes(work: Callable[[Scene], list], scenes: list[Scene], workers: int) -> list:
    """Do work on every scene in parallel; return all results in the order of the scenes."""
    done = dict(Progress(run_tasks(work, scenes, workers), total=len(scenes), unit="scene", file=sys.stderr))
    return [item for i in range(len(scenes)) for item in done[i]]


def write_constants(constants: dict[str, Any], path: Path) -> None:
    """Write the constants atomically as JSON, one name a line."""
    rows = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in constants.items()]
    write_text(path, "{\n" + ",\n".join(rows) + "\n}\n")
