"""Progress of long work: tqdm's bars, of one thread.

Where memory is short, Python 3.11 can wait for ever for a thread that it could not start (python/cpython#140746); tqdm starts one
with the first bar, to look after bars that stand still. Here every step looks at the clock instead.
"""

from __future__ import annotations

import threading
from typing import Any

from tqdm import tqdm


class Progress(tqdm):  # type: ignore[type-arg]
    """A bar of tqdm that starts no thread; its lock is of this process alone, and no semaphore that a kill leaves behind."""

    monitor_interval = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"miniters": 1, **options})


Progress.set_lock(threading.RLock())
