"""Hold a model of predict.py against what people said, at every size of panorama, on scenes that nothing learnt from.

    python benchmarks/sizes.py --panoramas DIR [--scenes NAMES] [--checkpoint FILE] [--levels 2,5,8,11]

DIR holds pristine panoramas of 4096 px or more. CVIQ's own settings are applied to each at 4096 px, where people judged
them, reduced to 2048 px, and enlarged to 8192 px (JPEG only), and scored as predict.py does. Then panoramas are reduced,
enlarged, saved again and turned, flawless and distorted, and noise, blur and darkness are made stronger than any that people
judged. Prints one line per promise: what was asked, what was measured, on how many.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from mmifn.core.defaults import EQUIRECTANGULAR
from mmifn.core.errors import user_main
from mmifn.core.workers import run_tasks, usable_cores
from mmifn.data.placement import place
from mmifn.describe.inputs import to_pixels
from mmifn.metrics import MIN_IMAGES, srcc
from mmifn.scoring.model import load_model, shipped_path
from mmifn.scoring.panorama import Predictor, open_predictor
from mmifn.simulate import codecs
from mmifn.simulate.comparison import SceneComparison
from mmifn.simulate.curves import ceiling, mos_of_fsim, setting_mos
from mmifn.simulate.designs import DESIGNS, Distortion
from mmifn.simulate.distortions import add_noise, blur_sphere, expose
from mmifn.simulate.human_anchor import HUMAN_MOS
from mmifn.simulate.panoramas import Scene, listed_scenes
from mmifn.simulate.regional import Part
from mmifn.simulate.settings import scene_list
from mmifn.sphere import resize_erp

JUDGED_WIDTH, SMALL_WIDTH, LARGE_WIDTH = 4096, 2048, 8192
NOISE = (10, 20, 40, 80, 120)  # standard deviation in grey values; people judged up to 34
BLUR = (2, 4, 8, 12, 16, 24)  # sigma in pixels of 2048; people judged up to 5.1 of 4096
DARK = (-2, -3, -4, -5, -6)  # stops
MIDDLE = 8  # level of CVIQ's designs that is enlarged, reduced, turned and saved again


@dataclass(frozen=True)
class Job:
    scene: Scene
    checkpoint: Path | None
    levels: tuple[int, ...]

    def predictor(self) -> Predictor:
        return open_predictor("offline", self.checkpoint, "cpu")


def resized(pixels: np.ndarray, width: int) -> np.ndarray:
    return pixels if pixels.shape[1] == width else to_pixels(resize_erp(pixels, width // 2, width))


def distort(pixels: np.ndarray, kind: Distortion, level: int) -> np.ndarray:
    return kind.apply(pixels, kind.values[level - 1], np.random.default_rng(0)).pixels


HARMLESS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "turned by 37 degrees": lambda x: np.roll(x, x.shape[1] * 37 // 360, axis=1),
    "saved again as JPEG, quality 98": lambda x: codecs.decode(codecs.encode_jpeg(x, 98)),
    "reduced to 3/4 of its width": lambda x: resized(x, x.shape[1] * 3 // 4)}


def score_scene(job: Job) -> list[dict]:
    """Return one row per scored picture: what (group), kind, level, width, score, and the person's or the rule's score."""
    predictor, full = job.predictor(), resized(job.scene.load(), JUDGED_WIDTH)
    rows: list[dict] = []

    def note(what: str, pixels: np.ndarray, kind: str = "pristine", level: int = 0, wanted: float = np.nan) -> float:
        said = predictor.score_sphere(place(pixels, what, projection=EQUIRECTANGULAR)[0])  # some are spoilt beyond knowing them
        low, high = said.interval or (np.nan, np.nan)
        rows.append({"scene": job.scene.name, "what": what, "kind": kind, "level": level, "width": pixels.shape[1],
                     "score": said.score, "wanted": wanted, "low": low, "high": high})
        return said.score

    for width in (JUDGED_WIDTH, SMALL_WIDTH, LARGE_WIDTH):
        pristine = resized(full, width)
        note("flawless", pristine, wanted=ceiling(width))
        for kind in DESIGNS["CVIQ"]:
            if width == LARGE_WIDTH and kind.type != "JPEG":
                continue  # minutes a picture for the others
            for level in job.levels if width != LARGE_WIDTH else job.levels[1:3]:
                people = HUMAN_MOS["CVIQ", kind.type][level - 1][0]
                wanted = people if width == JUDGED_WIDTH else setting_mos(kind.type, kind.values[level - 1], width)
                note("settings", distort(pristine, kind, level), kind.type, level, wanted)
    _resized_and_changed(full, note)
    return rows


def _resized_and_changed(full: np.ndarray, note: Callable[..., float]) -> None:
    """Note what becomes of one picture of each kind when it is resized or changed harmlessly, and of more and more noise."""
    small = resized(full, SMALL_WIDTH)
    note("enlarged", resized(small, JUDGED_WIDTH))
    compare = SceneComparison(full)
    flawless = compare.fsim(small)
    for kind in DESIGNS["CVIQ"][::2]:  # JPEG and HEVC
        note("enlarged", resized(distort(small, kind, MIDDLE), JUDGED_WIDTH), kind.type, MIDDLE)
        reduced = resized(distort(full, kind, MIDDLE), SMALL_WIDTH)
        note("reduced", reduced, kind.type, MIDDLE, mos_of_fsim((kind.type,), compare.fsim(reduced), flawless))
    noisy = {sigma: add_noise(small, sigma, np.random.default_rng(0)) for sigma in NOISE}
    for sigma, pixels in noisy.items():
        note("noise", pixels, "GN", sigma)
    for sigma in BLUR:
        note("blur", blur_sphere(small, sigma), "GB", sigma)
        note("blur of the left half", Part("GB", sigma, "half", "left half").apply(small, np.random.default_rng(0)), "GB", sigma)
    for stops in DARK:
        note("darkness", expose(small, stops), "EXP", -stops)
    for kind, pixels in (("GN", noisy[NOISE[1]]), ("JPEG", distort(small, DESIGNS["CVIQ"][0], MIDDLE)),
                         ("HEVC", distort(small, DESIGNS["CVIQ"][2], MIDDLE))):
        before = note("changed", pixels, kind)
        for name, change in HARMLESS.items():
            note(name, change(pixels), kind, wanted=before)


# --- the report --------------------------------------------------------------------------------------------------------

def level_means(table: pd.DataFrame) -> pd.DataFrame:
    return table.groupby(["kind", "level"])[["score", "wanted"]].mean()


def pairs(table: pd.DataFrame, narrow: int, wide: int) -> Iterator[bool]:
    """Yield for each scene, kind and level at two widths whether the wider scores higher."""
    settings = table[table.what == "settings"].set_index(["scene", "kind", "level"])
    for key, row in settings[settings.width == wide].iterrows():
        smaller = settings[settings.width == narrow]
        if key in smaller.index:
            yield row.score > smaller.loc[key].score


def line(what: str, wanted: str, measured: str, count: int | str) -> None:
    print(f"{what:<66} {wanted:>10}  {measured:>16}  {count}")


def spread(moved: pd.Series) -> str:
    return f"{moved.median():.1f} ({moved.max():.1f})"


def report(table: pd.DataFrame) -> None:
    line("promise", "wanted", "measured", "of")
    for width in (JUDGED_WIDTH, SMALL_WIDTH, LARGE_WIDTH):
        mine = table[(table.what == "settings") & (table.width == width)]
        means = level_means(mine)
        error = means.score - means.wanted
        whose = "people's" if width == JUDGED_WIDTH else "the label rule's"
        line(f"{width} px: bias against {whose} level means", "<= 3", f"{error.mean():+.1f}", len(means))
        line("  RMSE of the level means", "<= 4", f"{np.sqrt((error ** 2).mean()):.1f}", len(means))
        if len(means) >= MIN_IMAGES:
            ranks = srcc(means.score.to_numpy(), means.wanted.to_numpy())
            line("  SRCC of the level means", ">= .985", f"{ranks:.3f}", len(means))
        for kind, rows in mine.dropna(subset="low").groupby("kind"):
            inside = (rows.low <= rows.wanted) & (rows.wanted <= rows.high)
            line(f"  {kind}: mean inside the 90 % interval", "85-95 %", f"{100 * inside.mean():.0f} %", len(rows))
        flawless = table[(table.what == "flawless") & (table.width == width)]
        off = (flawless.score - flawless.wanted)
        line(f"  flawless against the ceiling {flawless.wanted.iloc[0]:.1f}, median (worst)", "<= 3",
             f"{off.median():+.1f} ({off.loc[off.abs().idxmax()]:+.1f})", len(off))
    for narrow, wide in ((SMALL_WIDTH, JUDGED_WIDTH), (JUDGED_WIDTH, LARGE_WIDTH)):
        held = list(pairs(table, narrow, wide))
        line(f"one setting scores higher at {wide} than at {narrow} px", ">= 95 %", f"{100 * np.mean(held):.1f} %", len(held))
    _report_changes(table)


def _report_changes(table: pd.DataFrame) -> None:
    by = table.set_index(["scene", "kind", "level"])
    small = by[by.what.isin(["settings", "flawless"]) & (by.width == SMALL_WIDTH)].score
    enlarged = by[by.what == "enlarged"].score
    moved = (enlarged - small.reindex(enlarged.index)).dropna().abs()
    line("points moved when enlarged from 2048 to 4096 px, median (worst)", "<= 2", spread(moved), len(moved))
    reduced = table[table.what == "reduced"]
    off = (reduced.score - reduced.wanted).abs()
    line("distorted at 4096, reduced to 2048 px: off the label rule by", "<= 4", spread(off), len(off))
    for what, scale in (("noise", f"sigma {NOISE[0]} to {NOISE[-1]}"), ("blur", f"sigma {BLUR[0]} to {BLUR[-1]} px"),
                        ("blur of the left half", f"{BLUR[0]} to {BLUR[-1]} px"),
                        ("darkness", f"{-DARK[0]} to {-DARK[-1]} stops")):
        ladders = table[table.what == what].sort_values("level").groupby("scene").score.apply(np.array)
        steps = [bool(b <= a) for values in ladders for a, b in pairwise(values)]
        line(f"{what}, {scale}: the score falls", "100 %", f"{100 * np.mean(steps):.0f} %", len(steps))
        rises = pd.Series([float((values - np.minimum.accumulate(values)).max()) for values in ladders])
        line("  points by which a stronger one scores higher, median (worst)", "<= 1", spread(rises), len(rises))
    for name in HARMLESS:
        rows = table[table.what == name]
        moved = (rows.score - rows.wanted).abs()
        line(f"points moved when distorted and {name}, median (worst)", "<= 3", spread(moved), len(moved))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panoramas", type=Path, required=True, metavar="DIR", help="pristine panoramas of 4096 px or more")
    parser.add_argument("--scenes", default="", metavar="NAMES", help="only these, by name or from a file (default: all)")
    parser.add_argument("--levels", default="2,5,8,11", metavar="LIST", help="of CVIQ's 11 (default: %(default)s)")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="model (default: the one that ships)")
    parser.add_argument("--table", type=Path, metavar="CSV", help="also write every score")
    parser.add_argument("--workers", type=int, default=usable_cores(), metavar="N")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    load_model(args.checkpoint or shipped_path("offline"))
    scenes = listed_scenes(args.panoramas, scene_list(args.scenes))
    levels = tuple(sorted({MIDDLE, *(int(level) for level in args.levels.split(","))}))
    jobs = [Job(scene, args.checkpoint, levels) for scene in scenes]
    made = tqdm(run_tasks(score_scene, jobs, args.workers), total=len(jobs), desc="scoring", unit="scene")
    table = pd.DataFrame([row for _, rows in made for row in rows])
    if args.table:
        table.to_csv(args.table, index=False)
    report(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
