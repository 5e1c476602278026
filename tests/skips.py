"""Where everything that tests want was installed, a skip fails the run; what is allowed all the same is counted by reason."""

import os
from collections import Counter
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"  # data beside the repository; tests that read it skip without it
NO_SHARED, NO_CUDA = "the shared data is not beside the repository", "no CUDA device"
NO_MOUNT = "nothing may be mounted"  # of benchmarks/faults.py
NO_SKIPS = "MMIFN_NO_SKIPS"  # set by .ci/run, which installs what tests want: then only these skips, so many, are right
ALLOWED = {NO_CUDA: 3, NO_MOUNT: 2}


def needs_shared(*parts):
    """Mark of a test that reads this file or folder of the shared data."""
    return pytest.mark.skipif(not SHARED.joinpath(*parts).exists(), reason=NO_SHARED)


def wrong_skips(reasons, shared=SHARED):
    """What is wrong with these skips, a line for each reason; nothing where each is allowed."""
    allowed = ALLOWED if shared.is_dir() else ALLOWED | {NO_SHARED: len(reasons)}
    return [f"{count} skipped, {allowed.get(reason, 0)} allowed: {reason}"
            for reason, count in sorted(Counter(reasons).items()) if count > allowed.get(reason, 0)]  # fmt: skip


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """Fail a run that skipped a test which should have run; the workers of a run leave this to their parent."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get(NO_SKIPS) or reporter is None or hasattr(session.config, "workerinput"):
        return
    reasons = [report.longrepr[2].removeprefix("Skipped: ") for report in reporter.stats.get("skipped", [])]
    if wrong := wrong_skips(reasons):
        reporter.write_line("\n".join(["", f"{NO_SKIPS} is set, but tests were skipped:", *wrong]), red=True)
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED
