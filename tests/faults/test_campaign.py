"""The fault campaign of benchmarks/faults.py in its short form: every kind, a few seeds each."""

import pytest

from benchmarks import fault_kills, faults
from mmifn.core.files import write_text
from mmifn.core.locked import open_locked

TRIES = {"killed, training": 2, "little memory, a picture": 2}  # of the others: LITTLE where whole pieces of work are done
LITTLE, LONG = 1, ("predict", "views", "pipeline")  # which only the long form disturbs: their undisturbed run takes a minute


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """What all tries of a kind share: undisturbed runs."""
    return tmp_path_factory.mktemp("shared")


@pytest.mark.parametrize("kind", [kind for kind in faults.tallies_of([""]) if not kind.endswith(LONG)])
def test_every_fault_ends_in_an_equal_result_or_one_message(kind, shared):
    attempt, first = faults.tallies_of([kind])[kind].attempt, 1000
    for seed in range(first, first + TRIES.get(kind, LITTLE if kind.endswith(("training", "simulation")) else 3)):
        try:
            said = faults.one_try(kind, attempt, seed, shared)
        except fault_kills.NotHere as reason:
            pytest.skip(str(reason))
        assert said == "", f"python benchmarks/faults.py --kinds '{kind}' --from-seed {seed}"


def test_a_failure_is_a_failure():
    assert fault_kills.in_a_child(lambda: "") == ""
    assert "ZeroDivisionError: division by zero (test_campaign.py:" in fault_kills.in_a_child(lambda: str(1 / 0))
    assert fault_kills.in_a_child(lambda: fault_kills.os._exit(7)) == "ended with 7"
    assert fault_kills.in_a_child(lambda: fault_kills.time.sleep(60) or "", 0.2) == "hangs for 0.2 s"


def test_a_kill_is_gone_on_with_from_every_write_in_every_way(tmp_path):
    """A piece of work that writes a file, adds to another and writes the first again; one that forgets is found out."""

    def run(root, workers, forgets=False):
        if not (root / "a.txt").exists():
            write_text(root / "a.txt", "first")
        with open_locked(root / "b.csv") as file:
            lines = file.read().decode().splitlines(keepends=True)
            whole = [line for line in lines if line.endswith("\n")]
            file.truncate(len("".join(whole)))
            for line in ["one\n", "two\n"][len(whole):]:
                file.append(line)
        if not forgets or (root / "a.txt").read_text() == "first":
            write_text(root / "a.txt", "last")
        return ""

    work = fault_kills.Work("small", run, lambda root: root.mkdir())
    recording = fault_kills.Recording(work, tmp_path)
    assert [(write.target, write.added) for write in recording.writes] == [
        ("a.txt", b""), ("b.csv", b"one\n"), ("b.csv", b"two\n"), ("a.txt", b"")]
    assert sorted(recording.points) == sorted((at, way) for at in range(4) for way in fault_kills.WAYS)
    left = {}
    for at, way in recording.points:
        recording.restore(tmp_path / f"{at}{way}", at, way)
        left[at, way] = {path.name: path.read_text() for path in (tmp_path / f"{at}{way}").iterdir() if path.name[0] != "."}
        assert recording.go_on(tmp_path / f"{at}{way}", at) == ""
    assert left[0, "before"] == {} and left[0, "torn"] == {"a.txt": "fi"}
    assert left[2, "torn"] == {"a.txt": "first", "b.csv": "one\ntw"}
    assert left[3, "before"] == {"a.txt": "first", "b.csv": "one\ntwo\n"} and left[3, "after"]["a.txt"] == "last"
    wrong = fault_kills.Work("wrong", lambda root, workers: run(root, workers, True), lambda root: root.mkdir())
    wrong = fault_kills.Recording(wrong, tmp_path)
    wrong.restore(tmp_path / "torn", 0, "torn")
    assert wrong.go_on(tmp_path / "torn", 0) == "1 files differ: a.txt"
