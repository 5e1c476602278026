"""Worker processes for work on many images or many trainings: clean, one thread each, never orphaned."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.connection import wait
from typing import Any


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_tasks(function: Callable[[Any], Any], jobs: Sequence[Any], workers: int, start: Callable[..., None] | None = None,
              args: tuple[Any, ...] = (), preload: str | None = None) -> Iterator[tuple[int, Any]]:
    """Yield (index, function(job)) of every job as each is ready, computed by several processes of one torch thread each.

    start(*args) is called first in every process; one worker or one job is computed here, without it. Processes come
    from a clean one (forking one with torch's threads can hang) that has imported the module `preload`, where the
    platform can. They end with this process, even when it is killed; an exception cancels what has not begun.
    """
    if workers <= 1 or len(jobs) < 2:
        for i, job in enumerate(jobs):
            with one_thread():
                result = function(job)
            yield i, result
        return
    forkserver = preload and "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if forkserver else "spawn")
    if forkserver:
        context.set_forkserver_preload([preload])
    with ProcessPoolExecutor(min(workers, len(jobs)), context, _begin, (start, args)) as pool:
        futures = {pool.submit(function, job): i for i, job in enumerate(jobs)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin(start: Callable[..., None] | None, args: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    use_one_thread()
    if start:
        start(*args)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever, holding its memory."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
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
