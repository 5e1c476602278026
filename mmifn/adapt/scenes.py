"""Which scenes an encoder may be adapted on: none of a benchmark's, and none of the same places."""

from __future__ import annotations

import numpy as np

from mmifn.core.errors import UserError, listed
from mmifn.data.tables import read_table, refuse_rows
from mmifn.data.workspace import Workspace
from mmifn.simulate.panoramas import Scene


def outside_scenes(scenes: list[Scene], space: Workspace, datasets: list[str], exclude: list[str]) -> list[Scene]:
    """Return the scenes that share no name and no place with a database's or with an excluded one.

    Raises UserError where a database is missing or does not name its scenes, an excluded scene is unknown, or fewer
    than four scenes are left.
    """
    known = {scene.name: scene for scene in scenes}
    if unknown := sorted(set(exclude) - set(known)):
        raise UserError(f"no panorama is called:\n{listed(unknown)}\n--exclude-scenes takes file names without their ending")
    barred = set(exclude) | {known[name].location for name in exclude}
    for dataset in datasets:
        path = space.manifest(dataset)
        if not path.is_file():
            raise UserError(f"{path} does not exist; make or import {dataset} first, so that its scenes can be kept out, or name "
                            "the databases with --datasets (none: --datasets with nothing after it)")
        table, problems = read_table(path, ("reference",))  # without the names of its scenes they cannot be kept out
        refuse_rows(path, problems)
        for column in ("reference", "location"):
            barred |= set(table[column].str.strip()) - {""} if column in table else set()
    left = [scene for scene in scenes if not {scene.name, scene.location} & barred]
    if len(left) < 4:
        raise UserError(f"{len(left)} of {len(scenes)} panoramas lie outside the databases; at least 4 are needed")
    return left


def set_apart(scenes: list[Scene], count: int, seed: int) -> tuple[list[Scene], list[Scene]]:
    """Return training scenes and `count` scenes to look at the result with, of other places, chosen by seed."""
    if not 1 <= count <= len(scenes) // 2:
        raise UserError(f"--held-out {count}: wanted 1 to {len(scenes) // 2} of the {len(scenes)} scenes")
    places = sorted({scene.location for scene in scenes})
    chosen = {places[i] for i in np.random.default_rng(seed).permutation(len(places))[:count]}
    return [scene for scene in scenes if scene.location not in chosen], [scene for scene in scenes if scene.location in chosen]


def of_teacher(scenes: list[Scene], taught_on: list[str], held_out: list[str], teacher: str) -> tuple[list[Scene], list[Scene]]:
    """Return the scenes of the places that a teacher learnt from, and those of the places it was looked at with.

    A network that learns from it may know no place that the teacher does not know. Raises UserError where either is empty.
    """
    parts = []
    for names, what in ((taught_on, "learnt from"), (held_out, "was looked at with")):
        places = {scene.location for scene in scenes if scene.name in names}
        if not places:
            raise UserError(f"none of the {len(scenes)} panoramas is of a place that {teacher} {what}; wanted some of:\n"
                            + listed(sorted(names)))
        parts.append([scene for scene in scenes if scene.location in places])
    return parts[0], parts[1]
