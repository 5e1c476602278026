"""Check, or remake, the calibration of the measured descriptions on simulated distortions.

    python benchmarks/describe.py --panoramas DIR               check on held-out scenes; prints the table of docs/words.md
    python benchmarks/describe.py --panoramas DIR --calibrate   fit on the calibration scenes; rewrites the constants
    python benchmarks/describe.py --panoramas DIR --speed       time it

Scenes for fitting and for checking never share a location (manifest.csv beside the panoramas).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from mmifn.cli.flags import command_parser
from mmifn.core.errors import user_main
from mmifn.core.files import write_text
from mmifn.core.workers import run_tasks
from mmifn.data.images import write_png
from mmifn.describe.generation import Item
from mmifn.describe.measured.describer import MeasuredDescriber, calibration, describe
from mmifn.describe.measured.statistics import NAMES, measure
from mmifn.simulate import codecs
from mmifn.simulate.distortions import add_noise, blur_sphere
from mmifn.simulate.panoramas import Scene, find_scenes
from mmifn.sphere import latitude_weights

CALIBRATION_SHARE = 0.27  # of the locations; the rest checks
SPLIT_SEED, DRAW_SEED = 20, 7
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
# Severity by loss: 5 (p - MOS) / (p - z), p the mean opinion of CVIQ's pristine images (69.5), z that of its JPEG at
# quality 0 (17.5). At each loss, halfway between where its JPEG levels and where its H.264 levels put it.
SEVERITY_LOSSES = (0.0, 0.004, 0.012, 0.02, 0.035, 0.05, 0.08, 0.10, 0.16, 0.21, 0.30)
SEVERITIES = (0.0, 0.1, 0.35, 0.7, 1.35, 1.9, 2.8, 3.1, 4.0, 4.3, 5.0)
# Five levels for checking: those of the OIQA-like design, and QPs over the range of CVIQ.
LEVELS = {"JPEG": (45, 30, 18, 11, 7), "JP2K": (30, 55, 100, 190, 450), "GN": (6, 10, 22, 34, 60),
          "GB": (0.8, 1.2, 1.9, 2.8, 4.5), "AVC": (30, 35, 40, 45, 50), "HEVC": (30, 35, 40, 45, 50)}
BAR_LEVELS = (3, 4, 5)


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


def gather(scenes: list[Scene], workers: int, path: Path | None) -> list[Sample]:
    """Measure the samples for fitting, or take them from a file of an earlier run."""
    if path and path.is_file():
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [Sample(**{**row, "values": np.array(row["values"])}) for row in rows]
    samples = over_scenes(fitting_samples, scenes, workers)
    if path:
        write_text(path, "".join(json.dumps({**vars(each), "values": each.values.tolist()}) + "\n" for each in samples))
    return samples


def fit(samples: list[Sample]) -> dict:
    """Fit kind and severities; return the constants of mmifn.describe.measured.calibration."""
    from sklearn.linear_model import LogisticRegression, Ridge

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


@dataclass(frozen=True)
class Check:
    """What was said of one held-out picture."""

    scene: str
    type: str
    level: int
    dominant: str
    loss: float
    text: str


def check_scene(scene: Scene) -> list[Check]:
    """Describe one scene, pristine and at all levels of all distortions."""
    rng = np.random.default_rng([DRAW_SEED + 1, *scene.name.encode()])
    pristine, found = scene.load(), []
    cases = [("pristine", 0)] + [(kind, i + 1) for kind, values in LEVELS.items() for i in range(len(values))]
    for kind, level in cases:
        told = describe(DISTORTIONS[kind][1](pristine, LEVELS[kind][level - 1], rng) if level else pristine)
        found.append(Check(scene.name, kind, level, told.dominant, calibration.judge(told.statistics).loss, told.text))
    return found


def right_kinds(kind: str) -> set[str]:
    """Return the right answers; JPEG 2000 at high ratios is a loss of detail, so "blur" is right for it too."""
    return {DISTORTIONS[kind][0]} | ({"blur"} if kind == "JP2K" else set())


def print_table(checks: list[Check]) -> bool:
    """Print what was told for each type and level, and the bars; return whether both are met."""
    print(f"{len({check.scene for check in checks})} held-out scenes; strengths: {LEVELS}")
    print("| distortion | level 1 | 2 | 3 | 4 | 5 | levels 3-5 | told instead (levels 3-5) |\n|---|---|---|---|---|---|---|---|")
    hits: list[bool] = []
    for kind in LEVELS:
        rows = [check for check in checks if check.type == kind]
        shares = [np.mean([row.dominant in right_kinds(kind) for row in rows if row.level == level]) for level in range(1, 6)]
        upper = [row for row in rows if row.level in BAR_LEVELS]
        good = [row.dominant in right_kinds(kind) for row in upper]
        wrong = [row.dominant for row in upper if row.dominant not in right_kinds(kind)]
        hits += good
        told = ", ".join(f"{name} {wrong.count(name)}" for name in sorted(set(wrong))) or "-"
        print(f"| {kind} | " + " | ".join(f"{100 * share:.0f} %" for share in shares)
              + f" | {100 * np.mean(good):.1f} % | {told} |")
    alarms = [check for check in checks if check.type == "pristine" and check.dominant != "none"]
    pristine = sum(check.type == "pristine" for check in checks)
    blur = [check for check in checks if check.type == "JP2K" and check.level in BAR_LEVELS and check.dominant == "blur"]
    print(f"\nlevels 3-5 named right: {100 * np.mean(hits):.1f} % of {len(hits)} (bar: 90 %); JPEG 2000 called blur: {len(blur)}")
    print(f"false alarms on pristine scenes: {len(alarms)} of {pristine} = {100 * len(alarms) / pristine:.1f} % (bar: 10 %)"
          + "".join(f"\n  {check.scene}: {check.text}" for check in alarms))
    return np.mean(hits) >= 0.9 and len(alarms) <= 0.1 * pristine


def measure_speed(scene: Scene, workers: int, count: int = 80) -> None:
    """Time `count` distinct images of one scene's size through the source itself."""
    pristine = scene.load()
    with tempfile.TemporaryDirectory() as folder:
        items = [Item(f"{i}.png", Path(folder) / f"{i}.png") for i in range(count)]
        for i, item in enumerate(items):
            write_png(np.roll(pristine, 5 * i, axis=1), item.path)
        start = time.perf_counter()
        done = sum(1 for _ in tqdm(MeasuredDescriber(workers).describe(items), total=count, file=sys.stderr))
        spent = time.perf_counter() - start
    print(f"{done} images of {pristine.shape[1]}x{pristine.shape[0]} in {spent:.0f} s with {workers} processes: "
          f"{spent / done:.2f} s each, {320 * spent / done / 60:.1f} minutes for 320 (bar: 8)")


