"""Check the measured descriptions on simulated distortions of scenes that they were not calibrated on.

    python benchmarks/describe.py --panoramas DIR           check; prints the table of docs/words.md
    python benchmarks/describe.py --panoramas DIR --speed   time it

tools/calibrate_words.py fits; scenes for fitting and for checking never share a location (manifest.csv beside the panoramas).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mmifn.cli.flags import command_parser
from mmifn.core.errors import user_main
from mmifn.core.files import write_text
from mmifn.data.images import write_png
from mmifn.describe.generation import Item
from mmifn.describe.measured import calibration
from mmifn.describe.measured.describer import MeasuredDescriber, describe
from mmifn.describe.measured.fitting import DISTORTIONS, DRAW_SEED, over_scenes, split_scenes
from mmifn.simulate.panoramas import Scene, find_scenes

# Five levels for checking: those of the OIQA-like design, and QPs over the range of CVIQ.
LEVELS = {"JPEG": (45, 30, 18, 11, 7), "JP2K": (30, 55, 100, 190, 450), "GN": (6, 10, 22, 34, 60),
          "GB": (0.8, 1.2, 1.9, 2.8, 4.5), "AVC": (30, 35, 40, 45, 50), "HEVC": (30, 35, 40, 45, 50)}
BAR_LEVELS = (3, 4, 5)


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
    pristine, checks = scene.load(), []
    cases = [("pristine", 0)] + [(kind, i + 1) for kind, values in LEVELS.items() for i in range(len(values))]
    for kind, level in cases:
        told = describe(DISTORTIONS[kind][1](pristine, LEVELS[kind][level - 1], rng) if level else pristine)
        checks.append(Check(scene.name, kind, level, told.dominant, calibration.judge(told.statistics).loss, told.text))
    return checks


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


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    parser.add_argument("--panoramas", required=True, help="folder of pristine panoramas, or 'synthetic'")
    parser.add_argument("--speed", action="store_true", help="time the measurement instead of checking it")
    parser.add_argument("--scenes", type=int, metavar="N", help="check at most N held-out scenes")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default: %(default)s)")
    parser.add_argument("--texts", type=Path, metavar="FILE", help="also write every text told, as JSON lines")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    _, checking = split_scenes(find_scenes(args.panoramas))
    if args.speed:
        measure_speed(checking[0], args.workers)
        return 0
    checks = over_scenes(check_scene, checking[:args.scenes], args.workers)
    if args.texts:
        write_text(args.texts, "".join(json.dumps(vars(check), ensure_ascii=False) + "\n" for check in checks))
    return 0 if print_table(checks) else 1


if __name__ == "__main__":
    sys.exit(main())
