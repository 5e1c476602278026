"""A fault campaign: spoilt files, kills, full disks, little memory and runs side by side, for as long as you like.

    python benchmarks/faults.py [--minutes 30] [--kinds killed full] [--from-seed 0] [--runs DIR]

Whole pieces of work, from rows of results to a small pipeline, run undisturbed first; then the minutes begin. Every try has a
seed of its own and runs in a process of its own; kills go through the writes of such a run, a hundredth write no less than the
first. It holds where the answer is a result equal to that of an
undisturbed run, or one message; a traceback, a hang, a lost row or a changed content that is used in silence is a failure.
Prints a table (kind, tries, held, failed) and every failure with its seed; --kinds KIND --from-seed N tries it again.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import torch

from benchmarks.fault_kills import (
    NotHere,
    Recording,
    UndisturbedFailed,
    full_disk,
    in_a_child,
    killed,
    killed_worker,
    little_memory,
    side_by_side,
    twice_at_once,
)
from benchmarks.fault_readers import read_spoilt, readers, small_checkpoint
from benchmarks.fault_spoil import NAMES, row_of
from benchmarks.fault_works import works
from mmifn.cli.flags import command_parser
from mmifn.core.artefact import save_safetensors, save_torch
from mmifn.core.errors import UserError, user_main
from mmifn.core.files import is_leftover, write_text
from mmifn.data.images import read_image, write_png
from mmifn.describe.table import Row, append, read_rows, upsert
from mmifn.scoring.prediction import columns
from mmifn.scoring.results import ResultFile
from mmifn.training.checkpoint import save_checkpoint

NO_MOUNT = "nothing may be mounted"
WAYS_A_TRY = 10  # in which a file is spoilt


# --- full disks ------------------------------------------------------------------------------------------------------


def _writers() -> dict[str, Callable[[Path], Any]]:
    """Return what writes a file whole, by the file's name; each writes more than 2 KB."""
    checkpoint = small_checkpoint()
    pixels = (torch.rand(64, 128, 3) * 255).byte().numpy()
    rows = [Row("DS", name, "soft " * 30, "vlm") for name in NAMES]
    return {"c.pth": lambda path: save_checkpoint(checkpoint, path),
            "m.safetensors": lambda path: save_safetensors(checkpoint.state, path),
            "t.pt": lambda path: save_torch({"x": torch.zeros(2000)}, path), "p.png": lambda path: write_png(pixels, path),
            "des.csv": lambda path: upsert(path, rows), "t.txt": lambda path: write_text(path, "text " * 2000)}


def _write_on_little(path: Path, write: Callable[[Path], Any]) -> str:
    """Write a file where there is no room: the error must name it, and what was there must stay."""
    write_text(path, "dataset,image_name,description\n")
    before = path.read_bytes()
    try:
        write(path)
    except OSError as error:
        if str(error.filename) != str(path):
            return f"the message names {error.filename}"
    else:
        return "" if path.read_bytes() != before else "it was said to be written and is not"
    left = [name for name in os.listdir(path.parent) if is_leftover(name)]
    return "what was there is gone" if path.read_bytes() != before else f"left behind: {left}" if left else ""


def full_disk_for_a_file(rng: random.Random, shared: Path, place: Path) -> str:
    """A limit on the size of files, as of a quota."""
    name, write = rng.choice(list(_writers().items()))
    size = rng.randrange(40, 4000)

    def work() -> str:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        return _write_on_little(place / name, write)

    said = in_a_child(work)
    return said and f"{name}, {size} bytes: {said}"


def small_file_system(rng: random.Random, shared: Path, place: Path) -> str:
    """A file system in memory that is full but for a few pages (where mounting is allowed)."""
    name, write = rng.choice(list(_writers().items()))
    disk = place / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        raise NotHere(NO_MOUNT)
    try:
        (disk / "filler").write_bytes(b"\0" * (4096 * rng.randrange(12, 15)))
        said = in_a_child(lambda: _write_on_little(disk / name, write))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    return said and f"{name}: {said}"


