"""DepictQA's own words, from a user's checkout of it, run by the Python of its own environment.

Its pinned packages conflict with ours, so it is a process of its own: it reads a JSON list of images and questions and
appends one JSON line per answer, which is taken over as soon as it is there.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mmifn.core.errors import UserError
from mmifn.core.files import write_text
from mmifn.core.json_text import parse_json
from mmifn.data.images import MAX_MEGAPIXELS
from mmifn.describe.answers import fault_of
from mmifn.describe.depictqa.checkout import Checkout
from mmifn.describe.generation import Answer, Identity, Item, identity_of
from mmifn.describe.inputs import write_inputs

TASK = "quality_single_A_noref"
ATTEMPTS = 2  # each image is tried once more after a failure
_POLL_S = 0.2
_SILENCE_S = 1800.0  # loading a 7B model from a slow disk takes minutes; half an hour without an answer is a hang
# Causes that another try cannot mend, as the process words them.
_HOPELESS = {"ModuleNotFoundError": "its Python lacks a package; give the Python of DepictQA's own environment with "
                                    "--depictqa-python",
             "ImportError": "its Python lacks a package; give the Python of DepictQA's own environment with "
                            "--depictqa-python",
             "not exist!": "a weights file that its config.yaml names is not there; see DepictQA's README, or give "
                           "--depictqa-weights",
             "Torch not compiled with CUDA": "its torch has no CUDA; DepictQA runs on a GPU only",
             "No CUDA GPUs are available": "it sees no GPU; DepictQA runs on a GPU only"}


@dataclass
class _Work:
    """An item on its way: its number of failed attempts and the last reason."""

    item: Item
    image: Path
    attempts: int = 0
    fault: str = ""


@dataclass(frozen=True)
class DepictQADescriber:
    """The source "depictqa".

    prompt: the question asked for every image; silence_s: seconds without an answer that count as a hang.
    """

    checkout: Checkout
    prompt: str
    max_megapixels: float = MAX_MEGAPIXELS
    silence_s: float = field(default=_SILENCE_S, repr=False)

    @property
    def identity(self) -> Identity:
        return identity_of("depictqa", f"DepictQA {self.checkout.experiment}", self.checkout.revision, self.prompt)

    def describe(self, items: list[Item]) -> Iterator[Answer]:
        """Yield one Answer per item as the process writes it; failed ones are tried once more, then reported."""
        with tempfile.TemporaryDirectory(prefix="mmifn-depictqa-") as folder:
            images, failures = write_inputs(items, Path(folder), self.checkout.side_px, self.max_megapixels)
            yield from failures
            queue = [_Work(item, images[item]) for item in items if item in images]
            barren = 0  # runs in a row that ended without any answer
            while queue:
                before = len(queue)
                cause = yield from self._run(queue, Path(folder))
                answered = before - len(queue)
                barren = 0 if answered else barren + 1
                queue = yield from _sort_out(queue, cause, barren)

    def _run(self, queue: list[_Work], folder: Path) -> Iterator[Answer]:
        """Run the process once on a queue, removing what it answers well; return why it ended ("" if all was well)."""
        for work in queue:
            work.fault = ""  # of an earlier run
        name = f"mmifn_{secrets.token_hex(4)}"
        meta = folder / f"{name}.json"
        write_text(meta, json.dumps([{"id": str(i), "image_ref": None, "image_A": str(work.image), "image_B": None,
                                      "query": self.prompt} for i, work in enumerate(queue)]))
        ids = {str(i): work for i, work in enumerate(queue)}
        answers = self.checkout.answers(TASK, name)
        log = folder / f"{name}.log"
        seen = 0
        with open(log, "wb") as output, self.checkout.start(meta, name, TASK, folder, output) as process:
            try:
                last = time.monotonic()
                while True:
                    ended = process.poll() is not None
                    rows = _read_answers(answers, complete=ended)
                    for row in rows[seen:]:
                        last = time.monotonic()
                        yield from _take(row, ids, queue)
                    seen = len(rows)
                    if ended:
                        return _cause(process.returncode, log)
                    if time.monotonic() - last > self.silence_s:
                        return f"no answer for {self.silence_s:g} s; stopped"
                    time.sleep(_POLL_S)
            finally:
                _stop(process)
                for path in (answers, answers.with_suffix(".jsonl")):
                    path.unlink(missing_ok=True)


def _stop(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def _read_answers(path: Path, complete: bool) -> list[dict]:
    """Return the answers written so far: finished lines of the .jsonl, or at the end the .json where lines are missing."""
    lines = path.with_suffix(".jsonl")
    text = lines.read_text(encoding="utf-8", errors="replace") if lines.is_file() else ""
    rows = []
    for line in text.splitlines(keepends=True):
        if line.endswith("\n") and line.strip():
            try:
                rows.append(parse_json(line))
            except ValueError:
                rows.append({"id": None, "text": None})
    if complete and not rows and path.is_file():
        try:
            rows = parse_json(path.read_bytes())
        except ValueError:
            rows = []
    return [row if isinstance(row, dict) else {} for row in rows] if isinstance(rows, list) else []


def _take(row: dict, ids: dict[str, _Work], queue: list[_Work]) -> Iterator[Answer]:
    """Yield the answer of one row where it is usable; note the fault where it is not."""
    work = ids.get(str(row.get("id")))
    if work is None or work not in queue:
        return
    text = row.get("text")
    work.fault = fault_of(text) if isinstance(text, str) else "its answer holds no text"
    if work.fault:
        work.attempts += 1
        return
    queue.remove(work)
    yield Answer(work.item, text.strip())


def _cause(code: int, log: Path) -> str:
    """Return why the process ended, in one line; raise UserError for causes that another try cannot mend."""
    if code == 0:
        return ""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    tail = lines[-1].strip()[:300] if lines else "it wrote nothing"
    if any("out of memory" in line.lower() for line in lines[-30:]):
        return f"CUDA out of memory ({tail}); free the GPU or use a larger one"
    for sign, remedy in _HOPELESS.items():
        if any(sign in line for line in lines[-30:]):
            raise UserError(f"DepictQA could not run: {tail}\n{remedy[0].upper()}{remedy[1:]}.")
    return f"the process ended with code {code}: {tail}"


def _sort_out(queue: list[_Work], cause: str, barren: int) -> Iterator[Answer]:
    """Yield failures that are final; return what is to be tried again.

    A crash counts against the first image without an answer, which goes to the end of the queue; after two runs
    without any answer everything left is given up.
    """
    silent = [work for work in queue if not work.fault]
    for work in silent[:1] if cause else silent:
        work.attempts += 1
        work.fault = cause or "no answer, although the process ended well"
    if cause and barren >= ATTEMPTS:
        for work in queue:
            yield Answer(work.item, failure=work.fault or cause)
        return []
    left = []
    for work in queue:
        if work.attempts >= ATTEMPTS:
            yield Answer(work.item, failure=f"{work.fault} (tried {ATTEMPTS} times)")
        else:
            left.append(work)
    if left:
        print(f"DepictQA: {len(left)} to try (again): {left[0].fault or cause}", file=sys.stderr)
    return sorted(left, key=lambda work: work.attempts)


