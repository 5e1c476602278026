"""Where everything was installed, a skip fails the run; what is allowed is counted by reason."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from skips import NO_CUDA, NO_SHARED, NO_SKIPS, wrong_skips


@pytest.mark.parametrize(("reasons", "shared", "wrong"), [
    ([], True, []),
    ([NO_CUDA] * 3, True, []),
    ([NO_CUDA] * 4, True, [f"4 skipped, 3 allowed: {NO_CUDA}"]),
    (["selenium is not installed", NO_CUDA], True, ["1 skipped, 0 allowed: selenium is not installed"]),
    ([NO_SHARED], True, [f"1 skipped, 0 allowed: {NO_SHARED}"]),
    ([NO_SHARED] * 9, False, []),
])  # fmt: skip
def test_every_skip_has_an_allowed_reason(reasons, shared, wrong, tmp_path):
    assert wrong_skips(reasons, tmp_path if shared else tmp_path / "missing") == wrong


@pytest.mark.parametrize(("no_skips", "workers", "code"), [("", "0", 0), ("1", "0", 1), ("1", "1", 1)])
def test_a_run_fails_by_a_skip_where_none_may_be(no_skips, workers, code, tmp_path):
    (tmp_path / "conftest.py").write_text("from skips import pytest_sessionfinish\n")
    (tmp_path / "test_x.py").write_text("import pytest\ndef test_a(): pytest.importorskip('no_such')\ndef test_b(): pass\n")
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent), NO_SKIPS: no_skips}
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", workers, "."], cwd=tmp_path,
                          env=env, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == code and "1 passed, 1 skipped" in done.stdout
    assert ("1 skipped, 0 allowed: could not import 'no_such'" in done.stdout) == bool(code)