def little_memory_for_a_picture(rng: random.Random, shared: Path, place: Path) -> str:
    """A limit on memory while a large picture is decoded: pixels, or one message."""
    import numpy as np
    from PIL import Image

    path = place / "large.png"
    Image.fromarray(np.zeros((2048, 4096, 3), np.uint8)).save(path, compress_level=1)
    spare = rng.randrange(1, 120) * 2 ** 20

    @user_main
    def main() -> int:
        return 0 if read_image(path).shape == (2048, 4096, 3) else 1

    def work() -> str:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + spare, resource.RLIM_INFINITY))
        code = main()
        return "" if code in (0, 2) else f"exit code {code}"

    return in_a_child(work)


# --- runs side by side -----------------------------------------------------------------------------------------------


def two_runs_one_file(rng: random.Random, shared: Path, place: Path) -> str:
    """Runs with one file of results, by several names: each writes all rows, or is refused."""
    (place / "link.csv").symlink_to(place / "r.csv")

    def work(name: str) -> str:
        time.sleep(rng.random() / 50)
        try:
            file = ResultFile(place / name, "m", columns())
        except UserError as error:
            return "refused" if "another run" in str(error) else str(error)
        there = {row["image"] for row in file.rows()}
        for image in NAMES:
            if image not in there:
                file.add(row_of(image))
                time.sleep(0.001)
        file.close()
        return ""

    said = side_by_side([lambda name=name: work(name) for name in ("r.csv", "link.csv", "r.csv")])
    if "" not in said or set(said) - {"", "refused"}:
        return "; ".join(said)
    file = ResultFile(place / "r.csv", "m", columns())
    found = sorted(row["image"] for row in file.rows())
    file.close()
    return "" if found == sorted(NAMES) else f"{len(found)} rows of {len(NAMES)}"


def descriptions_side_by_side(rng: random.Random, shared: Path, place: Path) -> str:
    """Runs that add to one text/des.csv: no row is lost."""

    def work(part: int) -> str:
        for i in range(8):
            (append if (part + i) % 3 else upsert)(place / "des.csv", [Row("DS", f"{part}_{i}.png", "soft", "vlm")])
        return ""

    if any(said := side_by_side([lambda part=part: work(part) for part in range(3)])):
        return "; ".join(said)
    found = len({row.image_name for row in read_rows(place / "des.csv")})
    return "" if found == 24 else f"{found} of 24 rows"


def _spoilt(name: str, rng: random.Random, place: Path) -> str:
    """Spoil a file in several ways, one after the other, until the answer to one is wrong."""
    for i in range(WAYS_A_TRY):
        folder = place / str(i)
        folder.mkdir()
        if said := read_spoilt(name, rng, folder):
            return said
    return ""


Try = Callable[[random.Random, Path, Path], str]
DISTURBED: dict[str, tuple[Callable[[Recording, random.Random, Path], str], tuple[str, ...]]] = {
    "killed": (killed, ("descriptions", "results", "training", "simulation", "predict", "views", "pipeline")),
    "full disk": (full_disk, ("training", "predict", "pipeline")),
    "little memory": (little_memory, ("training", "simulation", "predict")),
    "killed worker": (killed_worker, ("simulation", "predict")),
    "twice at once": (twice_at_once, ("training", "simulation", "predict")),
}


@functools.cache
def recording(name: str, shared: Path) -> Recording:
    """Return the recording of a piece of work, made at the first time."""
    return Recording(works()[name], shared)


def _disturb(rng: random.Random, shared: Path, place: Path, fault: str, name: str) -> str:
    return DISTURBED[fault][0](recording(name, shared), rng, place / "root")


def _spoil(rng: random.Random, shared: Path, place: Path, name: str) -> str:
    return in_a_child(lambda: _spoilt(name, rng, place))


def kinds() -> dict[str, dict[str, Try]]:
    """Return every kind of try, in families that get the same time; quick ones first."""
    there = works()
    found: dict[str, dict[str, Try]] = {
        "spoilt": {f"spoilt {name}": functools.partial(_spoil, name=name) for name in readers()},
        "full disk": {"full disk, a file": full_disk_for_a_file, "full file system": small_file_system},
        "little memory": {"little memory, a picture": little_memory_for_a_picture},
        "twice at once": {"two runs, one file": two_runs_one_file, "descriptions side by side": descriptions_side_by_side}}
    for fault, (_, names) in DISTURBED.items():
        found.setdefault(fault, {}).update({f"{fault}, {name}": functools.partial(_disturb, fault=fault, name=name)
                                            for name in names if name in there})
    return found


