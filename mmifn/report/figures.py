"""Figures of the results: every function maps predictions to one Drawing; nothing is trained, searched for or cached here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from mmifn.core.csv_cells import neutral_frame
from mmifn.core.files import atomic_path
from mmifn.data.manifest import SIMULATED
from mmifn.experiment.predictions import Predictions
from mmifn.fusion.config import VARIANTS
from mmifn.metrics import logistic_fit
from mmifn.report.evaluation import TYPE_ORDER, types_in_order
from mmifn.report.findings import run_agreements
from mmifn.report.tables import mean_sd

WIDTH_IN, DPI = 7.0, 200  # two columns of a page
# Colours that stay apart in the common colour blindnesses (Okabe and Ito 2008); types differ by marker as well.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000", "#8C6D31", "#7F7F7F")
MARKERS = "os^DvPX*<"
RUN_NUMBERS = ["seed", "images", "plcc", "srcc", "rmse"]
INK, SOFT = "#222222", "#8A8A8A"
STYLE = {"font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 10, "axes.labelsize": 9, "legend.fontsize": 8,
         "axes.edgecolor": SOFT, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
         "grid.color": "#E4E4E4", "legend.frameon": False, "pdf.fonttype": 42, "figure.constrained_layout.use": True}


@dataclass(frozen=True)
class Drawing:
    """A figure, the numbers it shows, and a caption that says N, splits and what intervals mean (also its alternative text)."""

    name: str
    title: str
    caption: str
    figure: Figure
    numbers: pd.DataFrame

    def save(self, folder: Path) -> list[Path]:
        """Write <name>.png, .pdf and .csv (the numbers); the same numbers give the same bytes."""
        paths = [folder / f"{self.name}.{suffix}" for suffix in ("png", "pdf", "csv")]
        about = {"png": {"Software": None, "Description": self.caption},
                 "pdf": {"CreationDate": None, "Title": self.title, "Subject": self.caption}}
        for path in paths[:2]:
            with atomic_path(path) as temporary, mpl.rc_context(STYLE):
                self.figure.savefig(temporary, dpi=DPI, metadata=about[path.suffix[1:]])
        with atomic_path(paths[2]) as temporary:
            neutral_frame(self.numbers).to_csv(temporary, index=False, lineterminator="\n", float_format="%.6g")
        return paths


def draw_all(evaluated: Predictions | None, crossed: Predictions | None, ablated: Predictions | None) -> dict[str, Drawing]:
    """Draw what the predictions of evaluate, cross_eval and ablation_study allow; the rest is left out."""
    todo: list[tuple[Callable[..., Drawing], tuple]] = []
    if evaluated is not None:
        todo += [(draw_scatter, (evaluated,)), (draw_splits, (evaluated,)), (draw_training, (evaluated,))]
    if ablated is not None:
        todo.append((draw_ablation, (ablated,)))
    if crossed is not None:
        todo.append((draw_cross, (evaluated, crossed)))
    with mpl.rc_context(STYLE):
        drawings = [draw(*arguments) for draw, arguments in todo]
    return {drawing.name: drawing for drawing in drawings}


def remark_on(predictions: Predictions, datasets: list[str]) -> str:
    """Return what a figure of these databases must say of its data: simulated labels, leaking splits; empty where neither."""
    names = [name for name in datasets if predictions.labels[name] == SIMULATED]
    return ". ".join([f"Labels simulated: {', '.join(names)}"] * bool(names)
                     + ["Split by image: scenes leak into the test"] * (predictions.split_by == "image"))


def _sheet(rows: int, columns: int, height_in: float, remark: str, **options: object) -> tuple[Figure, np.ndarray]:
    """Return a figure of page width with its axes (rows, columns) and the remark below them."""
    figure = Figure(figsize=(WIDTH_IN, height_in))
    if remark:
        figure.supxlabel(remark, x=0.995, ha="right", fontsize=8, style="italic", color=INK)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _look(kind: str, unknown: list[str]) -> dict[str, str]:
    """Return colour and marker of a distortion type: the same in every database."""
    i = TYPE_ORDER.index(kind) if kind in TYPE_ORDER else len(TYPE_ORDER) + unknown.index(kind)
    return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}


def _seeds(count: int, noun: str = "split") -> str:
    return f"{count} {noun}{'s' if count != 1 else ''}"


def _sizes(agreements: pd.DataFrame, noun: str = "split") -> str:
    """Say how many images of a database every run was measured on, and how many runs there are."""
    per_run = agreements.drop_duplicates(["dataset", "seed"]).groupby("dataset", sort=False)["images"]
    counts = {name: "–".join(map(str, sorted({images.min(), images.max()}))) for name, images in per_run}
    return "; ".join(f"{name} {counts[name]} images × {_seeds(len(images), noun)}" for name, images in per_run)


def _spread(count: int, half: float) -> np.ndarray:
    """Return places for dots side by side, around 0."""
    return np.linspace(-half, half, count) if count > 1 else np.zeros(count)


def draw_scatter(evaluated: Predictions) -> Drawing:
    """Predicted score against MOS of the test images of all splits, by distortion type, with the fitted logistic."""
    rows = evaluated.rows[evaluated.rows["side"] == "test"]
    datasets = list(dict.fromkeys(rows["dataset"]))
    wide = min(2, len(datasets))
    tall = -(-len(datasets) // wide)
    figure, axes = _sheet(tall, wide, 4.1 * tall if wide > 1 else 6.5, remark_on(evaluated, datasets))
    for place in axes.flat[len(datasets):]:
        place.set_axis_off()
    for place, name in zip(axes.flat, datasets, strict=False):
        _scatter_panel(place, rows[rows["dataset"] == name], name)
    count = "; ".join(f"{name} {int((rows['dataset'] == name).sum())} points of "
                      f"{_seeds(rows.loc[rows['dataset'] == name, 'seed'].nunique())}" for name in datasets)
    caption = (f"Predicted score and MOS of every test image of every split ({count}). Black: the 4-parameter logistic fitted to "
               "all points; grey: prediction equal to MOS. PLCC (after a fit for each split) and SRCC: mean ± SD over "
               "splits; every run has a scale of its own, so that all points together scatter more than those of one split.")
    numbers = rows[["dataset", "image_name", "distortion_type", "seed", "score", "mos"]]
    return Drawing("scatter", "Predicted score and MOS", caption, figure, numbers)


def _scatter_panel(place: Axes, rows: pd.DataFrame, name: str) -> None:
    """Draw the predicted against the opinion scores of one database, by type, with the logistic fit."""
    kinds = types_in_order(rows["distortion_type"])
    unknown = [kind for kind in kinds if kind not in TYPE_ORDER]
    for kind in kinds:
        some = rows[rows["distortion_type"] == kind]
        place.plot(some["score"], some["mos"], linestyle="", markersize=4.5, alpha=0.7, markeredgecolor="white",
                   markeredgewidth=0.3, label=kind, **_look(kind, unknown))
    ends = np.array([min(rows["score"].min(), rows["mos"].min()), max(rows["score"].max(), rows["mos"].max())])
    place.plot(ends, ends, color=SOFT, linewidth=0.8, zorder=0, label="_equal")
    fit = logistic_fit(rows["score"].to_numpy(), rows["mos"].to_numpy())
    x = np.linspace(rows["score"].min(), rows["score"].max(), 200)
    place.plot(x, fit(x), color="black", linewidth=1.6,
               label="logistic fit" if fit.converged else "straight line (logistic fit failed)")
    agreements = run_agreements(rows)
    place.set_title(f"{name}: PLCC {mean_sd(list(agreements['plcc']))}\nSRCC {mean_sd(list(agreements['srcc']))}")
    place.set(xlabel="predicted score", ylabel="MOS", aspect="equal")
    place.grid(True)
    place.legend(loc="best", handletextpad=0.3, borderaxespad=0.2)


def draw_splits(evaluated: Predictions) -> Drawing:
    """PLCC and SRCC of every split as box plots, a box for each database."""
    agreements = run_agreements(evaluated.rows)
    datasets = list(dict.fromkeys(agreements["dataset"]))
    figure, axes = _sheet(1, 2, 3.0, remark_on(evaluated, datasets), sharey=True)
    for place, key in zip(axes.flat, ("plcc", "srcc"), strict=True):
        groups = [agreements.loc[agreements["dataset"] == name, key].to_numpy() for name in datasets]
        place.boxplot(groups, tick_labels=datasets, widths=0.5, showfliers=False,
                      medianprops={"color": "black", "linewidth": 1.6},
                      boxprops={"color": SOFT}, whiskerprops={"color": SOFT}, capprops={"color": SOFT})
        for i, values in enumerate(groups):
            place.plot(i + 1 + _spread(len(values), 0.15), values, "o", color=COLOURS[i % len(COLOURS)], markersize=5,
                       markeredgecolor="white", zorder=4, label=datasets[i])
        place.set(xlabel="database", ylabel=key.upper())
        place.tick_params(labelleft=True)
        place.grid(True, axis="y")
    caption = (f"PLCC (after a 4-parameter logistic fit) and SRCC on the test images of each split ({_sizes(agreements)}). "
               "Dots: single splits by seed from left to right; box: quartiles; line: median; whiskers: furthest split within "
               "1.5 interquartile ranges.")
    return Drawing("splits", "Agreement split by split", caption, figure, agreements[["dataset", *RUN_NUMBERS]])


def draw_ablation(ablated: Predictions) -> Drawing:
    """Mean PLCC of every variant and of the control, and its gap to the full model on the same splits."""
    agreements = run_agreements(ablated.rows)
    agreements["label"] = np.where(agreements["control"] == "", agreements["variant"], agreements["control"])
    order = list(dict.fromkeys(agreements["label"]))
    full = agreements[agreements["label"] == "full"].set_index(["dataset", "seed"])["plcc"]
    same_split = pd.MultiIndex.from_frame(agreements[["dataset", "seed"]])
    agreements["gap"] = agreements["plcc"].to_numpy() - full.reindex(same_split).to_numpy()
    datasets = list(dict.fromkeys(agreements["dataset"]))
    figure, axes = _sheet(len(datasets), 2, 0.6 + 2.6 * len(datasets), remark_on(ablated, datasets), sharey="row",
                          width_ratios=(1.15, 1))
    for (bars, gaps), name in zip(axes, datasets, strict=True):
        mine = [agreements[(agreements["dataset"] == name) & (agreements["label"] == label)] for label in order]
        _interval_bars(bars, [label["plcc"].to_numpy() for label in mine], order)
        bars.set(xlabel="PLCC", title=f"{name}: PLCC", xlim=(min(0, agreements["plcc"].min()), 1))
        _interval_bars(gaps, [label["gap"].to_numpy() for label in mine], order)
        gaps.axvline(0, color=INK, linewidth=0.8)
        gaps.set(xlabel="PLCC − PLCC of the full model", title=f"{name}: difference to the full model")
        gaps.xaxis.set_major_locator(MaxNLocator(5))
        _zoom_on_variants(gaps, [label["gap"].to_numpy() for label in mine], order)
    caption = (f"PLCC (after a 4-parameter logistic fit) on the test images ({_sizes(agreements)}): bars are means over splits, "
               "whiskers ± 1 SD, dots single splits. Right: differences on the same split and seed, in the range of the variants "
               "(beside an arrow: a mean further away). Hatched: controls on the full model, explained below Table IV.")
    return Drawing("ablation", "Ablation", caption, figure, agreements[["dataset", "label", *RUN_NUMBERS, "gap"]])


def _zoom_on_variants(place: Axes, groups: list[np.ndarray], labels: list[str]) -> None:
    """Keep to the range of the variants, which controls may leave by far; means that are cut off stand at the edge."""
    shown = np.concatenate([[0.0], *(values for values, label in zip(groups, labels, strict=True) if label in VARIANTS)])
    margin = 0.08 * np.ptp(shown) or 0.01
    low, high = shown.min() - margin, shown.max() + margin
    place.set_xlim(low, high)
    for i, values in enumerate(groups):
        mean = values.mean() if len(values) else 0.0
        if not low <= mean <= high:
            left = mean < low
            place.text(low if left else high, i - 0.36, f"◂ {mean:.3f}" if left else f"{mean:.3f} ▸", fontsize=7, color=INK,
                       ha="left" if left else "right", va="bottom")


def _interval_bars(place: Axes, groups: list[np.ndarray], labels: list[str]) -> None:
    """Draw horizontal bars of means with ± 1 SD and the single values; controls (labels that are no variant) hatched."""
    for i, (values, label) in enumerate(zip(groups, labels, strict=True)):
        if not len(values):
            continue
        colour = "white" if label not in VARIANTS else COLOURS[0] if label == "full" else "#9CC3DC"
        place.barh(i, values.mean(), height=0.62, color=colour, edgecolor=COLOURS[0], linewidth=0.8,
                   hatch=None if label in VARIANTS else "////", label=label)
        if len(values) > 1:
            place.errorbar(values.mean(), i, xerr=values.std(ddof=1), color=INK, capsize=3, linewidth=1.2)
        place.plot(values, i + _spread(len(values), 0.18), "o", color=COLOURS[1], markersize=3.2, markeredgecolor=INK,
                   markeredgewidth=0.4)
    place.set_yticks(range(len(labels)), labels)
    place.set_ylim(len(labels) - 0.5, -0.5)
    place.grid(True, axis="x")


def draw_cross(evaluated: Predictions | None, crossed: Predictions) -> Drawing:
    """PLCC and SRCC of every source (row) on every database (column)."""
    agreements = run_agreements(crossed.rows)
    if evaluated is not None:
        own = evaluated.rows[evaluated.rows["source"].isin(list(crossed.labels))]
        agreements = pd.concat([run_agreements(own), agreements], ignore_index=True)
    datasets = list(dict.fromkeys([*agreements["source"], *agreements["dataset"]]))
    figure, axes = _sheet(1, 2, 2.8, remark_on(crossed, datasets))
    for place, key in zip(axes.flat, ("plcc", "srcc"), strict=True):
        groups = [[agreements.loc[(agreements["source"] == row) & (agreements["dataset"] == column), key].to_numpy()
                   for column in datasets] for row in datasets]
        means = np.array([[values.mean() if len(values) else np.nan for values in line] for line in groups])
        place.imshow(means, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for edge in np.arange(0.5, len(datasets) - 1):
            place.axhline(edge, color="white", linewidth=3)
            place.axvline(edge, color="white", linewidth=3)
        for i, j in np.ndindex(means.shape):
            words = mean_sd(list(groups[i][j])).replace(" ± ", "\n± ")
            dark = means[i, j] > 0.6  # False where there is nothing
            place.text(j, i, words, ha="center", va="center", color="white" if dark else "black")
        place.set_xticks(range(len(datasets)), datasets)
        place.set_yticks(range(len(datasets)), datasets, rotation=90, va="center")
        place.set(xlabel="tested on", ylabel="trained on", title=key.upper())
    targets = agreements[agreements["source"] != agreements["dataset"]]
    diagonal = "test images of the splits of Tables I and II" if len(agreements) > len(targets) else "not there yet (evaluate.py)"
    caption = ("Trained on the row's database, tested on the column's: mean ± SD over runs, PLCC after a 4-parameter logistic "
               f"fit. Off the diagonal: trained on the whole source, every image of the target ({_sizes(targets, 'training')}), "
               f"nothing chosen on it. Diagonal: {diagonal}.")
    return Drawing("cross_database", "Across databases", caption, figure, agreements[["source", "dataset", *RUN_NUMBERS]])


def draw_training(evaluated: Predictions) -> Drawing:
    """Training loss and validation agreement by epoch, one line for each split, with the chosen epoch."""
    runs = [run for run in evaluated.runs if run["split"]["test"]]
    datasets = list(dict.fromkeys(run["source"] for run in runs))
    figure, axes = _sheet(2, len(datasets), 4.6, remark_on(evaluated, datasets), sharex="col", sharey="row")
    numbers = [{"dataset": run["source"], "seed": run["seed"], **point, "chosen": point["epoch"] == run["epoch"]}
               for run in runs for point in run["curve"]]
    table = pd.DataFrame(numbers, columns=["dataset", "seed", "epoch", "loss", "validation", "chosen"])
    for column, name in enumerate(datasets):
        for i, (seed, curve) in enumerate(table[table["dataset"] == name].groupby("seed")):
            chosen, colour = curve[curve["chosen"]], COLOURS[i % len(COLOURS)]
            for place, key in zip(axes[:, column], ("loss", "validation"), strict=True):
                place.plot(curve["epoch"], curve[key], color=colour, linewidth=1, alpha=0.85, label=f"split {seed}")
                place.plot(chosen["epoch"], chosen[key], "o", color=colour, markeredgecolor="black", markersize=5)
        axes[0, column].set(title=name, yscale="log")
        axes[1, column].set(xlabel="epoch")
        axes[1, column].xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0, column].yaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), minor_locator=NullLocator(),
                                  major_formatter=StrMethodFormatter("{x:g}"))
    for place in axes.flat:
        place.grid(True)
    axes[0, 0].set_ylabel("training loss")
    axes[1, 0].set_ylabel("validation (PLCC + SRCC) / 2")
    caption = (f"Joint training, one line for each split ({_seeds(len(runs), 'run')}). Above: loss on the training scenes (MOS "
               "standardised), log scale; below: what the epoch is chosen by, on the validation scenes. Dots: the chosen epoch.")
    return Drawing("training", "Training curves", caption, figure, table)
