"""Stops are answered on file descriptor 2 at once, raise Stopped with the shell's code, and leave no handler behind."""

import os
import signal
import sys
import threading

import pytest

from mmifn.core.stopping import STOPPING, Stopped, answered_signals, stop_quietly


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_answered_and_raised(number, code, capfd):
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as stop, answered_signals():
        os.kill(os.getpid(), number)
        for _ in range(1000):
            pass
    assert stop.value.code == code and isinstance(stop.value, KeyboardInterrupt)
    assert capfd.readouterr().err == f"\n{STOPPING}\n" and signal.getsignal(number) is before


def test_other_threads_change_no_handler():
    before, within = signal.getsignal(signal.SIGINT), []

    def run():
        with answered_signals():
            within.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert within == [before]


def test_ctrl_c_outside_of_main_is_a_line_and_a_fault_keeps_its_traceback(monkeypatch, capfd):
    seen = []
    monkeypatch.setattr(sys, "excepthook", lambda *args: seen.append(args))
    stop_quietly()
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert capfd.readouterr().err == f"\n{STOPPING}\n" and not seen
    fault = ValueError("x")
    sys.excepthook(ValueError, fault, None)
    assert seen == [(ValueError, fault, None)]
