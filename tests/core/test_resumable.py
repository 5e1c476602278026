"""Rows are encoded in order, whatever the number of threads that read ahead."""

import threading
import time

import torch

from mmifn.core.artefact import Provenance
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
            encode_rows(store, names, read, lambda value: {"v": torch.tensor(value)}, "x", readers)
        except UserError as error:
            assert "1 of 9 images could not be read" in str(error)
        found[readers] = {name: int(row["v"]) for name, row in store.rows.items()}
        assert max(together) <= readers and (readers == 1 or max(together) > 1)
    assert found[1] == found[3] == {f"{i}.png": i for i in range(9) if i != 4}
