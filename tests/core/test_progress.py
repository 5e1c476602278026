"""Bars start no thread and no semaphore, and show every step that comes after a while."""

import io
import threading

from mmifn.core.progress import Progress


def test_a_bar_starts_no_thread_and_shows_a_rate():
    before, screen = threading.enumerate(), io.StringIO()
    with Progress(total=4, unit="image", desc="work", file=screen, mininterval=0) as bar:
        bar.update(1)
        bar.update(3)
    assert threading.enumerate() == before and Progress.monitor is None
    assert isinstance(Progress.get_lock(), type(threading.RLock()))
    assert screen.getvalue().count("\r") >= 3 and "work: 100%" in screen.getvalue() and "image/s" in screen.getvalue()


def test_a_slow_step_after_many_quick_ones_is_shown_at_once():
    """tqdm alone would wait for a good part of the thousand that came at once before."""
    screen, now = io.StringIO(), [0.0]
    with Progress(total=2000, file=screen, mininterval=0.1) as bar:
        bar._time, bar.start_t, bar.last_print_t = (lambda: now[0]), 0.0, 0.0
        for now[0], steps in ((0.2, 1000), (60.0, 1)):
            bar.update(steps)
        assert "1001/2000" in screen.getvalue()
