"""Rows are encoded in order, whatever the number of threads that read ahead."""

import threading
import time
from dataclasses import replace

import pytest
import torch

from mmifn.core.artefact import Provenance, load, save_torch
from mmifn.core.errors import UserError
from mmifn.core.resumable import RowStore, encode_rows
from mmifn.data.measurements import Measurements


def test_several_readers_read_at_once_and_rows_stay_in_order(tmp_path):
    names = [f"{i}.png" for i in range(9)]
    made_by = Provenance("x", "", {}, {name: f"{i:064d}" for i, name in enumerate(names)})
    at_once, together, lock = [0], [], threading.Lock()

    def read(i):
        with lock:
            at_once[0] += 1
            together.append(at_once[0])
        time.sleep(0.02 * (3 - i % 3))  # later ones of three are ready first
        with lock:
            at_once[0] -= 1
        if i == 4:
            raise UserError("damaged")
        return i

    found = {}
    for readers in (1, 3):
        together.clear()
        store = RowStore(tmp_path / f"{readers}" / "cache.pt", Measurements, made_by, Measurements.rows)
        try:
            encode_rows(store, names, read, lambda values: [{"v": torch.tensor(value)} for value in values], "x", readers)
        except UserError as error:
            assert "1 of 9 images could not be read" in str(error)
        found[readers] = {name: int(row["v"]) for name, row in store.rows.items()}
        assert max(together) <= readers and (readers == 1 or max(together) > 1)
    assert found[1] == found[3] == {f"{i}.png": i for i in range(9) if i != 4}


@pytest.mark.parametrize("left", [
    {"v": torch.tensor(float("nan"))}, {"v": torch.zeros(2)}, {"v": 3.0}, {}, [1], {"w": torch.zeros(2), "v": torch.tensor(1.0)},
    b"torn",
])  # fmt: skip
def test_a_row_of_a_killed_run_that_cannot_be_used_is_made_again(tmp_path, left):
    names = ["a.png", "b.png"]
    made_by = Provenance("x", "", {}, {name: f"{i}" * 64 for i, name in enumerate(names)})
    first = RowStore(tmp_path / "cache.pt", Measurements, made_by, Measurements.rows)
    for name in names:
        first.put(name, {"v": torch.tensor(1.0)})
    (path,) = [path for path in tmp_path.rglob("*.pt") if path.stem.endswith("1")]
    path.write_bytes(left) if isinstance(left, bytes) else save_torch(left, path)
    again = RowStore(tmp_path / "cache.pt", Measurements, made_by, Measurements.rows)
    rows = encode_rows(again, names, lambda i: i, lambda rows: [{"v": torch.tensor(10.0 + i)} for i in rows], "x")
    assert [float(row["v"]) for row in rows] == [1.0, 11.0]


def test_rows_of_two_shapes_are_all_made_again(tmp_path):
    names, axes = ["a.png", "b.png"], {"v": 1}
    made_by = Provenance("x", "", {}, {name: f"{i}" * 64 for i, name in enumerate(names)})
    RowStore(tmp_path / "cache.pt", Measurements, made_by, Measurements.rows, axes).put("a.png", {"v": torch.zeros(3)})
    store = RowStore(tmp_path / "cache.pt", Measurements, made_by, Measurements.rows, axes)
    made = []
    rows = encode_rows(store, names, lambda i: i, lambda i: made.append(*i) or [{"v": torch.full((2,), float(*i))}], "x")
    assert made == [1, 0] and [row["v"].tolist() for row in rows] == [[0.0, 0.0], [1.0, 1.0]]


def test_inputs_are_encoded_several_at_a_time_and_the_last_ones_too(tmp_path):
    names = [f"{i}.png" for i in range(8)]
    made_by = Provenance("x", "", {}, {name: f"{i:064d}" for i, name in enumerate(names)})
    store, sizes = RowStore(tmp_path / "cache.pt", Measurements, made_by, Measurements.rows), []

    def read(i):
        if i == 7:
            raise UserError("damaged")
        return i

    def encode(values):
        sizes.append(len(values))
        return [{"v": torch.tensor(value)} for value in values]

    with pytest.raises(UserError, match="1 of 8 images could not be read"):
        encode_rows(store, names, read, encode, "x", 2, together=3)
    assert sizes == [3, 3, 1]
    assert {name: int(row["v"]) for name, row in store.rows.items()} == {f"{i}.png": i for i in range(7)}


def test_a_cache_tells_every_device_that_its_rows_were_made_on(tmp_path):
    def store_of(names, computed):
        made_by = Provenance("x", "", {}, {name: name * 64 for name in names}, computed=computed)
        return RowStore(tmp_path / "cache.pt", Measurements, made_by, Measurements.rows)

    def finish(names, computed):
        store = store_of(names, computed)
        rows = encode_rows(store, names, lambda i: i, lambda values: [{"v": torch.tensor(1.0)} for _ in values], "x")
        values = torch.stack([row["v"] for row in rows])[:, None]
        store.finish(Measurements("DS", names, store.made_by, values, ["v"]))
        return load(tmp_path / "cache.pt", Measurements)

    assert finish(["a"], "CPU, float32").made_by.computed == "CPU, float32"
    again = finish(["a"], "GPU, float32")
    assert again.made_by.computed == "CPU, float32"  # nothing was made anew
    both = finish(["a", "b"], "GPU, float32")
    assert both.made_by.computed == "CPU, float32; GPU, float32"
    assert both.digest() == replace(both, made_by=replace(both.made_by, computed="")).digest()  # told, not part of its identity
    store_of(["a", "b", "c"], "GPU, float32").put("c", {"v": torch.tensor(1.0)})  # and stopped
    assert "c" in store_of(["a", "b", "c"], "GPU, float32").rows and "c" not in store_of(["a", "b", "c"], "CPU, float32").rows
