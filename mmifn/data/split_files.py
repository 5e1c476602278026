"""Files of splits: published sets, or ours, so that figures of different methods stand on the same test scenes.

Ours:       {"schema": "splits/1", "unit": "reference", "splits": {"OIQA": [{"seed": 0, "train": [...], "val": [...],
            "test": [...]}, ...]}}
Published:  {"OIQA-1234": {"train": [...], "val": [...], "test": [...]}, ...}, the database and a number in every name.

Scenes are named as in the column `reference` of des.csv, or numbered where those are numbers ("07" is 7).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

from mmifn.core.errors import UserError, listed
from mmifn.core.files import write_text
from mmifn.core.json_text import parse_json
from mmifn.data.splits import Split, make_splits

SCHEMA = "splits/1"
SIDES = ("train", "val", "test")
_PUBLISHED = re.compile(r"(?P<dataset>.+?)[-_](?P<seed>\d+)")


def find_split_file(given: str, root: Path) -> Path:
    """Return the file that --splits names: a path, or the name of one in <root>/splits/ (GSR: splits/GSR.json)."""
    choices = [Path(given), root / "splits" / given, root / "splits" / f"{given}.json"]
    for path in choices:
        if path.is_file():
            return path
    raise UserError(f"--splits {given}: wanted a number of splits, or a file of splits; there is none at\n{listed(choices)}")


def wished_splits(wished: int | str, root: Path, dataset: str, scenes: list[str], unit: str = "reference") -> list[Split]:
    """Return what --splits asks for: so many splits drawn by seed, or those of a file."""
    if isinstance(wished, int):
        return make_splits(scenes, wished, dataset=dataset, unit=unit)
    return read_splits(find_split_file(wished, root), dataset, scenes, unit)


def read_splits(path: Path, dataset: str, scenes: list[str], unit: str = "reference") -> list[Split]:
    """Return the splits that a file has for a database, scenes named as in its des.csv.

    scenes: of every image. Raises UserError where the file has none for it, names unknown scenes, leaves scenes out, puts one
    on two sides, or lacks training, validation or test scenes.
    """
    if unit != "reference":
        raise UserError(f"{path}: a file of splits is by scene; leave --split-by {unit} out")
    entries = _entries(path, dataset)
    names = {scene: scene for scene in scenes}
    numbers = {str(int(scene)): scene for scene in names if scene.isdecimal()}
    return [_split(entry, seed, names | {key: value for key, value in numbers.items() if key not in names},
                   f"{path}, {dataset}, split {seed}") for seed, entry in entries]


def _entries(path: Path, dataset: str) -> list[tuple[int, dict[str, Any]]]:
    """Return number and sides of every split that a file of either form has for a database."""
    try:
        content = parse_json(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is not a readable json file ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is no file of splits: found a {type(content).__name__}, wanted an object")
    if content.get("schema") == SCHEMA:
        groups = content.get("splits")
        groups = groups if isinstance(groups, dict) else {}
        group = groups.get(dataset)
        entries = [(_seed(entry, i), entry) for i, entry in enumerate(group if isinstance(group, list) else [])]
    else:
        matches = [(_PUBLISHED.fullmatch(key), entry) for key, entry in content.items()]
        groups = {match["dataset"] for match, _ in matches if match}
        entries = [(int(match["seed"]), entry) for match, entry in matches if match and match["dataset"] == dataset]
    if not entries:
        raise UserError(f"{path} has no splits of {dataset}; it has those of: {', '.join(sorted(groups)) or 'nothing'}")
    return entries


def _seed(entry: Any, place: int) -> int:
    """Return the number of a split of ours: as it says, or its place."""
    seed = entry.get("seed") if isinstance(entry, dict) else None
    return seed if type(seed) is int else place


def _split(entry: Any, seed: int, names: dict[str, str], where: str) -> Split:
    """Join the sides of one entry with the scenes of des.csv. names: as a file may call them -> as des.csv does."""
    if not isinstance(entry, dict) or any(not isinstance(entry.get(side), list) or not entry[side] for side in SIDES):
        raise UserError(f"{where}: wanted non-empty lists of scenes for {', '.join(SIDES)} (the epoch is chosen on val)")
    if unknown := sorted({str(scene) for side in SIDES for scene in entry[side]} - names.keys()):
        raise UserError(f"{where} names scenes that des.csv does not have:\n{listed(unknown)}\nIs the import complete?")
    joined = {side: tuple(sorted(names[str(scene)] for scene in entry[side])) for side in SIDES}
    counts = Counter(chain(*joined.values()))
    twice, left = sorted(scene for scene, count in counts.items() if count > 1), sorted(set(names.values()) - counts.keys())
    if twice or left:
        raise UserError(f"{where} must have every scene once; twice: {', '.join(twice) or 'none'}; left out: "
                        f"{', '.join(left) or 'none'}")
    return Split(seed, "reference", *joined.values())


def write_splits(path: Path, splits: dict[str, list[Split]], unit: str = "reference") -> None:
    """Write splits by database, such that `read_splits` gives them again (those by image are for the record)."""
    content = {name: [{"seed": split.seed, **{side: list(getattr(split, side)) for side in SIDES}} for split in group]
               for name, group in splits.items()}
    write_text(path, json.dumps({"schema": SCHEMA, "unit": unit, "splits": content}, indent=1) + "\n")
