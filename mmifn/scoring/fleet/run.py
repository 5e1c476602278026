"""The run behind score_fleet.py: one plan of Ray Data from the manifest to Parquet, which Ray carries out and goes on with.

Read -> rows that are done are left out (Ray's checkpoint) -> blocks of a few hundred -> actors that score -> Parquet. What is
written of a block and that it is written become true together; a killed run costs the blocks that were under way.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import os
import re
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmifn.core.errors import UserError, first_line
from mmifn.core.files import special_kind
from mmifn.core.locked import open_locked
from mmifn.scoring.files import Task, identity_of
from mmifn.scoring.fleet.actors import DEATHS, Attempts, Scorer
from mmifn.scoring.fleet.folder import Folder
from mmifn.scoring.fleet.manifest import KEY, prepare
from mmifn.scoring.fleet.places import is_remote, local_path
from mmifn.scoring.fleet.summary import Summary
from mmifn.scoring.listing import Shard
from mmifn.scoring.parquet import require_pyarrow

OBJECT_STORE_BYTES = 256 * 2**20  # of a cluster of this machine alone: blocks hold ids, paths and rows, never pixels
CHECKPOINT_BYTES = 256 * 2**20  # reserved for the actor that leaves out what is done, at least
KILLERS_PER_BLOCK = 20  # images that kill their process, which a block may hold before the run is given up
_RESTARTS = 10_000  # of an actor: every death settles something, so that this many mean that a machine is ill
_INIT_DEATHS = 3  # actors in a row that may die while they load the model
# Of Ray, where the user has not set them. Its reader would start 32 processes to look into one manifest.
_SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_PARQUET_FOOTER_NUM_ACTORS": "1"}
_STARTS = 3  # of Ray on this machine, which has thirty seconds each
_ANSWER_S = 20.0  # which a cluster has to take a connection
_SAY_EVERY_S = 60.0


@dataclass(frozen=True)
class Fleet:
    """How a run is spread: actors (fewest, most), what each takes, the rest as told below.

    block_rows: images of a block; batch: of one pass of the networks; address: of the cluster ("local": this machine).
    """

    actors: tuple[int, int] = (1, 1)
    cpus: float = 2.0
    gpus: float = 0.0
    block_rows: int = 256
    batch: int = 1
    address: str = "local"


def require_ray() -> None:
    """Raise UserError where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise UserError("score_fleet.py needs Ray, which is not installed: pip install 'mmifn[fleet]' (from a checkout: "
                        "pip install -c constraints.txt 'ray[data]')")
    require_pyarrow()


def score_fleet(manifest: str, out: str, task: Task, fleet: Fleet, shard: Shard) -> Summary:
    """Score the images of a manifest that the folder `out` lacks, and return what is in the folder then."""
    require_ray()
    identity = identity_of(replace(task, device="cpu"), workers=2)  # tells at once where a model or weights are missing
    folder = Folder(out, identity, shard)
    with _alone(folder):
        keys = prepare(manifest, shard, folder.manifest, task.projection)
        folder.open()
        done = int(np.isin(keys, folder.done()).sum())
        print(f"{len(keys):,} images{', ' + format(done, ',') + ' of them done' if done else ''}; results go to {folder.rows}",
              file=sys.stderr)
        if done < len(keys):
            with _started(fleet) as ray:
                attempts = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Attempts).remote()
                with _told(ray, attempts, len(keys) - done):
                    _execute(ray, folder, task, fleet, attempts)
        return Summary(folder, keys)


@contextlib.contextmanager
def _alone(folder: Folder) -> Iterator[None]:
    """Keep the folder for this run, checked; of two on one machine's disk with one shard the second is refused.

    A run that is refused before the folder is opened leaves nothing there.
    """
    folder.check()
    if is_remote(folder.place):
        yield
        return
    path, made = local_path(folder.manifest).with_suffix(".lock"), not local_path(folder.place).exists()
    if special_kind(path):
        raise UserError(f"{path} is in the way; remove it")
    with open_locked(path):
        try:
            yield
        finally:
            if not folder.begun():
                path.unlink(missing_ok=True)
                for place in [path.parent, *([local_path(folder.place)] if made else [])]:
                    with contextlib.suppress(OSError):  # another shard is there
                        place.rmdir()


