"""Measure the simulator: speed and memory, and the choice of the label metric (levels and curves: benchmarks/labels.py).

    python benchmarks/simulate.py speed   --panoramas DIR            one scene of each design, seconds per type
    python benchmarks/simulate.py sweep   --panoramas DIR --out CSV  all candidate metrics over a sweep of distortions
    python benchmarks/simulate.py metrics --sweep CSV                which metric deviates over scenes as humans do
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mmifn.cli.flags import command_parser
from mmifn.core import torchvision_shim as compat  # noqa: F401  (before piq)
from mmifn.core.errors import user_main
from mmifn.data.images import write_png
from mmifn.fullref import metrics as fullref
from mmifn.simulate.comparison import SceneComparison
from mmifn.simulate.designs import DESIGNS, Distortion
from mmifn.simulate.human_anchor import HUMAN_MOS
from mmifn.simulate.labels import simulated_mos
from mmifn.simulate.panoramas import choose_scenes, find_scenes

import piq  # isort: skip

SWEEP = {"JP2K": (20, 40, 80, 160, 320, 640), "GN": (5, 10, 20, 40, 70, 110), "GB": (0.5, 0.8, 1.3, 2, 3.2, 5)}
FURTHER = {"vp_ssim": piq.ssim, "vp_haarpsi": piq.haarpsi, "vp_dss": piq.dss,
           "vp_mdsi": lambda a, b, data_range: -piq.mdsi(a, b, data_range=data_range)}
# Correlation over scenes of the mean deviation of two types, in the human scores of the real databases (16 scenes).
HUMAN_PAIRS = {("JPEG", "GN"): 0.86, ("JP2K", "GB"): 0.42, ("JPEG", "JP2K"): -0.46, ("GN", "GB"): -0.26,
               ("JPEG", "AVC"): 0.73, ("AVC", "HEVC"): 0.84}


def speed(panoramas: str) -> None:
    """Print processor seconds per image of one scene, for making (encoding, decoding) and labelling, and writing."""
    torch.set_num_threads(1)
    scratch = Path(tempfile.mkdtemp()) / "image.png"
    scene = choose_scenes(find_scenes(panoramas), 1, 0)[0]
    pixels = scene.load()
    started = time.process_time()
    compare = SceneComparison(pixels)
    compare.fsim(pixels)
    print(f"{scene.name} {pixels.shape[1]}x{pixels.shape[0]}: views of the reference {time.process_time() - started:.2f} s")
    for name, kinds in DESIGNS.items():
        for kind in kinds:
            making = labelling = writing = 0.0
            for value in kind.values:
                started = time.process_time()
                distorted = kind.apply(pixels, value, np.random.default_rng(0)).pixels
                made = time.process_time()
                compare.fsim(distorted)
                labelled = time.process_time()
                write_png(distorted, scratch)
                making, labelling, writing = (making + made - started, labelling + labelled - made,
                                              writing + time.process_time() - labelled)
            count = len(kind.values)
            print(f"  {name} {kind.type:<5} made in {making / count:.2f} s, labelled in {labelling / count:.2f} s, "
                  f"written as PNG in {writing / count:.2f} s per image")
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** 20:.2f} GiB")


def sweep(panoramas: str, scenes: int, out: Path) -> None:
    """Score every distortion of the designs and of SWEEP on some scenes by all metrics; write one csv."""
    kinds = [*DESIGNS["CVIQ"], *(_with_values(kind, SWEEP[kind.type]) for kind in DESIGNS["OIQA"] if kind.type in SWEEP)]
    rows = []
    for scene in choose_scenes(find_scenes(panoramas), scenes, 0):
        pixels = scene.load()
        views = fullref.compare_views(pixels)
        for kind in kinds:
            for value in kind.values:
                distorted = kind.apply(pixels, value, np.random.default_rng(0)).pixels
                seen = fullref.compare_views(distorted)
                row = fullref.measure(pixels, distorted, reference_views=views)
                row["vp_gmsd"] *= -1
                with torch.inference_mode():
                    row |= {name: float(metric(views, seen, data_range=1.0)) for name, metric in FURTHER.items()}
                rows.append({"scene": scene.name, "type": kind.type, "parameter": value, **row})
        pd.DataFrame(rows).to_csv(out, index=False)
        print(f"{scene.name}: {len(rows)} rows", file=sys.stderr)


def _with_values(kind: Distortion, values: tuple[float, ...]) -> Distortion:
    return Distortion(kind.type, kind.parameter, values, kind.apply)


def _matrix(table: pd.DataFrame, kind: str, metric: str) -> np.ndarray:
    """Return (scenes, levels), mild to severe."""
    wide = table[table["type"] == kind].pivot(index="scene", columns="parameter", values=metric)
    return wide.to_numpy()[:, ::-1] if kind == "JPEG" else wide.to_numpy()


def metrics(table: pd.DataFrame) -> None:
    """Print, per metric, how types go together over scenes beside humans, ties to GMSD, and how often MOS falls."""
    names = [name for name in table.columns if name not in ("scene", "type", "parameter")]
    print(f"{table['scene'].nunique()} scenes; " + ", ".join(f"{a}-{b} {r:+.2f}" for (a, b), r in HUMAN_PAIRS.items())
          + " among humans")
    by_level = table.groupby(["type", "parameter"])
    for name in names:
        score = by_level[name].transform(lambda values: (values - values.mean()) / values.std())
        gmsd = by_level["vp_gmsd"].transform(lambda values: (values - values.mean()) / values.std())
        over = table.assign(z=score).pivot_table(index="scene", columns="type", values="z").corr()
        pairs = " ".join(f"{over.loc[a, b]:+.2f}" for a, b in HUMAN_PAIRS)
        error = np.sqrt(np.mean([(over.loc[a, b] - r) ** 2 for (a, b), r in HUMAN_PAIRS.items()]))
        falls = []
        for kind in ("JPEG", "AVC", "HEVC"):
            mos = simulated_mos(_matrix(table, kind, name), *np.array(HUMAN_MOS["CVIQ", kind]).T)
            falls.append(f"{(np.diff(mos, axis=1) < 0).mean():.3f}")
        print(f"{name:<11} {pairs}  off by {error:.2f}, with GMSD {score.corr(gmsd):.2f}, MOS falls {' '.join(falls)}")


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    parser.add_argument("what", choices=("speed", "sweep", "metrics"))
    parser.add_argument("--panoramas", default="synthetic")
    parser.add_argument("--scenes", type=int, default=10)
    parser.add_argument("--sweep", type=Path, default=Path("sweep.csv"))
    parser.add_argument("--out", type=Path, default=Path("sweep.csv"))
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if args.what == "speed":
        speed(args.panoramas)
    elif args.what == "sweep":
        sweep(args.panoramas, args.scenes, args.out)
    else:
        metrics(pd.read_csv(args.sweep))
    return 0


if __name__ == "__main__":
    sys.exit(main())
