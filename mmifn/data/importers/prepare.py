"""From a download to datasets/<DS>/: read labels, join them with files, check everything, place, write des.csv last."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from mmifn.core.defaults import MAX_MEGAPIXELS
from mmifn.core.errors import UserError, listed
from mmifn.core.files import remove_leftovers, sha256_file, write_text
from mmifn.data.importers.database import UNKNOWN_TYPE, Database, Slot
from mmifn.data.importers.files import check_image, find_images, place, resolutions
from mmifn.data.importers.labels import Labels, find_label_files, read_labels
from mmifn.data.manifest import HUMAN, write_manifest
from mmifn.data.workspace import Workspace

_LEVEL = re.compile("[0-9]{1,6}")


@dataclass(frozen=True)
class Import:
    """What to import: source folder, its database, and how."""

    database: Database
    source: Path
    labels: tuple[Path, ...] = ()
    copy: bool = False
    mos_scale: str | None = None
    allow_missing: bool = False
    overwrite: bool = False
    max_megapixels: float = MAX_MEGAPIXELS


@dataclass
class Imported:
    """The table written to des.csv, and remarks that a person should read."""

    table: pd.DataFrame
    notes: list[str] = field(default_factory=list)


@dataclass
class _Download:
    """What a folder holds of what its database names: images by key, pristine ones by scene, and what does not fit."""

    labels: Labels
    files: dict[str, Path]
    slots: dict[str, Slot]
    references: dict[str, Path]
    missing: list[str]
    surplus: list[str]
    problems: list[str]


def prepare(plan: Import, space: Workspace) -> Imported:
    """Import a download; everything is checked before the first file is placed.

    Raises UserError, with all findings in one message, for missing, doubled, broken or unlabelled images.
    """
    database, source = plan.database, Path(plan.source)
    if not source.is_dir():
        raise UserError(f"{source} is not a folder; --source wants the folder of the download of {database.name}")
    here = _look_through(plan, source)
    sizes, broken = _check_files({key: here.files[key] for key in here.slots}, here.references, plan.max_megapixels)
    problems = here.problems + broken
    if problems or not here.slots:
        raise UserError(_refusal(database, source, problems or ["no image has a score"], here.surplus))
    notes = _notes(plan, here, sizes)
    if database.refine:
        here.slots, remarks = database.refine(here.slots, here.files)
        notes += remarks
    return _write(plan, space, here, notes)


def _look_through(plan: Import, source: Path) -> _Download:
    """Join the labels of a download with its files."""
    database = plan.database
    labels = read_labels(database, list(plan.labels) or find_label_files(database, source), plan.mos_scale)
    files, surplus, problems = find_images(database, source)
    slots, pristine = _slots_and_references(database, labels)
    missing = [key for key in slots if key not in files]
    surplus += [str(path.relative_to(source)) for key, path in files.items() if key not in slots and key not in pristine]
    slots = {key: slot for key, slot in slots.items() if key in files}
    references = {scene: files[key] for key, scene in pristine.items() if key in files}
    if not plan.allow_missing:
        problems += [f"image {key} is missing" for key in missing]
    problems += [f"image {key} has no score" for key in slots if key not in labels.scores]
    return _Download(labels, files, slots, references, missing, surplus, problems)


def _slots_and_references(database: Database, labels: Labels) -> tuple[dict[str, Slot], dict[str, str]]:
    """Return what every image is, and the scene of every pristine image, by key: as the database has it, or the labels say."""
    if database.slots is not None:
        return database.slots, database.references
    if database.slot_of is None:
        return _slots_from(labels), database.references
    slots = {key: database.slot_of(key, line) for key, line in labels.scores.items()}
    return slots, {slot.reference: slot.reference for slot in slots.values() if slot.reference not in slots}


def _slots_from(labels: Labels) -> dict[str, Slot]:
    """Make the slots of a user's own database from the columns of its table."""
    bad = [f"{key}: level {line.level!r}" for key, line in labels.scores.items()
           if line.level and not _LEVEL.fullmatch(line.level)]
    if bad:
        raise UserError(f"levels must be whole numbers:\n{listed(bad)}")
    return {key: Slot(line.type or UNKNOWN_TYPE, int(line.level or 0), line.reference)
            for key, line in labels.scores.items()}


