"""Measure what labels rest on: losses of settings at several widths, as a headset shows them, and the table made of them.

    python benchmarks/labels.py sweep  --panoramas DIR --scenes A,B,… --out FOLDER   losses of photographs of 4096 px, a csv each
    python benchmarks/labels.py add    --database datasets/DS --out FOLDER   scenes of a simulated database of 4096 px as well
    python benchmarks/labels.py levels --sweep FOLDER             parameters at which OIQA-like levels get OIQA's human means
    python benchmarks/labels.py table  --sweep FOLDER --out CSV   mmifn/simulate/label_curves.csv anew

8192 px are not to be had: a photograph of 4096 px seen at half the pixels per degree stands for one, whose things are twice
as large. Widths below 4096 are reduced from it and compared with the photograph itself and with their own pristine picture.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.interpolate import PchipInterpolator

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mmifn.cli.flags import command_parser
from mmifn.fullref.headset import HeadsetReference, headset_views
from mmifn.simulate.curves import Curve
from mmifn.simulate.designs import DESIGNS, image_name
from mmifn.simulate.draws import distort
from mmifn.simulate.human_anchor import HUMAN_MOS, HUMAN_PRISTINE
from mmifn.simulate.panoramas import Scene, choose_scenes, find_scenes
from mmifn.simulate.settings import scene_list
from mmifn.sphere import HEADSET_PPD, dodecahedron

GRID = {"JPEG": (98, 90, 80, 65, *range(50, -1, -5)), "AVC": (20, 25, *range(30, 51, 2)), "HEVC": (20, 25, *range(30, 51, 2)),
        "JP2K": (6, 12, 23, 55, 120, 250, 500, 850, 1500), "GN": (2, 5, 10, 20, 40, 70, 120), "GB": (0.5, 0.8, 1.3, 2, 3.2, 5, 8)}
# At other widths than people's:
COARSE = GRID | {"JPEG": (98, 90, 80, 65, 50, 35, 20, 10, 5, 0), "AVC": (20, 25, 30, 34, 40, 46, 50),
                 "HEVC": (20, 25, 30, 34, 40, 46, 50), "JP2K": (6, 12, 23, 55, 120, 250, 500, 1500)}
SIZES = (512, 768, 1024, 1536, 2048, 2560, 3072, 3584)
FULL, REDUCED = 4096, (2048, 1024)
JUDGED_BY = {"JPEG": "CVIQ", "AVC": "CVIQ", "HEVC": "CVIQ", "JP2K": "OIQA", "GN": "OIQA", "GB": "OIQA"}
TEACHERS = {"JPEG": ("JPEG",), "JP2K": ("AVC", "HEVC"), "GN": ("JPEG", "AVC", "HEVC"), "GB": ("AVC", "HEVC")}


def sweep(panoramas: str, names: tuple[str, ...], out: Path) -> None:
    """Write one csv per scene: kind, parameter, width, and the losses against the best source and the own size."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    for scene in choose_scenes(find_scenes(panoramas), None, 0, only=names):
        path = out / f"{scene.name}.csv"
        if not path.is_file():
            pd.DataFrame(_losses_of(scene)).to_csv(path, index=False)
            print(path, file=sys.stderr, flush=True)


