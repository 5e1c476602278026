"""A fault campaign: spoilt files, kills, full disks, little memory and runs side by side, for as long as you like.

    python benchmarks/faults.py --minutes 30 [--kinds killed full] [--seed 0]

Every try has a seed of its own and runs in a process of its own. It holds where the answer is a result equal to that of an
undisturbed run, or one message; a traceback, a hang, a lost row or a changed content that is used in silence is a failure.
Prints a table (kind, tries, held, failed) and every failure with its seed; --kinds KIND --from-seed N tries it again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import torch

import gff_module
import lff_module
import train
from benchmarks.fault_readers import NAMES, make_database, read_spoilt, readers, row_of, small_checkpoint
from mmifn.cli.flags import command_parser
from mmifn.core.artefact import load, save_safetensors, save_torch
from mmifn.core.errors import UserError, user_main
from mmifn.core.files import is_leftover, sha256_file, write_text
from mmifn.core.locked import LockedFile
from mmifn.data.features import FusedFeatures
from mmifn.data.images import read_image, write_png
from mmifn.describe.table import Row, append, read_rows, upsert
from mmifn.scoring.prediction import columns
from mmifn.scoring.results import ResultFile
from mmifn.training.checkpoint import save_checkpoint

HANG_S = 180.0
SMALL = ["--config", "compact", "--epochs", "1", "--branch-epochs", "1", "--batch-size", "16", "--device", "cpu"]
STAGES = {gff_module: ["--dataset", "DS"], lff_module: ["--dataset", "DS"],
          train: ["--dataset", "DS", "--test-dataset", "none"]}
KILLED = 9
WAYS_A_TRY = 10  # in which a file is spoilt


def in_a_child(work: Callable[[], str], seconds: float = HANG_S) -> str:
    """Run a piece of work in a forked process without output; return what it says, or how it ended otherwise."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in (1, 2):
            os.dup2(nowhere, number)
        try:
            said = work()
        except BaseException as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            said = f"{type(error).__name__}: {str(error)[:160]} ({Path(place.filename).name}:{place.lineno})"
        os.write(writer, said.encode("utf-8", "replace")[:4000])
        os._exit(0)
    os.close(writer)
    try:
        if not select.select([reader], [], [], seconds)[0]:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return f"hangs for {seconds:g} s"
        said = os.read(reader, 4000).decode("utf-8", "replace")
    finally:
        os.close(reader)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return said if status == 0 else f"ended with {status}"


# --- kills -----------------------------------------------------------------------------------------------------------


