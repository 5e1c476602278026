"""Pristine panoramas: find them, know which show one place, and choose scenes reproducibly."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmifn.core.errors import UserError, listed
from mmifn.core.files import sha256_file
from mmifn.core.pixels import to_pixels
from mmifn.data.images import EXTENSIONS, MAX_MEGAPIXELS, read_image
from mmifn.data.tables import read_table, refuse_rows
from mmifn.simulate.rendered.panorama import RENDERER, render_scene, scene_names
from mmifn.simulate.settings import SYNTHETIC
from mmifn.sphere import resize_erp

_SCENE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Scene:
    """A pristine panorama; path is None where the package renders it. Scenes of one location are one place."""

    name: str
    location: str
    path: Path | None

    def digest(self) -> str:
        """Identify the picture: the SHA-256 of its file, or the renderer's version."""
        return sha256_file(self.path) if self.path else f"{SYNTHETIC} {RENDERER}"

    def load(self, height: int | None = None) -> np.ndarray:
        """Return (H, 2H, 3) uint8, reduced to `height` rows (rendered scenes: 512 unless told)."""
        if self.path is None:
            return render_scene(self.name, height or 512)
        pixels = read_image(self.path, max_megapixels=math.inf)  # its size is for check_scenes
        if height is None or height == len(pixels):
            return pixels
        return to_pixels(resize_erp(pixels, height, 2 * height))


def find_scenes(panoramas: str | Path) -> list[Scene]:
    """List the scenes of a folder by name, with the locations of the manifest.csv beside them; or the rendered ones.

    Raises UserError where the folder is missing or empty, two files share a scene name, or manifest.csv is wrong.
    """
    if str(panoramas) == SYNTHETIC:
        return [Scene(name, name, None) for name in scene_names()]
    folder = Path(panoramas)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; --panoramas wants a folder of 2:1 images, or the word {SYNTHETIC}")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and path.is_file())
    if not files:
        raise UserError(f"{folder} holds no images ({', '.join(EXTENSIONS)}); --panoramas wants a folder of 2:1 images")
    locations = _locations(folder, {path.name for path in files})
    problems = [f"{path.name}: use letters, digits, '.', '_' and '-' in the name" for path in files
                if not _SCENE_NAME.fullmatch(path.stem)]
    stems = [path.stem for path in files]
    problems += [f"{path.name}: another file has the same name but for its ending" for path in files
                 if stems.count(path.stem) > 1]
    if problems:
        raise UserError(f"{folder} has files that cannot be scenes:\n{listed(problems)}\nRename or remove them.")
    return [Scene(path.stem, locations.get(path.name, path.stem), path) for path in files]


def _locations(folder: Path, present: set[str]) -> dict[str, str]:
    """Read file -> location from manifest.csv, where there is one."""
    table = folder / "manifest.csv"
    if not table.is_file():
        return {}
    rows, problems = read_table(table, ("file", "location"))
    refuse_rows(table, problems)
    rows = rows[rows["file"].isin(present)]
    empty = rows["file"][rows["location"].str.strip() == ""]
    if len(empty):
        raise UserError(f"{table} gives no location for:\n{listed(empty)}")
    return dict(zip(rows["file"], rows["location"].str.strip(), strict=True))


def listed_scenes(panoramas: str | Path, names: Iterable[str]) -> list[Scene]:
    """Return those scenes of a folder that a list names, which may name others too; all where it is empty.

    Raises UserError where the folder has none of them.
    """
    wanted = set(names)
    scenes = [scene for scene in find_scenes(panoramas) if not wanted or scene.name in wanted]
    if not scenes:
        raise UserError(f"{panoramas} has none of the scenes {', '.join(sorted(wanted))}")
    return scenes


def choose_scenes(scenes: list[Scene], count: int | None, seed: int, exclude: Iterable[str] = (),
                  only: Iterable[str] = ()) -> list[Scene]:
    """Choose `count` scenes by seed, from different places as long as there are enough; sorted by name.

    exclude: names of scenes that must not be chosen, nor any other scene of their places; only: exactly these.
    Raises UserError for unknown names and where fewer scenes are left than asked for.
    """
    known = {scene.name: scene for scene in scenes}
    exclude, only = list(exclude), list(only)
    unknown = sorted({*exclude, *only} - set(known))
    if unknown:
        raise UserError(f"no scene is called:\n{listed(unknown)}\nThere are {len(known)}:\n{listed(sorted(known))}")
    barred = {known[name].location for name in exclude}
    if only:
        return _named_scenes([known[name] for name in sorted(set(only))], count, barred)
    left = [scene for scene in sorted(scenes, key=lambda scene: scene.name) if scene.location not in barred]
    if count is None or not 1 <= count <= len(left):
        raise UserError(f"--scenes {count} were asked for and {len(left)} are there ({len(scenes)} found, "
                        f"{len(scenes) - len(left)} excluded); ask for 1 to {len(left)}, or add panoramas")
    shuffled = [left[i] for i in np.random.default_rng(seed).permutation(len(left))]
    return sorted(_new_places_first(shuffled)[:count], key=lambda scene: scene.name)


def _named_scenes(named: list[Scene], count: int | None, barred: set[str]) -> list[Scene]:
    """Return the scenes that were asked for by name, unless some of them are barred or they are not `count`."""
    clash = [scene.name for scene in named if scene.location in barred]
    if clash or (count is not None and count != len(named)):
        raise UserError(f"--scenes {count} and {len(barred)} excluded places do not fit the {len(named)} named "
                        f"scenes; excluded although named:\n{listed(clash)}")
    return named


def _new_places_first(scenes: list[Scene]) -> list[Scene]:
    """Return the first scene of every place, then the others, both in the order given."""
    first, further, places = [], [], set()
    for scene in scenes:
        (further if scene.location in places else first).append(scene)
        places.add(scene.location)
    return first + further


def check_scenes(scenes: list[Scene], height: int | None, max_megapixels: float = MAX_MEGAPIXELS) -> None:
    """Refuse, all in one message, panoramas that are damaged, not 2:1, or lower than `height` rows."""
    problems = []
    for scene in scenes:
        if scene.path is None:
            continue
        try:
            # To its last pixel: nothing is begun that cannot be ended.
            rows, width = read_image(scene.path, max_megapixels=max_megapixels).shape[:2]
            if height is not None and rows < height:
                problems.append(f"{scene.path.name} is {width}x{rows}, lower than --height {height}")
            if width != 2 * rows or rows % 2:
                problems.append(f"{scene.path.name} is {width}x{rows}; wanted exactly 2:1 with an even height")
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError(f"{len(problems)} of {len(scenes)} panoramas cannot be used:\n{listed(problems)}\n"
                        "Replace them, or leave them out with --exclude-scenes.")