def _check_files(images: dict[str, Path], references: dict[str, Path],
                 max_megapixels: float) -> tuple[list[tuple[int, int]], list[str]]:
    """Read every image and reference to its last pixel; return the sizes of the good images, and what is wrong with others."""
    sizes, broken = [], []
    for path in images.values():
        size, wrong = check_image(path, max_megapixels)
        if wrong:
            broken.append(wrong)
        elif size:
            sizes.append(size)
    broken += [wrong for wrong in (check_image(path, max_megapixels)[1] for path in references.values()) if wrong]
    return sizes, broken


def _refusal(database: Database, source: Path, problems: list[str], surplus: list[str]) -> str:
    text = f"{source} is not a complete {database.name}: {len(problems)} finding(s)\n{listed(problems)}"
    if surplus:
        text += f"\nfiles that are no labelled image (renamed?):\n{listed(surplus)}"
    return text + ("\nMend the folder and run the same command again; --allow-missing imports what is there and labelled."
                   "\nNothing was written.")


def _notes(plan: Import, here: _Download, sizes: list[tuple[int, int]]) -> list[str]:
    """Return what a person should read of an import: labels, sizes, what is missing, what was left alone."""
    labels, expected = here.labels, len(plan.database.references)
    notes = [f"labels: {', '.join(path.name for path in labels.files)}, MOS scale {labels.scale}", *labels.notes,
             f"resolutions: {resolutions(sizes)}"]
    if expected:
        notes.append(f"references: {len(here.references)} of {expected} pristine images found"
                     + ("" if len(here.references) == expected else "; full-reference metrics need them all"))
    if here.missing:
        notes.append(f"missing images, left out: {len(here.missing)}\n{listed(here.missing)}")
    if here.surplus:
        notes.append(f"surplus files, left alone: {len(here.surplus)}\n{listed(here.surplus)}")
    return notes


def _write(plan: Import, space: Workspace, here: _Download, notes: list[str]) -> Imported:
    """Place the files and write import.json and des.csv (last, so that its presence means complete)."""
    name, labels, files, slots = plan.database.name, here.labels, here.files, here.slots
    placed = {key: _target_name(plan.database, key, files[key]) for key in slots}
    table = pd.DataFrame([{"image_name": placed[key], "MOS": repr(labels.scores[key].mos), "distortion_type": slot.type,
                           "level": slot.level, "reference": slot.reference, "mos_source": HUMAN, **dict(slot.extra)}
                          for key, slot in slots.items()])
    if (table["reference"] == "").any():
        notes.append("no reference scenes are known: splits by scene are impossible until des.csv has the column")
        table = table.drop(columns="reference")
    _refuse_replacing(space.dataset_dir(name), table, plan.overwrite)
    for folder in (space.images_dir(name), space.references_dir(name)):
        remove_leftovers(folder)
    for key, target in placed.items():
        place(files[key], space.images_dir(name) / target, plan.copy)
    for scene, path in here.references.items():
        place(path, space.references_dir(name) / f"{scene}{path.suffix.lower()}", plan.copy)
    counts = Counter(path.suffix.lower() for path in (files[key] for key in slots))
    notes.append("files: " + ", ".join(f"{count} {suffix}" for suffix, count in counts.items())
                 + (" copied" if plan.copy else " linked"))
    record = {"source": str(plan.source), "labels": {str(path): sha256_file(path) for path in labels.files},
              "mos_scale": labels.scale, "notes": notes}
    write_text(space.dataset_dir(name) / "import.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    write_manifest(table, space.manifest(name))
    return Imported(table, notes)


def _target_name(database: Database, key: str, path: Path) -> str:
    """Known databases get their canonical names (img7.jpg, 007.png), users' own keep theirs."""
    return f"{key}{path.suffix.lower()}" if database.slots is not None else path.name


def _refuse_replacing(folder: Path, table: pd.DataFrame, overwrite: bool) -> None:
    if (folder / "simulation.json").is_file():
        raise UserError(f"{folder} holds a simulated database; real and simulated labels are never mixed.\n"
                        "Use another --root, or remove that folder first.")
    manifest = folder / "des.csv"
    content = table.to_csv(index=False, lineterminator="\n")
    same = manifest.is_file() and manifest.read_text(encoding="utf-8", errors="replace") == content
    if manifest.is_file() and not same and not overwrite:
        raise UserError(f"{manifest} is there and differs from what this import gives; look at it, then use --overwrite "
                        "to replace it.")