def over_scenes(work: Callable[[Scene], list], scenes: list[Scene], workers: int) -> list:
    """Do work on every scene in parallel; return all results in the order of the scenes."""
    done = dict(tqdm(run_tasks(work, scenes, workers), total=len(scenes), unit="scene", file=sys.stderr))
    return [item for i in range(len(scenes)) for item in done[i]]


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    parser.add_argument("--panoramas", required=True, help="folder of pristine panoramas, or 'synthetic'")
    parser.add_argument("--calibrate", action="store_true", help="fit, and rewrite the package's constants")
    parser.add_argument("--samples", type=Path, metavar="FILE", help="with --calibrate: keep the measurements there, and "
                        "use them again where the file exists")
    parser.add_argument("--speed", action="store_true", help="time the measurement instead of checking it")
    parser.add_argument("--scenes", type=int, metavar="N", help="check at most N held-out scenes")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default: %(default)s)")
    parser.add_argument("--texts", type=Path, metavar="FILE", help="also write every text told, as JSON lines")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    fitting, checking = split_scenes(find_scenes(args.panoramas))
    if args.speed:
        measure_speed(checking[0], args.workers)
        return 0
    if args.calibrate:
        constants = fit(gather(fitting, args.workers, args.samples))
        rows = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in constants.items()]
        write_text(calibration.FILE, "{\n" + ",\n".join(rows) + "\n}\n")
        print(f"{calibration.FILE}: fitted on {constants['samples']} pictures of {len(fitting)} scenes")
        return 0
    checks = over_scenes(check_scene, checking[:args.scenes], args.workers)
    if args.texts:
        write_text(args.texts, "".join(json.dumps(vars(check), ensure_ascii=False) + "\n" for check in checks))
    return 0 if print_table(checks) else 1


if __name__ == "__main__":
    sys.exit(main())
