"""The fault campaign of benchmarks/faults.py in its short form: every kind, a few seeds each."""

import pytest

from benchmarks import faults

TRIES = {"killed training": 2, "stages side by side": 1, "little memory": 2, "full file system": 1}  # what takes long


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """What all tries of a kind share: undisturbed runs."""
    return tmp_path_factory.mktemp("shared")


@pytest.mark.parametrize("kind", faults.KINDS)
def test_every_fault_ends_in_an_equal_result_or_one_message(kind, shared):
    first = 1000
    for seed in range(first, first + TRIES.get(kind, 3)):
        assert faults.one_try(kind, seed, shared) == "", f"python benchmarks/faults.py --kinds '{kind}' --from-seed {seed}"


def test_a_failure_is_a_failure():
    assert faults.in_a_child(lambda: "") == ""
    assert "ZeroDivisionError: division by zero (test_campaign.py:" in faults.in_a_child(lambda: str(1 / 0))
    assert faults.in_a_child(lambda: faults.os._exit(7)) == "ended with 7"
    assert faults.in_a_child(lambda: faults.time.sleep(60) or "", 0.2) == "hangs for 0.2 s"
