"""Worker processes for work on many images or many trainings: clean, one thread each, never orphaned."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mmifn.core.errors import UserError


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_bytes() -> int | None:
    """Return how much memory may still be taken here, by the machine and by a container's limit; None where nobody tells."""
    free = []
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
        group = Path("/sys/fs/cgroup")
        free.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return max(0, min(free)) if free else None


def affordable_workers(wanted: int, bytes_each: int, free: int | None = None) -> int:
    """Return how many of the wanted processes fit into the free memory (default: of this machine), at least one.

    A tenth is left to everything else.
    """
    free = free_bytes() if free is None else free
    return wanted if free is None else max(1, min(wanted, int(0.9 * free / bytes_each)))


def run_tasks(function: Callable[[Any], Any], jobs: Iterable[Any], workers: int, start: Callable[..., None] | None = None,
              args: tuple[Any, ...] = (), preload: str | None = None,
              killed: Callable[[Any], Any] | None = None) -> Iterator[tuple[int, Any]]:
    """Yield (index, function(job)) of every job as each is ready, computed by several processes of one torch thread each.

    Jobs are taken as they are needed, a few ahead: a generator may yield any number of them. start(*args) is called first
    in every process; one worker or one job is computed here, without it. Processes come from a clean one (forking one with
    torch's threads can hang) that has imported the module `preload`, where the platform can. They end with this process,
    even when it is killed, and at once when it is stopped; an exception cancels what has not begun. A job whose worker is
    killed from outside is given once more, alone, to a fresh one; where that is killed too, killed(job) stands for its
    result, or a UserError is raised.
    """
    todo: Iterator[tuple[int, Any]] = enumerate(jobs)
    head = list(itertools.islice(todo, max(1, workers)))
    if workers <= 1 or len(head) < 2:
        for i, job in itertools.chain(head, todo):
            with one_thread():
                result = function(job)
            yield i, result
        return
    context = _context(preload)
    while head:
        todo = itertools.chain(head, todo)
        with _pool(context, len(head), start, args) as pool:
            suspects = yield from _run(pool, function, todo, 2 * workers)
        for i, job in suspects:
            with _pool(context, 1, start, args) as pool:
                again = yield from _run(pool, function, iter([(i, job)]), 1)
            if again:
                yield i, (killed or _refuse)(job)
        head = list(itertools.islice(todo, workers))


def run_apart(function: Callable[[Any], Any], job: Any, preload: str | None = None) -> Any:
    """Return function(job), computed by a process of its own: what it loads does not stay here. See `run_tasks`.

    Where that is killed from outside, a fresh one does it once more; where that is killed, too, UserError is raised.
    """
    for _ in range(2):
        with _pool(_context(preload), 1, None, ()) as pool:
            outcome = next(_run(pool, function, iter([(0, job)]), 1), None)
        if outcome is not None:
            return outcome[1]
    return _refuse(job)


def _context(preload: str | None) -> Any:
    """Return the way to start processes: from a clean one that has imported a module, where the platform can."""
    forkserver = preload and "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if forkserver else "spawn")
    if forkserver:
        context.set_forkserver_preload([str(preload)])
        with _only_our_modules():
            ensure_running()
    return context


@contextlib.contextmanager
def _only_our_modules() -> Iterator[None]:
    """Start Python without the current folder among its modules: another `mmifn` that lies there must not be preloaded."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


def _run(pool: ProcessPoolExecutor, function: Callable[[Any], Any], todo: Iterator[tuple[int, Any]],
         ahead: int) -> Generator[tuple[int, Any], None, list[tuple[int, Any]]]:
    """Yield results, taking jobs from `todo`; return the jobs under way when a worker was killed, if one was."""
    running: dict[Future[Any], tuple[int, Any]] = {}
    taken = next(todo, None)
    try:
        while taken or running:
            while taken and len(running) < ahead:
                with _interrupts_held():  # a process that is being started cannot yet answer Ctrl-C in silence
                    running[pool.submit(function, taken[1])] = taken
                taken = next(todo, None)
            for future in wait_for(running, return_when=FIRST_COMPLETED).done:
                result = future.result()
                yield running.pop(future)[0], result
    except BrokenProcessPool:
        return [*running.values(), *([taken] if taken else [])]
    return []


def _refuse(job: Any) -> Any:
    raise UserError("a worker process was killed twice over the same piece of work (out of memory, or by somebody); finished "
                    "work is kept: run the same command again, with fewer --workers where memory is short")


@contextlib.contextmanager
def _pool(context: Any, workers: int, start: Callable[..., None] | None, args: tuple[Any, ...]) -> Iterator[ProcessPoolExecutor]:
    """Open worker processes. Left by an Exception they end their jobs, left by a stop (or unread) they end at once."""
    reader, writer = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, _begin, (reader, start, args))
    try:
        yield pool
    except Exception:
        raise
    except BaseException:
        writer.close()  # which the workers wait for
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        writer.close()
        reader.close()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back; what is started meanwhile inherits that."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(stop: Any, start: Callable[..., None] | None, args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, which tells the whole group; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, args=(stop,), daemon=True).start()
    tqdm.set_lock(threading.RLock())  # its own is a semaphore, which outlives a process that is killed
    use_one_thread()
    if start:
        start(*args)


def _end_with_parent(stop: Any) -> None:
    """End at once with the parent or when it says so: a worker whose parent was killed would hold its memory for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel, stop])
        os._exit(1)


def use_one_thread() -> None:
    """Keep torch and OpenCV to one thread in this process."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch and OpenCV use one thread: on small work several cost more than they bring, and results stay the same."""
    import cv2
    import torch

    before = torch.get_num_threads(), cv2.getNumThreads()
    use_one_thread()
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