@dataclass
class Tally:
    """What came of the tries of one kind; failures: (seed, what); reason: why there can be none here."""

    attempt: Try
    family: str
    tries: int = 0
    spent_s: float = 0.0
    failures: list[tuple[int, str]] = field(default_factory=list)
    reason: str = ""


def tallies_of(words: list[str]) -> dict[str, Tally]:
    """Return empty tallies of the kinds whose names hold one of these words."""
    return {name: Tally(attempt, family) for family, members in kinds().items() for name, attempt in members.items()
            if any(word in name for word in words)}


def one_try(kind: str, attempt: Try, seed: int, shared: Path) -> str:
    """Make one try; return what failed, "" where it held. shared: a folder for what all tries of a campaign share."""
    rng = random.Random(f"{kind} {seed}")
    rng.number = seed
    with tempfile.TemporaryDirectory(prefix="try", dir=shared) as place:
        try:
            return attempt(rng, shared, Path(place))
        except UndisturbedFailed:
            raise
        except UserError as error:
            return str(error)


def campaign(tallies: dict[str, Tally], seconds: float, first: int, shared: Path) -> None:
    """Try until the time is up, always the kind that had least of it in the family that had least; count in `tallies`."""
    end, families = time.monotonic() + seconds, dict.fromkeys((tally.family for tally in tallies.values()), 0.0)
    while (start := time.monotonic()) < end:
        there = {kind: tally for kind, tally in tallies.items() if not tally.reason}
        kind, tally = min(there.items(), key=lambda item: (families[item[1].family], item[1].spent_s))
        seed = first + tally.tries
        try:
            said = one_try(kind, tally.attempt, seed, shared)
        except NotHere as reason:
            tally.reason = str(reason)
            continue
        tally.tries += 1
        if said:
            tally.failures.append((seed, said))
            print(f"FAILED {kind}, seed {seed}: {said}", flush=True)
        tally.spent_s += time.monotonic() - start
        families[tally.family] += time.monotonic() - start


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this benchmark."""
    parser = command_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, metavar="N", help="how long (default: %(default)g)")
    parser.add_argument("--kinds", nargs="+", default=[""], metavar="WORD", help="only kinds with one of these words")
    parser.add_argument("--from-seed", type=int, default=0, metavar="N", help="first seed (default: %(default)s)")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="keep the undisturbed runs there for the next campaign of this "
                        "very code: they take minutes")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    """Run the campaign; 1 where anything failed."""
    args = build_parser().parse_args(argv)
    torch.set_num_threads(1)  # of several, those of a forked process would wait for ever
    tallies = tallies_of(args.kinds)
    if not tallies:
        raise UserError(f"--kinds {' '.join(args.kinds)}: there are {', '.join(tallies_of(['']))}")
    shared = args.runs or Path(tempfile.mkdtemp(prefix="faults"))
    shared.mkdir(parents=True, exist_ok=True)
    try:
        used = [recording(name, shared) for name in works() if any(kind.endswith(f", {name}") for kind in tallies)]
        with contextlib.suppress(KeyboardInterrupt):
            campaign(tallies, 60 * args.minutes, args.from_seed, shared)
    finally:
        if not args.runs:
            shutil.rmtree(shared, ignore_errors=True)
    return report(tallies, used)


def _counted(kind: str, tries: int, failed: int) -> str:
    return f"{kind:<32}{tries:>8}{tries - failed:>8}{failed:>8}"


def report(tallies: dict[str, Tally], used: list[Recording]) -> int:
    """Print the table and how many of all possible kills were tried; return 1 where anything failed."""
    print(f"{'kind':<32}{'tries':>8}{'held':>8}{'failed':>8}")
    for kind, tally in tallies.items():
        print(_counted(kind, tally.tries, len(tally.failures)) + ("  not tried: " + tally.reason if tally.reason else ""))
    failed = sum(len(tally.failures) for tally in tallies.values())
    print(_counted("all", sum(tally.tries for tally in tallies.values()), failed))
    for each in used:
        if tally := tallies.get(f"killed, {each.work.name}"):
            print(f"{each.work.name}: {len(each.writes)} writes; killed before, half-way through and after each: "
                  f"{min(tally.tries, len(each.points))} of {len(each.points)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
