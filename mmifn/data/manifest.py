"""des.csv: the images of a database, their opinion scores, distortions and reference scenes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from mmifn.core.errors import UserError, listed
from mmifn.core.files import atomic_path
from mmifn.core.text import printable
from mmifn.data.mos_scale import PLAUSIBLE, scale_of
from mmifn.data.tables import Problem, numbers, read_table, refuse_rows

if TYPE_CHECKING:
    import pandas as pd

REQUIRED = ("image_name", "MOS", "distortion_type")
VIEW_MOS = "view_MOS"  # a column that a table need not have
_LEVEL = re.compile("[0-9]{1,6}")
SIMULATED, HUMAN = "simulated", "human"

# Scene of an image from its number in the original downloads: 20 images a scene in OIQA, whose numbers beyond 320 are
# the pristine ones; in CVIQ 34 with the pristine one.
NUMBERINGS = {"OIQA": (re.compile(r"img(\d+)\.\w+"), 20, 320), "CVIQ": (re.compile(r"(\d{3})\.\w+"), 34, 544)}


@dataclass(frozen=True)
class Manifest:
    """The rows of one des.csv, in file order.

    names: image file names below images/; mos: (N,) float64; types: distortion type of each image;
    references: reference scene of each image, or None where the file does not tell;
    locations: place of each scene (scenes of one place never part in a split);
    levels: distortion level of each image, 0 where unknown; mos_source: "human" or "simulated";
    view_mos: (N, V) float64 scores of each image's views, a row of NaN for an image that has none; None where no image has.
    """

    dataset: str
    names: list[str]
    mos: np.ndarray
    types: list[str]
    references: list[str] | None
    locations: list[str] | None
    levels: list[int]
    mos_source: str
    view_mos: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def mos_scale(self) -> str:
        """Return "1-10" or "0-100", told from the largest score."""
        return scale_of(self.mos)

    def scenes(self, split_by: str = "reference") -> list[str]:
        """Return the unit of splitting of each image: its scene (its place where known), or itself.

        Raises UserError where the scenes are unknown and `split_by` is not "image".
        """
        if split_by == "image":
            return list(self.names)
        if not (self.locations or self.references):
            raise UserError(
                f"{self.dataset}: des.csv has no `reference` column and the file names are not those of the original "
                "OIQA or CVIQ, so images cannot be split by scene.\nAdd the column, or accept splits in which scenes "
                "leak from training to test with --split-by image (tables will say so).")
        return self.places

    @property
    def places(self) -> list[str]:
        """Return the place of each image, or its scene where places are not known, or itself where neither is.

        This is what is drawn from when figures are resampled, however the images were split.
        """
        return self.locations or self.references or self.names


def check_name(name: str) -> str | None:
    """Return what is wrong with an image name, or None."""
    path = PurePosixPath(name)
    if not name or name != name.strip():
        return "is empty or has spaces around it"
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name:
        return "climbs out of the images folder"
    if printable(name) != name:
        return "holds control characters or is not UTF-8"
    if str(path) != name:
        return f"is written otherwise than {str(path)!r}"  # so that one file has one name
    return None


def _derive_references(dataset: str, names: list[str]) -> list[str] | None:
    if dataset not in NUMBERINGS:
        return None
    pattern, per_scene, last = NUMBERINGS[dataset]
    numbers = [int(match[1]) for name in names if (match := pattern.fullmatch(name))]
    if len(numbers) < len(names) or not all(1 <= number <= last for number in numbers):
        return None
    return [f"{(number - 1) // per_scene + 1:02d}" for number in numbers]


def _problems(table: pd.DataFrame) -> list[Problem]:
    """Collect what is wrong with every row of a table."""
    _, problems = numbers(table, "MOS", *PLAUSIBLE)
    duplicated = table["image_name"].duplicated(keep="first")
    for number, name, again, kind in zip(table.index, table["image_name"], duplicated, table["distortion_type"], strict=True):
        wrong = check_name(name) or ("appears again" if again else None)
        if wrong:
            problems.append((number, f"image_name {name!r} {wrong}"))
        if not kind.strip():
            problems.append((number, "distortion_type is empty"))
    return problems


def read_manifest(path: Path, dataset: str) -> Manifest:
    """Read and check a des.csv; all bad rows come in one message.

    Raises UserError where the file is missing, empty, lacks a column, or has bad rows.
    """
    path = Path(path)
    remedy = (f"\nMake it: python prepare_dataset.py --dataset {dataset} --source DOWNLOAD_FOLDER, "
              f"or python simulate_dataset.py --like OIQA --dataset {dataset} --panoramas DIR")
    if not path.is_file():
        raise UserError(f"{path} does not exist; the stage needs columns {', '.join(REQUIRED)}{remedy}")
    table, problems = read_table(path, REQUIRED, remedy)
    if table.empty and not problems:
        raise UserError(f"{path} has a header but no rows{remedy}")
    refuse_rows(path, problems + _problems(table) + _optional_problems(table))
    return _from_table(table, path, dataset)


def _optional_problems(table: pd.DataFrame) -> list[Problem]:
    """Collect what is wrong with the columns that a table need not have."""
    problems = []
    for column in ("reference", "location", "level", "mos_source"):
        if column in table.columns:
            problems += [(number, f"{column} is empty") for number, value in zip(table.index, table[column], strict=True)
                         if not value.strip()]
    if "level" in table.columns:
        problems += [(number, f"level {value!r} is not a whole number")
                     for number, value in zip(table.index, table["level"], strict=True)
                     if value.strip() and not _LEVEL.fullmatch(value.strip())]
    if VIEW_MOS in table.columns:
        problems += _view_problems(table)
    if {"reference", "location"} <= set(table.columns):
        first: dict[str, str] = {}
        problems += [(number, f"reference {scene!r} lies in location {place!r}, above in {first[scene]!r}")
                     for number, scene, place in zip(table.index, table["reference"], table["location"], strict=True)
                     if place != first.setdefault(scene, place)]
    return problems


def _views(cell: str) -> list[float] | None:
    """Return the scores of an image's views, which stand in one cell with spaces between; None where it is no such list."""
    try:
        scores = [float(word) for word in cell.split()]
    except ValueError:
        return None
    return scores if all(PLAUSIBLE[0] <= score <= PLAUSIBLE[1] for score in scores) else None


