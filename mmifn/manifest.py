"""des.csv: the images of a database, their opinion scores, distortions and reference scenes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from mmifn.artefact import atomic_path
from mmifn.errors import UserError, listed

REQUIRED = ("image_name", "MOS", "distortion_type")
SIMULATED, HUMAN = "simulated", "human"

# Scene of an image from its number in the original downloads (method_facts: 20 images a scene in OIQA, in CVIQ 34
# counting the pristine one).
NUMBERINGS = {"OIQA": (re.compile(r"img(\d+)\.\w+"), 20), "CVIQ": (re.compile(r"(\d{3})\.\w+"), 34)}


@dataclass(frozen=True)
class Manifest:
    """The rows of one des.csv, in file order.

    names: image file names below images/; mos: (N,) float64; types: distortion type of each image;
    references: reference scene of each image, or None where the file does not tell;
    locations: place of each scene (scenes of one place never part in a split);
    levels: distortion level of each image, 0 where unknown; mos_source: "human" or "simulated".
    """

    dataset: str
    names: list[str]
    mos: np.ndarray
    types: list[str]
    references: list[str] | None
    locations: list[str] | None
    levels: list[int]
    mos_source: str

    def __len__(self) -> int:
        return len(self.names)

    @property
    def mos_scale(self) -> str:
        """Return "1-10" or "0-100", told from the largest score (OIQA circulates in both; they are never mixed)."""
        return "1-10" if float(self.mos.max()) <= 10.0 else "0-100"

    def scenes(self, split_by: str = "reference") -> list[str]:
        """Return the unit of splitting of each image: its scene (its place where known), or itself.

        Raises UserError where the scenes are unknown and `split_by` is not "image".
        """
        if split_by == "image":
            return list(self.names)
        groups = self.locations or self.references
        if groups is None:
            raise UserError(
                f"{self.dataset}: des.csv has no `reference` column and the file names are not those of the original "
                "OIQA or CVIQ, so images cannot be split by scene.\nAdd the column, or accept splits in which scenes "
                "leak from training to test with --split-by image (tables will say so).")
        return groups


def check_name(name: str) -> str | None:
    """Return what is wrong with an image name, or None."""
    path = PurePosixPath(name)
    if not name or name != name.strip():
        return "is empty or has spaces around it"
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name:
        return "climbs out of the images folder"
    return None


def _derive_references(dataset: str, names: list[str]) -> list[str] | None:
    pattern, per_scene = NUMBERINGS.get(dataset, (None, 0))
    matches = [pattern.fullmatch(name) for name in names] if pattern else [None]
    if not all(matches):
        return None
    return [f"{(int(match[1]) - 1) // per_scene + 1:02d}" for match in matches]


def _problems(table: pd.DataFrame) -> list[str]:
    """Collect every bad row of a table, with its line number in the file (the header is line 1)."""
    found = []
    duplicated = table["image_name"].duplicated(keep="first")
    mos = pd.to_numeric(table["MOS"], errors="coerce")
    for i, name in enumerate(table["image_name"]):
        line = f"line {i + 2}"
        wrong = check_name(name)
        if wrong:
            found.append(f"{line}: image_name {name!r} {wrong}")
        elif duplicated.iloc[i]:
            found.append(f"{line}: image_name {name!r} appears again")
        if not np.isfinite(mos.iloc[i]):
            found.append(f"{line}: MOS {table['MOS'].iloc[i]!r} is not a finite number")
        if not table["distortion_type"].iloc[i].strip():
            found.append(f"{line}: distortion_type is empty")
    return found


def read_manifest(path: Path, dataset: str) -> Manifest:
    """Read and check a des.csv; all bad rows come in one message.

    Raises UserError where the file is missing, empty, lacks a column, or has bad rows.
    """
    path = Path(path)
    remedy = (f"\nMake it: python prepare_dataset.py --dataset {dataset} --source DOWNLOAD_FOLDER, "
              f"or python simulate_dataset.py --like OIQA --dataset {dataset} --panoramas DIR")
    if not path.is_file():
        raise UserError(f"{path} does not exist; the stage needs columns {', '.join(REQUIRED)}{remedy}")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a readable csv table ({error}){remedy}") from error
    missing = [column for column in REQUIRED if column not in table.columns]
    if missing:
        raise UserError(f"{path} lacks the column(s) {', '.join(missing)}; found {', '.join(map(str, table.columns))}")
    if table.empty:
        raise UserError(f"{path} has a header but no rows{remedy}")
    found = _problems(table)
    if found:
        raise UserError(f"{path} has {len(found)} bad row(s):\n{listed(found)}\nMend them and run the same command again.")
    return _from_table(table, path, dataset)


def _from_table(table: pd.DataFrame, path: Path, dataset: str) -> Manifest:
    names = table["image_name"].tolist()

    def column(name: str) -> list[str] | None:
        if name not in table.columns:
            return None
        values = table[name].str.strip().tolist()
        empty = [f"line {i + 2}" for i, value in enumerate(values) if not value]
        if empty:
            raise UserError(f"{path}: the column {name} is empty in {len(empty)} row(s):\n{listed(empty)}")
        return values

    sources = set(column("mos_source") or [HUMAN])
    if len(sources) > 1 or not sources <= {SIMULATED, HUMAN}:
        raise UserError(f"{path}: mos_source must be all {HUMAN!r} or all {SIMULATED!r}; found {sorted(sources)}")
    levels = column("level") or ["0"] * len(names)
    bad = [f"line {i + 2}: {level!r}" for i, level in enumerate(levels) if not level.isdigit()]
    if bad:
        raise UserError(f"{path}: level must be a whole number; found\n{listed(bad)}")
    references = column("reference") or _derive_references(dataset, names)
    return Manifest(dataset, names, table["MOS"].astype(float).to_numpy(), column("distortion_type"), references,
                    column("location"), [int(level) for level in levels], sources.pop())


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