@dataclass
class _Killer:
    """Counts what is written, and kills this process at the n-th: before, after, or half-way (as a loss of power may)."""

    at: int = 0
    way: str = "before"
    count: int = 0
    replace: Callable[..., None] = os.replace
    add: Callable[[LockedFile, str], None] = LockedFile.append

    def watch(self) -> None:
        """Put this in the place of what writes."""

        def replace(source: Any, target: Any) -> None:
            torn = self._reached()
            if torn and self.way == "torn" and not os.path.islink(source):
                os.truncate(source, os.stat(source).st_size // 2)
            if not torn or self.way != "before":
                self.replace(source, target)
            if torn:
                os._exit(KILLED)

        def add(file: LockedFile, text: str) -> None:
            torn = self._reached()
            if not torn or self.way != "before":
                self.add(file, text[:len(text) // 2] if torn and self.way == "torn" else text)
            if torn:
                os._exit(KILLED)

        os.replace, LockedFile.append = replace, add

    def _reached(self) -> bool:
        self.count += 1
        return self.count == self.at


def _hashes(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): sha256_file(path) for path in sorted(root.rglob("*")) if path.is_file()}


def _killed_and_again(work: Callable[[], str], whole: Path, root: Path, rng: random.Random) -> str:
    """Kill a piece of work at a random write, do it again, and compare what is there with that of an undisturbed run."""
    killer = _Killer(rng.randrange(1, int((whole / "writes").read_text()) + 1), rng.choice(("before", "after", "torn")))

    def killed() -> str:
        killer.watch()
        work()
        return "was not killed"

    ended = in_a_child(killed)
    if ended != f"ended with {KILLED}":
        return f"first run {ended}"
    said = in_a_child(work)
    if killer.way == "torn" and said.startswith("UserError: ") and str(root) in said:
        return ""  # what a loss of power took cannot come back; the file is named
    if said:
        return f"killed {killer.way} write {killer.at}, second run: {said}"
    found, wanted = _hashes(root), _hashes(whole / "root")
    differ = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    return f"killed {killer.way} write {killer.at}: {', '.join(differ[:3])} differ" if differ else ""


def _undisturbed(folder: Path, name: str, prepare: Callable[[Path], None], work: Callable[[Path], str]) -> Path:
    """Return the folder of a run without faults, made once: what it gives in root/, and how often it wrote."""
    whole = folder / f"whole {name}"
    if not whole.exists():
        prepare(whole / "root")
        killer = _Killer()

        def counted() -> str:
            killer.watch()
            said = work(whole / "root")
            (whole / "writes").write_text(str(killer.count))
            return said

        if said := in_a_child(counted):
            raise UserError(f"the undisturbed run of {name} failed: {said}")
    return whole


def _codes(*calls: Callable[[], int]) -> str:
    for call in calls:
        if code := call():
            return f"exit code {code}"
    return ""


def _training(root: Path) -> str:
    return _codes(*(lambda stage=stage, argv=argv: stage.main(["--root", str(root), *argv, *SMALL])
                    for stage, argv in STAGES.items()))


def killed_training(rng: random.Random, shared: Path, place: Path) -> str:
    """Stages 5-7 on made-up features."""
    whole = _undisturbed(shared, "training", make_database, _training)
    make_database(place / "root")
    return _killed_and_again(lambda: _training(place / "root"), whole, place / "root", rng)


def _descriptions(root: Path) -> str:
    for i, name in enumerate(NAMES):
        append(root / "des.csv", [Row("DS", name, f"soft {i}", "vlm")])
        if i % 5 == 4:
            upsert(root / "des.csv", [])
    upsert(root / "des.csv", [])
    return "" if sorted(row.image_name for row in read_rows(root / "des.csv")) == sorted(NAMES) else "a description is lost"


def killed_descriptions(rng: random.Random, shared: Path, place: Path) -> str:
    """Descriptions that come one by one."""
    whole = _undisturbed(shared, "descriptions", _folder, _descriptions)
    _folder(place / "root")
    return _killed_and_again(lambda: _descriptions(place / "root"), whole, place / "root", rng)


def _folder(path: Path) -> None:
    path.mkdir(parents=True)


def _results(root: Path) -> str:
    for suffix in ("csv", "json"):
        file = ResultFile(root / f"r.{suffix}", "m", columns() if suffix == "csv" else None)
        there = {row["image"] for row in file.rows()}
        for name in NAMES:
            if name not in there:
                file.add(row_of(name))
        file.finish()
        file.close()
    return ""


def killed_results(rng: random.Random, shared: Path, place: Path) -> str:
    """Rows of results."""
    whole = _undisturbed(shared, "results", _folder, _results)
    _folder(place / "root")
    return _killed_and_again(lambda: _results(place / "root"), whole, place / "root", rng)


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


def full_disk(rng: random.Random, shared: Path, place: Path) -> str:
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
        return ""
    try:
        (disk / "filler").write_bytes(b"\0" * (4096 * rng.randrange(12, 15)))
        said = in_a_child(lambda: _write_on_little(disk / name, write))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    return said and f"{name}: {said}"


def little_memory(rng: random.Random, shared: Path, place: Path) -> str:
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


def _side_by_side(works: list[Callable[[], str]]) -> list[str]:
    """Run pieces of work at the same time; return what each says."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(in_a_child, works))


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

    said = _side_by_side([lambda name=name: work(name) for name in ("r.csv", "link.csv", "r.csv")])
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

    if any(said := _side_by_side([lambda part=part: work(part) for part in range(3)])):
        return "; ".join(said)
    found = len({row.image_name for row in read_rows(place / "des.csv")})
    return "" if found == 24 else f"{found} of 24 rows"


def stages_side_by_side(rng: random.Random, shared: Path, place: Path) -> str:
    """The same stage twice in one workspace."""
    make_database(place / "root")
    argv = ["--root", str(place / "root"), "--dataset", "DS", *SMALL]
    said = _side_by_side([lambda: _codes(lambda: gff_module.main(argv))] * 2)
    path = place / "root" / "features" / "DS" / "global_fusion_features.pt"
    return "; ".join(filter(None, said)) or ("" if load(path, FusedFeatures).branch == "gff" else "another branch")


def _spoilt(name: str, rng: random.Random, place: Path) -> str:
    """Spoil a file in several ways, one after the other, until the answer to one is wrong."""
    for i in range(WAYS_A_TRY):
        folder = place / str(i)
        folder.mkdir()
        if said := read_spoilt(name, rng, folder):
            return said
    return ""


KINDS: dict[str, Callable[[random.Random, Path, Path], str]] = {
    **{f"spoilt {name}": lambda rng, shared, place, name=name: in_a_child(lambda: _spoilt(name, rng, place))
       for name in readers()},
    "killed training": killed_training, "killed descriptions": killed_descriptions, "killed results": killed_results,
    "full disk": full_disk, "full file system": small_file_system, "little memory": little_memory,
    "two runs, one file": two_runs_one_file, "descriptions side by side": descriptions_side_by_side,
    "stages side by side": stages_side_by_side,
}


@dataclass
class Tally:
    """What came of the tries of one kind; failures: (seed, what)."""

    tries: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)


def one_try(kind: str, seed: int, shared: Path) -> str:
    """Make one try; return what failed, "" where it held. shared: a folder for what all tries of a campaign share."""
    with tempfile.TemporaryDirectory(prefix="try", dir=shared) as place:
        try:
            return KINDS[kind](random.Random(f"{kind} {seed}"), shared, Path(place))
        except UserError as error:
            return str(error)


def campaign(tallies: dict[str, Tally], seconds: float, first: int, shared: Path) -> None:
    """Try every kind in turn until the time is up, and count in `tallies`."""
    end, seed = time.monotonic() + seconds, first
    while time.monotonic() < end:
        for kind, tally in tallies.items():
            if time.monotonic() >= end:
                break
            tally.tries += 1
            if said := one_try(kind, seed, shared):
                tally.failures.append((seed, said))
                print(f"FAILED {kind}, seed {seed}: {said}", flush=True)
        seed += 1


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this benchmark."""
    parser = command_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, metavar="N", help="how long (default: %(default)g)")
    parser.add_argument("--kinds", nargs="+", default=[""], metavar="WORD", help="only kinds with one of these words")
    parser.add_argument("--from-seed", type=int, default=0, metavar="N", help="first seed (default: %(default)s)")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    """Run the campaign; 1 where anything failed."""
    args = build_parser().parse_args(argv)
    torch.set_num_threads(1)  # of several, those of a forked process would wait for ever
    kinds = [kind for kind in KINDS if any(word in kind for word in args.kinds)]
    if not kinds:
        raise UserError(f"--kinds {' '.join(args.kinds)}: there are {', '.join(KINDS)}")
    shared, tallies = Path(tempfile.mkdtemp(prefix="faults")), {kind: Tally() for kind in kinds}
    with contextlib.suppress(KeyboardInterrupt):
        campaign(tallies, 60 * args.minutes, args.from_seed, shared)
    shutil.rmtree(shared, ignore_errors=True)
    print(f"{'kind':<28}{'tries':>8}{'held':>8}{'failed':>8}")
    for kind, tally in tallies.items():
        print(f"{kind:<28}{tally.tries:>8}{tally.tries - len(tally.failures):>8}{len(tally.failures):>8}")
    failed = sum(len(tally.failures) for tally in tallies.values())
    print(f"{'all':<28}{sum(tally.tries for tally in tallies.values()):>8}{'':>8}{failed:>8}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
