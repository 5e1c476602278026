"""Walk the road from two downloads to four tables with made downloads: official layouts, real label files, small made pictures.

    python benchmarks/fake_download.py --mos DIR [--out DIR] [--scenes 16] [--height 128]

DIR holds the label files of OIQA and CVIQ (OIQA_360IQA_MOS.mat, CVIQ.csv). The pictures of every scene are one pattern, spoilt
as the names say, so that the importer finds noise and blur. Then the commands of the README are run as a user would, each in a
process of its own in an empty workspace, with flags behind them that make them small, and the tables are looked for. With fewer
--scenes the downloads are partial, and the import is told so. Figures mean nothing here; that every step goes on does.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from scipy import io as matlab

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmifn.cli.flags import command_parser
from mmifn.core.errors import UserError, user_main
from mmifn.report.tables import read_tables

ROOT = Path(__file__).resolve().parents[1]
OIQA_SCENES, OIQA_PER_SCENE = 16, 20
CVIQ_PER_SCENE = 34
SMALL = ["--preset", "offline", "--device", "cpu", "--config", "compact", "--epochs", "2", "--branch-epochs", "1",
         "--splits", "2", "--workers", "1", "--viewport-args=--size-px 32 32 --no-png", "--global-args=--erp-height-px 128"]
TABLES = {"evaluation_results.csv": ("Table I.", "Table II."), "cross_validation_results.csv": ("Table III.",),
          "ablation_results.csv": ("Table IV",)}


def pattern(scene: int, height: int) -> np.ndarray:
    """Return a pristine panorama (height, 2 height, 3) of blobs of all sizes."""
    rng = np.random.default_rng(scene)
    layers = [cv2.resize(rng.normal(0, 40 / 2 ** k, (height >> (4 - k), height >> (3 - k), 3)).astype(np.float32),
                         (2 * height, height), interpolation=cv2.INTER_CUBIC) for k in range(4)]
    return (128 + sum(layers)).clip(0, 255).astype(np.uint8)


def coded(pixels: np.ndarray, severity: float) -> np.ndarray:
    quality = int(60 - 55 * severity)
    return cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def smaller(pixels: np.ndarray, severity: float) -> np.ndarray:
    height, width = pixels.shape[:2]
    share = 1 - 0.85 * severity
    small = cv2.resize(pixels, (max(2, int(width * share)), max(2, int(height * share))), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def noisy(pixels: np.ndarray, severity: float) -> np.ndarray:
    return (pixels + np.random.default_rng(0).normal(0, 60 * severity, pixels.shape)).clip(0, 255).astype(np.uint8)


def blurred(pixels: np.ndarray, severity: float) -> np.ndarray:
    return cv2.GaussianBlur(pixels, (0, 0), 0.3 + 3 * severity)


Spoil = Callable[[np.ndarray, float], np.ndarray]


def write_scene(folder: Path, names: list[str], pristine: np.ndarray, blocks: list[Spoil]) -> None:
    """Write the pictures of one scene: as many of each kind, from gentle to strong."""
    levels = len(names) // len(blocks)
    for place, name in enumerate(names):
        spoil, level = blocks[place // levels], place % levels + 1
        cv2.imwrite(str(folder / name), spoil(pristine, level / levels))


def make_oiqa(folder: Path, mos: Path, scenes: int, height: int) -> Path:
    """Lay out OIQA as it is distributed."""
    for part in ("distorted_images", "reference_images", "MOS"):
        (folder / part).mkdir(parents=True)
    shutil.copy(mos / "OIQA_360IQA_MOS.mat", folder / "MOS" / "360IQA_MOS.mat")
    for scene in range(scenes):
        pristine = pattern(scene, height)
        names = [f"img{scene * OIQA_PER_SCENE + i}.{'jpg' if i % 3 == 0 else 'png'}" for i in range(1, OIQA_PER_SCENE + 1)]
        write_scene(folder / "distorted_images", names, pristine, [coded, smaller, noisy, blurred])
        cv2.imwrite(str(folder / "reference_images" / f"img{OIQA_SCENES * OIQA_PER_SCENE + scene + 1}.png"), pristine)
    return folder


def make_cviq(folder: Path, mos: Path, scenes: int, height: int) -> Path:
    """Lay out CVIQ as it is distributed: one folder of pictures, and the scores as a vector."""
    folder.mkdir(parents=True)
    matlab.savemat(folder / "CVIQ.mat", {"MOS": pd.read_csv(mos / "CVIQ.csv")["MOS"].to_numpy()})
    for scene in range(scenes):
        pristine, first = pattern(100 + scene, height), scene * CVIQ_PER_SCENE
        names = [f"{first + i:03d}.png" for i in range(1, CVIQ_PER_SCENE)]
        write_scene(folder, names, pristine, [coded, smaller, blurred])
        cv2.imwrite(str(folder / f"{first + CVIQ_PER_SCENE:03d}.png"), pristine)
    return folder


def command(script: str, *argv: str, where: Path) -> None:
    """Run a command as the README writes it, from the checkout, on a workspace. Raises UserError where it fails."""
    print(f"$ python {script}.py {' '.join(argv)}", flush=True)
    start = time.monotonic()
    done = subprocess.run([sys.executable, str(ROOT / f"{script}.py"), "--root", str(where), *argv], cwd=ROOT,
                          capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    if done.returncode:
        raise UserError(f"{script}.py ended with {done.returncode}:\n{done.stderr[-3000:]}")
    print(f"  {time.monotonic() - start:.0f} s", flush=True)


def check_tables(results: Path, scenes: int) -> list[str]:
    """Return the titles of the tables that are there. Raises UserError where one is missing, or says nothing of its data."""
    titles = []
    for name, wanted in TABLES.items():
        tables = read_tables(results / name)
        for beginning in wanted:
            table = next((table for table in tables if table.title.startswith(beginning)), None)
            if table is None or not table.rows:
                raise UserError(f"{results / name} has no {beginning}")
            titles.append(table.title)
            counted = {"OIQA": scenes * OIQA_PER_SCENE, "CVIQ": scenes * (CVIQ_PER_SCENE - 1)}
            if not any(f"{dataset}: {images} images, {scenes} scenes" in note for note in table.notes
                       for dataset, images in counted.items()):
                raise UserError(f"{table.title} does not say that it is of {scenes} scenes:\n" + "\n".join(table.notes))
    return titles


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    parser.add_argument("--mos", type=Path, required=True, metavar="DIR", help="label files of the real databases")
    parser.add_argument("--out", type=Path, default=Path("fake_download"), metavar="DIR", help="made anew (default: %(default)s)")
    parser.add_argument("--scenes", type=int, choices=range(5, OIQA_SCENES + 1), default=OIQA_SCENES, metavar="N",
                        help="of each database, 5 to 16 (default: all 16)")
    parser.add_argument("--height", type=int, default=128, metavar="PX", help="of the pictures (default: %(default)s)")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if args.out.exists():
        raise UserError(f"--out {args.out} exists; name a folder that does not")
    downloads, work = args.out / "downloads", args.out / "work"
    partial = ["--allow-missing"] if args.scenes < OIQA_SCENES else []
    for dataset, make in (("OIQA", make_oiqa), ("CVIQ", make_cviq)):
        source = make(downloads / dataset, args.mos, args.scenes, args.height)
        command("prepare_dataset", "--dataset", dataset, "--source", str(source), *partial, where=work)
    command("run_pipeline", *SMALL, where=work)
    print("\n".join(check_tables(work / "results", args.scenes)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
