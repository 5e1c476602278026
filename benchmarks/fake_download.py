"""Walk the road from two downloads to four tables with made downloads: official layouts, real label files, small made pictures.

    python benchmarks/fake_download.py --mos DIR [--out DIR] [--preset offline|paper] [--scenes 16] [--height 128]

DIR holds the label files of OIQA and CVIQ (OIQA_360IQA_MOS.mat, CVIQ.csv). The pictures of every scene are one pattern, spoilt
as the names say, so that the importer finds noise and blur. Then the commands of the README are run as a user would, each in a
process of its own in an empty workspace, with flags behind them that make them small, and the tables are looked for. With fewer
--scenes the downloads are partial, and the import is told so. With the preset `paper` there are made downloads of weights, too:
BERT and VMamba-T in their published sizes and layouts with random values, the smallest ViT of the same release in place of
ViT-B/16 (which would take hours here), and a text/des.csv as DepictQA leaves it. Figures mean nothing here; that every step
goes on does.
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

from mmifn.core import torchvision_shim as compat  # noqa: F401, I001  (before timm)
from mmifn.cli.flags import DATABASES, command_parser
from mmifn.core.errors import UserError, user_main
from mmifn.report.tables import read_tables

ROOT = Path(__file__).resolve().parents[1]
OIQA_SCENES, OIQA_PER_SCENE = 16, 20
CVIQ_PER_SCENE = 34
SMALL = ["--device", "cpu", "--config", "compact", "--epochs", "2", "--branch-epochs", "1", "--batch-size", "64",
         "--workers", "1"]
OFFLINE = ["--preset", "offline", "--viewport-args=--size-px 32 32 --no-png", "--global-args=--erp-height-px 128"]
VIT = "vit_tiny_r_s16_p8_224.augreg_in21k"  # the smallest of the release that the preset's ViT-B/16 comes from
WORDS = 30522  # of BERT's vocabulary
KINDS = ("jpeg", "jp2k", "gn", "gb", "avc", "hevc", "none")
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


def make_bert(folder: Path) -> Path:
    """Write bert-base-uncased as its publisher lays it out, pooler and pre-training heads included, with random values."""
    from transformers import BertConfig, BertForPreTraining, BertTokenizerFast

    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "the", "image", "shows", *KINDS]
    words += [f"[unused{i}]" for i in range(WORDS - len(words))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    BertForPreTraining(BertConfig()).save_pretrained(folder)  # its defaults are those of bert-base-uncased
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def make_weights(folder: Path) -> list[str]:
    """Write weights of the preset `paper` in their publishers' layouts; return the flags of run_pipeline.py that name them."""
    import timm
    import torch
    from safetensors.torch import save_file

    from mmifn.encoders.vmamba import DEFAULT_VARIANT, VARIANTS, build_vmamba

    torch.manual_seed(0)
    bert, vit, vmamba = make_bert(folder / "bert"), folder / "model.safetensors", folder / VARIANTS[DEFAULT_VARIANT].filename
    save_file(timm.create_model(VIT, pretrained=False).state_dict(), vit)
    torch.save({"model": build_vmamba(DEFAULT_VARIANT).state_dict(), "model_ema": {}, "epoch": 264}, vmamba)
    return ["--preset", "paper", "--text-encoder", str(bert),
            f"--viewport-args=--viewport-encoder {VIT} --viewport-weights {vit} --sampler cube-6 --no-png",
            f"--global-args=--global-weights {vmamba} --erp-height-px 128"]


def describe(work: Path, datasets: list[str]) -> None:
    """Write text/des.csv with a row for every image, as stage 1 leaves it where DepictQA is at hand."""
    tables = {name: pd.read_csv(work / "datasets" / name / "des.csv") for name in datasets}
    rows = pd.concat([pd.DataFrame({"dataset": name, "image_name": table["image_name"], "source": "depictqa",
                                    "description": [f"The image shows {kind}." for kind in table["distortion_type"]]})
                      for name, table in tables.items()])
    (work / "text").mkdir()
    rows.to_csv(work / "text" / "des.csv", index=False)


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
    parser.add_argument("--preset", choices=("offline", "paper"), default="offline", help="whose road (default: %(default)s)")
    parser.add_argument("--splits", type=int, default=2, help="of every table (default: %(default)s)")
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
    flags = OFFLINE
    if args.preset == "paper":
        flags = make_weights(downloads / "weights")
        describe(work, list(DATABASES))
    command("run_pipeline", *flags, *SMALL, "--splits", str(args.splits), where=work)
    print("\n".join(check_tables(work / "results", args.scenes)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
