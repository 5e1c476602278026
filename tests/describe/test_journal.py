"""Answers on their way into the table: nothing is lost when a program is killed, and a row costs the same at any length."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mmifn.core.errors import UserError
from mmifn.describe import journal
from mmifn.describe.table import Row, append, read_rows, upsert, write_rows


def row(i, text="some plain words", dataset="DS"):
    return Row(dataset, f"{i}.png", f"{text} {i}", "measured", "m", "r")


def texts(path):
    return [each.description for each in read_rows(path)]


def test_appended_rows_are_read_at_once_and_merged_in_place(tmp_path):
    path = tmp_path / "des.csv"
    write_rows(path, [row(0, "old"), row(1, "old")])
    append(path, [row(0, "new")])
    append(path, [row(2, "new")])
    assert b"new" not in path.read_bytes() and texts(path) == ["new 0", "old 1", "new 2"]
    upsert(path, [])
    assert texts(path) == ["new 0", "old 1", "new 2"] and b"new 2" in path.read_bytes()
    assert not journal.journal_of(path).exists()


def test_a_half_written_line_is_no_row(tmp_path):
    path = tmp_path / "des.csv"
    append(path, [row(0)])
    with open(journal.journal_of(path), "ab") as file:
        file.write(b'{"dataset": "DS", "image_na')
    assert len(read_rows(path)) == 1
    append(path, [row(1)])
    assert [each.image_name for each in read_rows(path)] == ["0.png", "1.png"]


def test_a_program_killed_between_table_and_journal_merges_again_to_the_same(tmp_path):
    path = tmp_path / "des.csv"
    append(path, [row(0), row(1)])
    left = journal.journal_of(path).read_bytes()
    upsert(path, [])
    journal.journal_of(path).write_bytes(left)
    before = texts(path)
    upsert(path, [row(2)])
    assert texts(path) == [*before, "some plain words 2"]


def test_a_table_changed_by_hand_later_stands(tmp_path):
    path = tmp_path / "des.csv"
    append(path, [row(0), row(1)])
    write_rows(path, [Row("DS", "0.png", "by hand")])
    later = journal.journal_of(path).stat().st_mtime_ns + 10 ** 9
    os.utime(path, ns=(later, later))
    assert texts(path) == ["by hand", "some plain words 1"]


def test_a_damaged_journal_is_named(tmp_path):
    path = tmp_path / "des.csv"
    journal.journal_of(path).write_bytes(b"{]\n")
    with pytest.raises(UserError, match=r"\.des\.csv\.journal is damaged"):
        read_rows(path)


def test_a_large_journal_is_merged_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "_LEAST_BYTES", 2000)
    path = tmp_path / "des.csv"
    merges = []
    for i in range(200):
        append(path, [row(i)])
        merges += [i] if not journal.journal_of(path).exists() else []
    assert 2 <= len(merges) <= 12 and texts(path) == [f"some plain words {i}" for i in range(200)]


WRITER = """
import sys
from pathlib import Path
from mmifn.describe import journal
from mmifn.describe.table import Row, append
journal._LEAST_BYTES = 3000
for i in range(100_000):
    append(Path(sys.argv[1]), [Row("DS", f"{i}.png", f"words of {i}", "measured")])
    print(i, flush=True)
"""


def test_what_was_written_survives_a_kill(tmp_path):
    path = tmp_path / "des.csv"
    told = 0
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
            for line in writer.stdout:
                told = int(line)
                if told >= 150 + 100 * _:
                    break
            writer.send_signal(signal.SIGKILL)
            told = max([told, *map(int, writer.stdout.read().split())])
        found = {each.image_name: each.description for each in read_rows(path)}
        assert all(found[f"{i}.png"] == f"words of {i}" for i in range(told + 1))


def test_a_row_costs_the_same_after_many(tmp_path):
    def cost(there):
        path = tmp_path / f"{there}.csv"
        write_rows(path, [row(i) for i in range(there)])
        start = time.process_time()
        for i in range(100):
            append(path, [row(i, "new")])
        return time.process_time() - start

    few = min(cost(100) for _ in range(3))
    assert cost(10_000) < 3 * few + 0.05  # rewriting 10,000 rows takes 100 times as long as rewriting 100