def view_cells(scores: np.ndarray) -> list[str]:
    """Return scores of views (N, V) as the cells of a table, empty for a row of NaN."""
    return ["" if np.isnan(row).any() else " ".join(f"{score:.2f}" for score in row) for row in scores]


def _view_problems(table: pd.DataFrame) -> list[Problem]:
    """Collect what is wrong with the scores of views: each image has as many as the others, or none."""
    cells = [_views(cell) for cell in table[VIEW_MOS]]
    wanted = next((len(scores) for scores in cells if scores), 0)
    return [(number, f"{VIEW_MOS} {cell[:40]!r} is not {wanted or 'a list of'} scores, as others have, nor empty")
            for number, cell, scores in zip(table.index, table[VIEW_MOS], cells, strict=True)
            if scores is None or (scores and len(scores) != wanted)]


def _view_mos(table: pd.DataFrame) -> np.ndarray | None:
    """Return the scores of views (N, V) of a table in which every row is good, None where there are none."""
    if VIEW_MOS not in table.columns or not any(scores := [_views(cell) or [] for cell in table[VIEW_MOS]]):
        return None
    width = max(map(len, scores))
    return np.array([row or [np.nan] * width for row in scores], dtype=np.float64)


def _from_table(table: pd.DataFrame, path: Path, dataset: str) -> Manifest:
    """Make a Manifest of a table in which every row is good."""
    import pandas as pd

    names = table["image_name"].tolist()

    def column(name: str) -> list[str] | None:
        return table[name].str.strip().tolist() if name in table.columns else None

    types = table["distortion_type"].str.strip().tolist()
    sources = set(column("mos_source") or [HUMAN])
    if len(sources) > 1 or not sources <= {SIMULATED, HUMAN}:
        raise UserError(f"{path}: mos_source must be all {HUMAN!r} or all {SIMULATED!r}; found {sorted(sources)}")
    return Manifest(dataset, names, pd.to_numeric(table["MOS"]).astype(float).to_numpy(), types,
                    column("reference") or _derive_references(dataset, names), column("location"),
                    [int(level) for level in column("level") or ["0"] * len(names)], sources.pop(), _view_mos(table))


def write_manifest(table: pd.DataFrame, path: Path) -> None:
    """Write des.csv atomically; columns as in Manifest, image_name first."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def image_paths(manifest: Manifest, images_dir: Path) -> list[Path]:
    """Return the path of every image, or refuse with all that are missing."""
    paths = [Path(images_dir) / name for name in manifest.names]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise UserError(f"{images_dir} lacks {len(missing)} of the {len(paths)} images of {manifest.dataset}'s des.csv:\n"
                        f"{listed(missing)}\nPut them there, or remove their rows from des.csv.")
    return paths
