"""What benchmarks/faults.py disturbs: pieces of work whose every write is recorded once, and that go on from there.

The state of a folder at a write is put together from the recording, as a kill leaves it there: before the write, after it, or
with half of it (as a loss of power may). The work is then run again, and has to come to the states of the undisturbed run.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from mmifn.core.errors import UserError
from mmifn.core.files import sha256_file, sha256_json
from mmifn.core.locked import LockedFile
from mmifn.describe import journal

HANG_S = 900.0  # by the clock: on a busy machine a small pipeline takes minutes
WAYS = ("before", "torn", "after")
KNOWN = "came to a state of the undisturbed run"
TO_THE_END = 0.05  # of all tries go on to the end of the work; the others until they come to such a state
MB = 2 ** 20


def in_a_child(work: Callable[[], str], seconds: float = HANG_S) -> str:
    """Run a piece of work in a forked process; return what it says, or how it ended otherwise.

    What says "exit code N" is followed by the last message of an error that was printed.
    """
    (said, to_said), (shown, to_shown) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        forkserver._forkserver._forkserver_pid = None  # the parent's, for which a child cannot wait
        os.dup2(to_shown, 1)
        os.dup2(to_shown, 2)
        sys.stdout = sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        try:
            answer = work()
        except BaseException as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            answer = f"{type(error).__name__}: {str(error)[:160]} ({Path(place.filename).name}:{place.lineno})"
        os.write(to_said, answer.encode("utf-8", "replace")[:4000])
        os._exit(0)
    os.close(to_said)
    os.close(to_shown)
    try:
        answer, last = _read_both(said, shown, seconds)
    except TimeoutError:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return f"hangs for {seconds:g} s"
    finally:
        os.close(said)
        os.close(shown)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        return f"ended with {status}"
    return f"{answer}: {last}" if answer.startswith("exit code") else answer


def _read_both(said: int, shown: int, seconds: float) -> tuple[str, str]:
    """Read what a child says until it ends, and what it shows meanwhile; return the first, and the last error of the second."""
    answer, tail, end = b"", b"", time.monotonic() + seconds
    open_ones = [said, shown]
    while said in open_ones:
        ready = select.select(open_ones, [], [], max(0.0, end - time.monotonic()))[0]
        if not ready:
            raise TimeoutError
        for pipe in ready:
            part = os.read(pipe, 65536)
            if not part:
                open_ones.remove(pipe)
            elif pipe == said:
                answer += part
            else:
                tail = (tail + part)[-2000:]
    text = tail.decode("utf-8", "replace")
    return answer.decode("utf-8", "replace"), " / ".join(text[max(0, text.rfind("error: ")):].split("\n"))[:400].strip(" /")


def side_by_side(works: list[Callable[[], str]]) -> list[str]:
    """Run pieces of work at the same time; return what each says."""
    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(in_a_child, works))


@dataclass(frozen=True)
class Work:
    """A piece of work in a folder; run(folder, workers) returns "", or how it ended; prepare makes what it needs there."""

    name: str
    run: Callable[[Path, int], str]
    prepare: Callable[[Path], Any]
    takes_workers: bool = False


class _Folder:
    """The files of a folder by the SHA-256 of what they hold, and copies of all that was ever in one of them."""

    def __init__(self, root: Path, blobs: Path | None = None) -> None:
        self.root, self.blobs = root, blobs
        self._known: dict[tuple[str, int, int, int], str] = {}

    def stamped(self) -> dict[str, tuple[str, int]]:
        """Return digest and time of modification of every file."""
        found = {}
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(folder, name)
                status = os.stat(path)
                key = (path, status.st_ino, status.st_mtime_ns, status.st_size)
                if key not in self._known:
                    self._known[key] = self._digest(path)
                found[os.path.relpath(path, self.root)] = self._known[key], status.st_mtime_ns
        return found

    def files(self) -> dict[str, str]:
        return {name: digest for name, (digest, _) in self.stamped().items()}

    def _digest(self, path: str) -> str:
        digest = sha256_file(Path(path))
        if self.blobs and not (self.blobs / digest).exists():
            shutil.copyfile(path, self.blobs / digest)
        return digest


@contextlib.contextmanager
def watched(before: Callable[[str, str, bytes], None], after: Callable[[], None]) -> Iterator[None]:
    """Call before(file, its new name, what is added to it) and after() around everything that is written."""
    replace, append, journalled, lock = os.replace, LockedFile.append, journal.append, threading.RLock()

    def replaced(source: Any, target: Any) -> None:
        with lock:
            before(os.fspath(source), os.fspath(target), b"")
            replace(source, target)
            after()

    def appended(file: LockedFile, text: str) -> None:
        with lock:
            before(os.fspath(file.path), os.fspath(file.path), text.encode("utf-8"))
            append(file, text)
            after()

    def added(table: Path, rows: list[dict[str, Any]]) -> bool:
        with lock:
            path = os.fspath(journal.journal_of(table))
            before(path, path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8"))
            full = journalled(table, rows)
            after()
            return full

    os.replace, LockedFile.append, journal.append = replaced, appended, added
    try:
        yield
    finally:
        os.replace, LockedFile.append, journal.append = replace, append, journalled


@dataclass(frozen=True)
class Write:
    """One write: the files just before it, and what it does: `source` becomes `target`, or gets `added` at its end."""

    files: dict[str, tuple[str, int]]  # digest and time of modification
    source: str
    target: str
    added: bytes


class Recording:
    """Every write of an undisturbed run of a piece of work, made once for all tries of a campaign."""

    def __init__(self, work: Work, shared: Path) -> None:
        self.work, self.place = work, shared / f"recorded {work.name}"
        if not self.place.exists():
            (self.place / "blobs").mkdir(parents=True)
            if said := in_a_child(self._record):
                shutil.rmtree(self.place)
                raise UndisturbedFailed(f"the undisturbed run of {work.name} failed: {said}")
        self.writes: list[Write] = []
        record = json.loads((self.place / "writes.json").read_text())
        files: dict[str, tuple[str, int]] = {}
        for changes, source, target, added in record["writes"]:
            files = {name: stamped for name, stamped in {**files, **changes}.items() if stamped}
            self.writes.append(Write(files, source, target, bytes.fromhex(added)))
        self.final: dict[str, str] = record["final"]
        self.last_at: dict[str, int] = {digest: at for at, digest in enumerate(record["states"])}
        self.points = self._points()

    def _record(self) -> str:
        root = self.place / "root"
        self.work.prepare(root)
        folder, writes, states, last = _Folder(root, self.place / "blobs"), [], [], {}

        def before(source: str, target: str, added: bytes) -> None:
            nonlocal last
            files = folder.stamped()
            changes = {name: files.get(name) for name in files.keys() | last.keys() if files.get(name) != last.get(name)}
            writes.append([changes, os.path.relpath(source, root), os.path.relpath(target, root), added.hex()])
            last = files

        with watched(before, lambda: states.append(sha256_json(folder.files()))):
            said = self.work.run(root, 1)
        content = {"writes": writes, "states": states, "final": folder.files()}
        (self.place / "writes.json").write_text(json.dumps(content))
        return said

    def _points(self) -> list[tuple[int, str]]:
        """Return every write with every way to be killed at it, so ordered that kinds of files come in turn."""
        piles: dict[str, list[tuple[int, str]]] = {}
        for at, write in enumerate(self.writes):
            kind = re.sub(r"[0-9a-f]{12,}|\d+", "#", f"{Path(write.target).parent}/*{Path(write.target).suffix}")
            piles.setdefault(kind, []).extend((at, way) for way in WAYS)
        draw = random.Random(0)
        shuffled = [draw.sample(pile, len(pile)) for pile in piles.values()]
        return [point for points in zip_longest(*shuffled) for point in points if point]

    def restore(self, root: Path, at: int, way: str) -> None:
        """Put into a folder what a run that is killed at a write leaves there."""
        write = self.writes[at]
        (root / write.target).parent.mkdir(parents=True, exist_ok=True)
        for name, (digest, modified_ns) in write.files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.place / "blobs" / digest, root / name)
            os.utime(root / name, ns=(modified_ns, modified_ns))
        if way == "before":
            return
        if write.added:
            with open(root / write.target, "ab") as file:
                file.write(write.added[:len(write.added) // (2 if way == "torn" else 1)])
            return
        if way == "torn":
            os.truncate(root / write.source, (root / write.source).stat().st_size // 2)
        os.replace(root / write.source, root / write.target)

    def go_on(self, root: Path, at: int, to_the_end: bool = False) -> str:
        """Run the work again until it comes to a state after write `at`, or ends; return "" where it ends as it should."""
        folder = _Folder(root)

        def look() -> None:
            if not to_the_end and self.last_at.get(sha256_json(folder.files()), -1) > at:
                raise _Known

        def work() -> str:
            try:
                with watched(lambda *_: None, look):
                    return self.work.run(root, 1)
            except _Known:
                return KNOWN

        said = in_a_child(work)
        return "" if said == KNOWN else said or self.differs(root)

    def differs(self, root: Path, same: Callable[[Path, Path], bool] = lambda found, wanted: False) -> str:
        """Return which files are not those that the undisturbed run has left, "" where all are.

        same: tells whether a file of other bytes says the same as the wanted one.
        """
        found = _Folder(root).files()
        names = sorted(name for name in found.keys() | self.final.keys() if found.get(name) != self.final.get(name) and not (
            name in found and name in self.final and same(root / name, self.place / "blobs" / self.final[name])))
        return f"{len(names)} files differ: {', '.join(names[:4])}" if names else ""


class UndisturbedFailed(UserError):
    """A piece of work that fails without a fault."""


class NotHere(Exception):
    """A kind of try that cannot be made on this machine, and why."""


class _Known(BaseException):
    """The state of the folder is one that is known."""


def killed(recording: Recording, rng: random.Random, root: Path) -> str:
    """Go on after a kill at the next write that nobody has tried; with another number at another."""
    at, way = recording.points[rng.number % len(recording.points)]
    recording.restore(root, at, way)
    said = recording.go_on(root, at, rng.random() < TO_THE_END)
    target = recording.writes[at].target
    if way == "torn" and Path(target).name in said and re.match("UserError: |exit code 2: error", said):
        return ""  # what a loss of power took cannot come back; the file is named
    return said and f"killed {way} write {at + 1} of {len(recording.writes)} ({target}): {said}"


def _one_write(recording: Recording, rng: random.Random, root: Path) -> int:
    at = rng.randrange(len(recording.writes) - 1)
    recording.restore(root, at, "after")
    return at


def full_disk(recording: Recording, rng: random.Random, root: Path) -> str:
    """Go on with a limit on the size of files under that of the next one, and then without."""
    at = _one_write(recording, rng, root)
    following = recording.writes[at + 1]
    room = (recording.place / "blobs" / following.files[following.source][0]).stat().st_size if not following.added else 100
    size = rng.randrange(1, max(2, room))

    def work() -> str:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        return recording.work.run(root, 1)

    return _then_again(recording, root, at, in_a_child(work), f"no file over {size} bytes", "File too large")


def little_memory(recording: Recording, rng: random.Random, root: Path) -> str:
    """Go on with little memory, and then with enough."""
    at, spare = _one_write(recording, rng, root), rng.randrange(4, 400)

    def work() -> str:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + spare * MB, resource.RLIM_INFINITY))
        return recording.work.run(root, 1)

    return _then_again(recording, root, at, in_a_child(work), f"{spare} MB", "memory", "could not be scored")


def twice_at_once(recording: Recording, rng: random.Random, root: Path) -> str:
    """Go on twice at the same time, and then once more."""
    at = _one_write(recording, rng, root)
    pauses = rng.random() / 2, rng.random() / 2

    def run(pause: float) -> str:
        time.sleep(pause)
        return recording.work.run(root, 1)

    for said in side_by_side([lambda pause=pause: run(pause) for pause in pauses]):
        if wrong := _then_again(recording, root, at, said, "two at once", "another run", "gone on", last=False):
            return wrong
    return _then_again(recording, root, at, "", "two at once")


def killed_worker(recording: Recording, rng: random.Random, root: Path) -> str:
    """Run the work in two processes, and kill one of them at some time."""
    recording.work.prepare(root)
    share = rng.random()

    def work() -> str:
        threading.Thread(target=_kill_a_worker, args=(share,), daemon=True).start()
        return recording.work.run(root, 2)

    said = in_a_child(work)
    return said or recording.differs(root, _of_the_same_lines)


def _of_the_same_lines(found: Path, wanted: Path) -> bool:
    """Tell whether two tables have the same rows: an image whose worker was killed comes later than those beside it."""
    rows = ([line.rstrip(b",") for line in path.read_bytes().splitlines()] for path in (found, wanted))
    return found.suffix in (".csv", ".json") and sorted(next(rows)) == sorted(next(rows))


def _kill_a_worker(share: float) -> None:
    """Wait for a process of those that were started by one that this one has started; kill it a while later."""
    while not (found := [pid for child in _children(os.getpid()) for pid in _children(child)]):
        time.sleep(0.02)
    time.sleep(8 * share ** 2)
    with contextlib.suppress(ProcessLookupError):
        os.kill(found[int(share * 997) % len(found)], signal.SIGKILL)


def _children(parent: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(pid) for pid in task.read_text().split()]
    return found


def _then_again(recording: Recording, root: Path, at: int, said: str, how: str, *allowed: str, last: bool = True) -> str:
    """Look at how a disturbed run ended, in words that are allowed or well, and run it again to the end."""
    if said and not (re.match("exit code [12]: ", said) and any(word in said for word in allowed)):
        return f"{how}, after write {at + 1}: {said}"
    again = recording.go_on(root, at, to_the_end=True) if last else ""
    return again and f"{how}, after write {at + 1}, then again: {again}"