def _losses_of(scene: Scene) -> list[dict]:
    centres = dodecahedron()[::2]
    source = scene.load(FULL // 2)
    best, twice = (HeadsetReference(headset_views(source, centres, ppd=HEADSET_PPD / share)) for share in (1, 2))
    rows = []

    def compare(kind: str, value: float, width: int, views: torch.Tensor, own: HeadsetReference | None = None) -> None:
        seen, reference = HeadsetReference(views), twice if width > FULL else best
        rows.append({"kind": kind, "parameter": value, "width": width, "fsim_loss": 1 - float(reference.fsim(seen).mean()),
                     "gmsd": float(reference.gmsd(views).mean()),
                     "own_fsim_loss": 1 - float(own.fsim(seen).mean()) if own else np.nan})

    for width in SIZES:
        compare("size", width, width, headset_views(scene.load(width // 2), centres))
    for width in (FULL, *REDUCED):
        pixels = source if width == FULL else scene.load(width // 2)
        own = None if width == FULL else HeadsetReference(headset_views(pixels, centres))
        for kind, value in _settings(GRID if width == FULL else COARSE):
            distorted = distort(kind, value, pixels, np.random.default_rng([width]))
            compare(kind, value, width, headset_views(distorted, centres), own)
            if width == FULL and value in COARSE[kind]:
                compare(kind, value, 2 * FULL, headset_views(distorted, centres, ppd=HEADSET_PPD / 2))
    return rows


def _settings(grid: dict[str, tuple[float, ...]]) -> list[tuple[str, float]]:
    return [(kind, value) for kind, values in grid.items() for value in values]


def read_sweep(folder: Path) -> pd.DataFrame:
    """Return the rows of all scenes, with the scene's name."""
    return pd.concat([pd.read_csv(path).assign(scene=path.stem) for path in sorted(folder.glob("*.csv"))])


def add(database: Path, out: Path) -> None:
    """Write one csv per scene of a simulated database that was not swept: its label metric, at its own settings."""
    record = json.loads((database / "simulation.json").read_text(encoding="utf-8"))
    for path in sorted((database / "label_scores").glob("*.json")):
        measured, rows = json.loads(path.read_text(encoding="utf-8")), []
        for kind in DESIGNS[record["like"]]:
            for level in record["levels"]:
                rows.append({"kind": kind.type, "parameter": record["parameters"][kind.type][kind.parameter][level - 1],
                             "width": measured["width"], "fsim_loss": 1 - measured["fsim"][image_name(path.stem, kind, level)]})
        if not (out / path.with_suffix(".csv").name).is_file():
            pd.DataFrame(rows).to_csv(out / f"{path.stem}.{database.name}.csv", index=False)


def _scale(kind: str, values: object) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    return np.log(values) if kind in ("JP2K", "GN", "GB") else values


def _mean_losses(rows: pd.DataFrame, kind: str, width: int, values: object, metric: str = "fsim_loss") -> np.ndarray:
    """Return the geometric mean over scenes at any parameters, interpolated between those that were swept.

    Scenes of databases have some of the settings only: how they depart there from the scenes that were swept is interpolated.
    """
    chosen = rows[(rows["kind"] == kind) & (rows["width"] == width) & rows[metric].notna()]
    logs = np.log(chosen.assign(**{metric: chosen[metric].clip(lower=1e-6)}).pivot_table(metric, "parameter", "scene"))
    whole = logs.notna().sum() == logs.notna().sum().max()
    mean = logs.loc[:, whole].dropna(how="all").mean(axis=1)
    if len(mean) == 1:
        return np.exp(mean.to_numpy())
    x = _scale(kind, mean.index)
    departs = [np.zeros(len(x))] * int(whole.sum())
    for scene in logs.columns[~whole]:
        own = logs[scene].dropna()
        at = _scale(kind, own.index)
        departs.append(np.interp(x, at, own.to_numpy() - PchipInterpolator(x, mean)(at)))
    mean = mean + np.mean(departs, axis=0)
    # The very strongest can lose less than the strong: what is left has no detail to be unlike. JPEG: high quality is mild.
    worst = mean.iloc[::-1].cummax().iloc[::-1] if mean.iloc[0] > mean.iloc[-1] else mean.cummax()
    return np.exp(PchipInterpolator(x, worst)(_scale(kind, values)))


def _cviq_curve(rows: pd.DataFrame, kind: str) -> Curve:
    values = next(distortion.values for distortion in DESIGNS["CVIQ"] if distortion.type == kind)
    return Curve(tuple(_mean_losses(rows, kind, FULL, values)), tuple(mean for mean, _ in HUMAN_MOS["CVIQ", kind]))


def levels(rows: pd.DataFrame) -> None:
    """Print the parameter at which each OIQA-like level's mean loss at 4096 is worth OIQA's human mean in CVIQ.

    OIQA's means are shifted by the difference of the two databases' pristine means. JPEG goes by CVIQ's JPEG, JP2K and GB by
    its AVC and HEVC, GN by all three.
    """
    rows = rows[rows["scene"].isin(rows.loc[rows["kind"] == "size", "scene"])]  # the same scenes for all types
    shift = HUMAN_PRISTINE["CVIQ"][0] - HUMAN_PRISTINE["OIQA"][0]
    curves = {kind: _cviq_curve(rows, kind) for kind in ("JPEG", "AVC", "HEVC")}
    steps = np.linspace(np.log(1e-4), np.log(0.6), 4000)
    for kind, teachers in TEACHERS.items():
        wanted = [mean + shift for mean, _ in HUMAN_MOS["OIQA", kind]]
        logs = np.mean([np.interp(wanted, curves[teacher](np.exp(steps))[::-1], steps[::-1]) for teacher in teachers], axis=0)
        scaled = np.linspace(*_scale(kind, [min(GRID[kind]), max(GRID[kind])]), 2000)
        values = np.exp(scaled) if kind in ("JP2K", "GN", "GB") else scaled
        losses = np.log(_mean_losses(rows, kind, FULL, values))
        order = np.argsort(losses)
        parameters = np.interp(logs, losses[order], values[order])
        print(f"{kind:<5} wanted loss {np.exp(logs).round(4)}  parameters {parameters.round(2)}")


def table(rows: pd.DataFrame, out: Path) -> None:
    """Write the mean losses of every setting, with people's mean scores where they judged it."""
    lines = ["kind,parameter,width,fsim_loss,gmsd,mos"]
    for kind in (*GRID, "size"):
        for width in sorted(rows.loc[rows["kind"] == kind, "width"].unique()):
            judged = _judged(kind) if width == FULL else {}
            values = sorted({float(value) for value in (GRID if width == FULL else COARSE).get(kind, (width,))} | set(judged))
            losses = [_mean_losses(rows, kind, width, values, metric) for metric in ("fsim_loss", "gmsd")]
            lines += [f"{kind},{value:g},{width},{fsim:.5f},{gmsd:.5f},{judged.get(value, '')}"
                      for value, fsim, gmsd in zip(values, *losses, strict=True)]
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _judged(kind: str) -> dict[float, float]:
    like = JUDGED_BY.get(kind)
    values = next((distortion.values for distortion in DESIGNS.get(like, ()) if distortion.type == kind), ())
    return {float(value): mean for value, (mean, _) in zip(values, HUMAN_MOS.get((like, kind), ()), strict=True)}


def main() -> int:
    parser = command_parser(__doc__)
    parser.add_argument("what", choices=("sweep", "add", "levels", "table"))
    parser.add_argument("--panoramas", default="synthetic")
    parser.add_argument("--scenes", default="", help="names, separated by commas")
    parser.add_argument("--database", type=Path, default=Path("datasets/CVIQ"))
    parser.add_argument("--sweep", type=Path, default=Path("sweep"))
    parser.add_argument("--out", type=Path, default=Path("sweep"))
    args = parser.parse_args()
    if args.what == "sweep":
        sweep(args.panoramas, scene_list(args.scenes), args.out)
    elif args.what == "add":
        add(args.database, args.out)
    else:
        rows = read_sweep(args.sweep)
        levels(rows) if args.what == "levels" else table(rows, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
