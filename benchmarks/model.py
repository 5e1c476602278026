"""Hold a model of predict.py against what it promises, on scenes that neither it nor its encoders learnt from.

    python benchmarks/model.py --root DIR [--datasets DS …] [--checkpoint FILE]

Reads the databases below --root that the model was made from (docs/model_card.md), keeps the places on the test side of
its split, and scores files as predict.py does: distorted and pristine images, turned, saved again, resized and partly
distorted ones. Prints one line per promise: what was asked, what was measured, on how many.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from tqdm import tqdm

from mmifn.cli.flags import add_root_argument, command_parser
from mmifn.core.errors import UserError, user_main
from mmifn.core.workers import run_tasks, usable_cores
from mmifn.data.images import read_image, write_png
from mmifn.data.manifest import image_paths, read_manifest
from mmifn.data.workspace import Workspace
from mmifn.describe.inputs import reduce_erp
from mmifn.fullref.database import reference_paths
from mmifn.metrics import plcc, srcc
from mmifn.scoring.model import load_model, shipped_path
from mmifn.scoring.panorama import Predictor, open_predictor
from mmifn.scoring.prediction import Prediction
from mmifn.simulate import codecs
from mmifn.simulate.distortions import add_noise, blur_sphere
from mmifn.simulate.panoramas import SYNTHETIC, find_scenes
from mmifn.sphere import degrees_to_directions, erp_directions

UPPER_LEVELS = {5: 3, 11: 6}  # of so many levels, the first of the upper three fifths
RENDERED_STEP = 8  # every so many of the rendered scenes, 4096 px wide, is resized
Change = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Sample:
    """One image of a database: its place and what des.csv says of it; level 0 is pristine."""

    path: Path
    dataset: str
    scene: str
    kind: str
    level: int
    mos: float


def narrower(pixels: np.ndarray) -> np.ndarray:
    """Reduce an ERP to three quarters of its width."""
    return reduce_erp(pixels, len(pixels) * 3 // 4)


def saved_again(pixels: np.ndarray, suffix: str, **options: int) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"again{suffix}"
        if suffix == ".png":
            write_png(pixels, path)
        else:
            Image.fromarray(pixels).save(path, **options)
        return read_image(path)


# What must hardly change the score: points allowed at most (None: none at all), and the change.
HARMLESS: dict[str, tuple[float, Change]] = {
    "turned by 90 degrees": (1.0, lambda x: np.roll(x, x.shape[1] // 4, axis=1)),
    "turned by 37 degrees": (1.0, lambda x: np.roll(x, x.shape[1] * 37 // 360, axis=1)),
    "saved again as PNG": (0.0, lambda x: saved_again(x, ".png")),
    "saved again as JPEG, quality 98": (2.0, lambda x: saved_again(x, ".jpg", quality=98, subsampling=0)),
    "reduced to 3/4 of its width": (4.0, narrower)}


# Regions by the direction that a pixel looks in: x to the right, y up, z ahead.
REGIONS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Change]] = {
    "blur on the left half": (lambda rays: rays[..., 0] < 0, lambda x: blur_sphere(x, 3.3)),
    "noise on the floor": (lambda rays: rays[..., 1] < -0.3, lambda x: add_noise(x, 24, np.random.default_rng(0))),
    "JPEG ahead and to the right": (lambda rays: (rays[..., 0] > 0) & (rays[..., 2] > 0),
                                    lambda x: codecs.decode(codecs.encode_jpeg(x, 7)))}


@dataclass(frozen=True)
class Scored:
    """What one scene gave: (image, score) of its files; harmless change -> points moved; region -> share of the three
    worst views that lie in it."""

    files: list[tuple[Sample, float]]
    moved: dict[str, float]
    located: dict[str, float]


@dataclass(frozen=True)
class Job:
    checkpoint: Path | None
    pristine: Path
    images: list[Sample]

    def predictor(self) -> Predictor:
        return open_predictor("offline", self.checkpoint, "cpu")


def in_region(said: Prediction, inside: Callable[[np.ndarray], np.ndarray]) -> float:
    worst = torch.tensor([(said.viewports[i].lon_deg, said.viewports[i].lat_deg) for i in said.worst(3)], dtype=torch.float64)
    return float(inside(degrees_to_directions(*worst.T).numpy()).mean())


def score_scene(job: Job) -> Scored:
    score, pixels = job.predictor().score_pixels, read_image(job.pristine)
    files = [(image, score(read_image(image.path)).score) for image in job.images]
    own = next(value for image, value in files if image.level == 0)
    moved = {name: abs(score(change(pixels)).score - own) for name, (_, change) in HARMLESS.items()}
    rays, located = erp_directions(*pixels.shape[:2]).numpy(), {}
    for name, (inside, change) in REGIONS.items():
        located[name] = in_region(score(np.where(inside(rays)[..., None], change(pixels), pixels)), inside)
    return Scored(files, moved, located)


def resized_render(job: tuple[Path | None, str]) -> float:
    scene = next(scene for scene in find_scenes(SYNTHETIC) if scene.name == job[1])
    score, pixels = open_predictor("offline", job[0], "cpu").score_pixels, scene.load(2048)
    return abs(score(narrower(pixels)).score - score(pixels).score)


def jobs_of(space: Workspace, datasets: list[str], places: set[str], checkpoint: Path | None) -> list[Job]:
    """Return one job per scene whose place is among those given."""
    images: dict[str, list[Sample]] = {}
    pristine: dict[str, Path] = {}
    for dataset in datasets:
        manifest = read_manifest(space.manifest(dataset), dataset)
        paths = image_paths(manifest, space.images_dir(dataset))
        rows = zip(paths, manifest.references, manifest.scenes(), manifest.types, manifest.levels, manifest.mos, strict=True)
        for path, scene, place, kind, level, mos in rows:
            if place in places:
                images.setdefault(scene, []).append(Sample(path, dataset, scene, kind, level, float(mos)))
        pristine_of = {each.scene: each.path for mine in images.values() for each in mine if each.level == 0}
        pristine |= pristine_of if dataset.startswith("BROAD") else reference_paths(space, manifest)
    jobs = []
    for scene, mine in sorted(images.items()):
        if not any(image.level == 0 for image in mine):
            mine.append(Sample(pristine[scene], mine[0].dataset, scene, "pristine", 0, np.nan))
        jobs.append(Job(checkpoint, pristine[scene], mine))
    if not jobs:
        raise UserError(f"none of {', '.join(datasets)} has a scene of the model's test side ({', '.join(sorted(places))}); give "
                        "the databases that it was made from with --root and --datasets")
    return jobs


def of_design(table: pd.DataFrame) -> pd.Series:
    return ~table.dataset.str.startswith("BROAD")


def step_shares(table: pd.DataFrame) -> Iterator[bool]:
    """Yield for each step to the next level, within scene, database and type, whether the score falls."""
    graded = table[of_design(table) & (table.level > 0)].sort_values("level")
    for _, ladder in graded.groupby(["dataset", "scene", "kind"]):
        yield from (np.diff(ladder.score) < 0).tolist()


def pristine_above(table: pd.DataFrame) -> Iterator[bool]:
    """Yield for each image of the upper three fifths of the levels whether the pristine panorama scores higher."""
    best = table[table.level == 0].groupby("scene").score.min()
    for _, group in table[of_design(table)].groupby(["dataset", "kind"]):
        worst = group.level.max()
        if worst in UPPER_LEVELS:
            upper = group[group.level >= UPPER_LEVELS[worst]]
            yield from (upper.score < best[upper.scene].to_numpy()).tolist()


def report(scored: list[Scored], renders: list[float], interval: Callable[[float], tuple[float, float]] | None) -> None:
    table = pd.DataFrame([{**vars(image), "score": score} for scene in scored for image, score in scene.files])
    judged = table.dropna(subset="mos")

    def line(what: str, wanted: str, measured: str, count: int | str) -> None:
        print(f"{what:<66} {wanted:>8}  {measured:>11}  {count}")

    line("promise", "wanted", "measured", "of")
    line("SRCC with the simulated scores, all types and levels", ">= .93", f"{srcc(judged.score, judged.mos):.3f}", len(judged))
    for dataset, rows in judged.groupby("dataset"):
        figures = f"{srcc(rows.score, rows.mos):.3f} {plcc(rows.score, rows.mos):.3f}"
        line(f"  SRCC, PLCC (raw) on {dataset}", "", figures, len(rows))
    for what, wanted, values in (("score falls to the next level, within scene and type", ">= 95 %", step_shares(table)),
                                 ("pristine above the upper three fifths of the levels", ">= 99 %", pristine_above(table))):
        held = list(values)
        line(what, wanted, f"{100 * np.mean(held):.1f} %", len(held))
    if interval:
        inside = [low <= mos <= high for mos, (low, high) in zip(judged.mos, map(interval, judged.score), strict=True)]
        line("interval of 90 % holds the simulated score", "85-95 %", f"{100 * np.mean(inside):.1f} %", len(inside))
    for name, (limit, _) in HARMLESS.items():
        moved = [scene.moved[name] for scene in scored]
        figures = f"{np.median(moved):.2f} ({max(moved):.2f})"
        line(f"points moved when {name}, median (worst)", f"<= {limit:g}", figures, len(moved))
    line("points moved, rendered 4096 to 3072 px, worst", "< 4", f"{max(renders):.2f}", len(renders))
    for name in REGIONS:
        located = [scene.located[name] for scene in scored]
        line(f"{name}: share of the 3 worst views there", "1.00", f"{np.mean(located):.2f}", len(located))


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    add_root_argument(parser)
    parser.add_argument("--datasets", nargs="+", default=["CVIQ2K", "OIQA2K", "BROAD2K"], metavar="DS",
                        help="of one size (default: %(default)s)")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="model (default: the one that ships)")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    model = load_model(args.checkpoint or shipped_path("offline"))
    jobs = jobs_of(Workspace(args.root), args.datasets, set(model.checkpoint.split.test), args.checkpoint)
    print(f"{len(jobs)} scenes of {len(model.checkpoint.split.test)} places kept out: {', '.join(model.checkpoint.split.test)}")
    results = tqdm(run_tasks(score_scene, jobs, usable_cores()), total=len(jobs), desc="scoring", unit="scene")
    scored = [result for _, result in results]
    rendered = [(args.checkpoint, scene.name) for scene in find_scenes(SYNTHETIC)[::RENDERED_STEP]]
    renders = [moved for _, moved in run_tasks(resized_render, rendered, usable_cores())]
    known = model.calibration
    report(scored, renders, (lambda score: known.interval(score, 0.0, 100.0)) if known else None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