@contextlib.contextmanager
def _started(fleet: Fleet) -> Iterator[Any]:
    """Yield Ray, connected to the cluster, or with one of this machine alone that ends with the run."""
    os.environ.update(_SETTINGS | os.environ)
    import ray

    local = {"num_cpus": math.ceil(fleet.actors[1] * fleet.cpus) + 2, "object_store_memory": OBJECT_STORE_BYTES,
             "include_dashboard": False} if fleet.address == "local" else {}
    _connect(ray, fleet.address, local)
    try:
        there, (fewest, _) = ray.cluster_resources(), fleet.actors
        cpus, gpus, has_cpus, has_gpus = fewest * fleet.cpus + 1, fewest * fleet.gpus, there.get("CPU", 0), there.get("GPU", 0)
        if has_gpus < gpus and fleet.address == "local":
            raise UserError(f"this machine has {has_gpus:g} GPUs, {fewest} actors take {gpus:g}; use fewer --actors, a smaller "
                            "--gpus-per-actor, or a cluster (--address)")
        if has_cpus < cpus or has_gpus < gpus:
            print(f"the cluster has {has_cpus:g} CPUs and {has_gpus:g} GPUs so far; {fewest} actors, and one CPU to read and "
                  f"write with, take {cpus:g} and {gpus:g}: waiting for more, or use fewer --actors", file=sys.stderr)
        yield ray
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str, options: dict[str, Any]) -> None:
    """Connect, or start a cluster of this machine; on a busy one Ray's own processes may take longer than it waits for them."""
    attempts = _STARTS if address == "local" else 1
    _require_answer(address)
    for attempt in range(attempts):
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", **options)
            return
        except Exception as error:  # ConnectionError, RuntimeError, ValueError, whatever the address leads to
            ray.shutdown()
            if attempt + 1 < attempts:
                continue
            if address == "local":
                raise UserError(f"Ray could not start on this machine ({first_line(error)}); see its logs in /tmp/ray, and try "
                                "again when the machine is less busy") from error
            raise _no_cluster(address, error) from error


def _require_answer(address: str) -> None:
    """Raise UserError where nothing listens at HOST:PORT, on which Ray itself would spend five minutes and more."""
    match = re.fullmatch(r"(?:ray://)?(\[.+\]|[^/:]+):(\d{1,5})", address)
    if not match:
        return
    try:
        socket.create_connection((match[1].strip("[]"), int(match[2])), _ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> UserError:
    return UserError(f"--address {address}: no cluster answers ({first_line(error)}); start one (ray start --head, or "
                     "docs/fleet.md), or leave it out to use this machine alone")


def _execute(ray: Any, folder: Folder, task: Task, fleet: Fleet, attempts: Any) -> None:
    """Plan and carry out the run. Raises UserError where Ray gives up."""
    import ray.data
    from ray.data import ActorPoolStrategy
    from ray.data.checkpoint import CheckpointConfig

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # it tells plans and tracebacks; what matters is raised as well
    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = 0
    context.max_consecutive_actor_init_deaths = _INIT_DEATHS
    context.enable_progress_bars = False
    checkpoint = CheckpointConfig(KEY, _for_ray(folder.checkpoint), delete_checkpoint_on_success=False)
    checkpoint.checkpoint_actor_memory_bytes = CHECKPOINT_BYTES
    checkpoint.checkpoint_actor_pool_max_size = 1
    context.checkpoint_config = checkpoint
    blocks = ray.data.read_parquet(_for_ray(folder.manifest)).repartition(target_num_rows_per_block=fleet.block_rows)
    bounds = {"max_restarts": _RESTARTS, "max_task_retries": DEATHS * KILLERS_PER_BLOCK}  # Ray's own are infinite
    with warnings.catch_warnings(category=DeprecationWarning, action="ignore"):  # of `bounds`, which have no other place yet
        scored = blocks.map_batches(
            Scorer, batch_size=None, batch_format="pyarrow", zero_copy_batch=True,
            fn_constructor_kwargs={"task": task, "identity": folder.identity, "attempts": attempts, "batch": fleet.batch},
            compute=ActorPoolStrategy(min_size=fleet.actors[0], max_size=fleet.actors[1], max_tasks_in_flight_per_actor=1),
            num_cpus=fleet.cpus, num_gpus=fleet.gpus or None, **bounds)
    try:
        scored.write_parquet(_for_ray(folder.rows), write_page_checksum=True)
    except Exception as error:  # of Ray, of the file system, of a Scorer: wrapped in one another
        raise UserError(f"Ray gave up: {_cause(error)}\nWhat is written to {folder.rows} is kept; mend it, and run the same "
                        "command again, which goes on.") from error


def _for_ray(place: str) -> str:
    return place if is_remote(place) else str(local_path(place).absolute())


def _cause(error: BaseException) -> str:
    """Return what was wrong in the first place, out of an error that other processes have wrapped."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "Error" in line and not line.startswith(("File ", "ray::", "Traceback"))]
    return (told or lines or [type(error).__name__])[-1].removeprefix(f"{UserError.__module__}.UserError: ")[:400]


@contextlib.contextmanager
def _told(ray: Any, attempts: Any, total: int) -> Iterator[None]:
    """Say once a minute how far the run is, how fast it goes and how long it will take."""
    ended, started = threading.Event(), time.monotonic()

    def tell() -> None:
        while not ended.wait(_SAY_EVERY_S):
            with contextlib.suppress(ray.exceptions.RayError):
                count, failed = ray.get(attempts.counts.remote(), timeout=20)
                print(progress(count, failed, total, time.monotonic() - started), file=sys.stderr, flush=True)

    speaker = threading.Thread(target=tell, daemon=True)
    speaker.start()
    try:
        yield
    finally:
        ended.set()
        speaker.join(timeout=30)


def progress(count: int, failed: int, total: int, seconds: float) -> str:
    """Return how far a run is, in a line."""
    rate = count / seconds
    left = f"{(total - count) / rate / 3600:.1f} hours left" if count else "loading the model"
    return f"{count:,} of {total:,} ({100 * count / total:.1f} %), {rate:.2f} a second, {left}" + (
        f", {failed:,} could not be scored" if failed else "")
