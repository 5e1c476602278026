"""What the checks of the measured words share: their flags, scenes that no calibration saw, the loop over them, the counts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from mmifn.cli.flags import command_parser
from mmifn.core.errors import UserError
from mmifn.core.json_text import parse_json
from mmifn.core.workers import run_tasks
from mmifn.describe.measured import calibration
from mmifn.simulate import codecs
from mmifn.simulate.panoramas import Scene, find_scenes

SAVED_QUALITY = 95


@dataclass(frozen=True)
class Checked:
    """What was told of one picture: the case it stands for, whether that is right, and the words."""

    case: str
    right: bool
    words: str


def held_out_scenes(panoramas: str) -> list[Scene]:
    """Return the scenes of a folder whose places the calibration of the words did not see."""
    scenes, fitted = find_scenes(panoramas), parse_json(calibration.FILE.read_bytes())["scenes"]
    places = {scene.location for scene in scenes if scene.name in fitted}
    return [scene for scene in scenes if scene.location not in places]


def pristine_of(scene: Scene, height: int) -> np.ndarray:
    """Return a scene reduced to some rows, (height, 2 height, 3) uint8."""
    pixels = scene.load()
    if height > len(pixels):
        raise UserError(f"--height {height}: {scene.name} has {len(pixels)} rows, and is not enlarged")
    return cv2.resize(pixels, (2 * height, height), interpolation=cv2.INTER_AREA)


def saved(pixels: np.ndarray, quality: int = SAVED_QUALITY) -> np.ndarray:
    """Return a picture as it is after saving as JPEG."""
    return codecs.decode(codecs.encode_jpeg(pixels, quality))


def check_parser(doc: str | None, height: int) -> argparse.ArgumentParser:
    """Return a parser with the flags of every check; height: rows of the panoramas by default."""
    parser = command_parser(doc)
    parser.add_argument("--panoramas", required=True, metavar="DIR", help="folder of pristine panoramas, or 'synthetic'")
    parser.add_argument("--scenes", type=int, metavar="N", help="check at most N held-out scenes")
    parser.add_argument("--only", default="", metavar="NAMES", help="check these scenes alone")
    parser.add_argument("--height", type=int, default=height, metavar="N", help="rows of the panoramas (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: %(default)s)")
    return parser


def print_check(check: Callable[[tuple[int, Scene]], list[Checked]], args: argparse.Namespace) -> None:
    """Check every held-out scene, given with its number among them; print the counts, and on stderr what is wrong."""
    scenes = list(enumerate(held_out_scenes(args.panoramas)))[:args.scenes]
    wanted = args.only.split(",") if args.only else [scene.name for _, scene in scenes]
    if unknown := sorted(set(wanted) - {scene.name for _, scene in scenes}):
        raise UserError(f"--only: no held-out scene is called {', '.join(unknown)}")
    jobs = [job for job in scenes if job[1].name in wanted]
    answers: dict[str, list[bool]] = {}
    for i, verdicts in run_tasks(check, jobs, args.workers):
        for told in verdicts:
            answers.setdefault(told.case, []).append(told.right)
            if not told.right:
                print(f"{jobs[i][1].name}: {told.case}: {told.words}", file=sys.stderr, flush=True)
    for case, rights in answers.items():
        print(f"{case}: {sum(rights)} of {len(rights)} right")
