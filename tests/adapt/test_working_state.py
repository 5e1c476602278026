"""A killed training goes on where it was, and what cannot be used of it counts as not there."""

import pytest
import torch

from mmifn.adapt.working_state import keep, take_up
from mmifn.core.artefact import load_torch, save_torch


def parts(seed=0, width=3):
    torch.manual_seed(seed)
    network = torch.nn.Linear(width, 2)
    optimizer = torch.optim.AdamW(network.parameters(), 0.1)
    network(torch.ones(1, width)).sum().backward()
    optimizer.step()
    return {"network": network, "optimizer": optimizer}


def test_parts_are_taken_up_as_they_were(tmp_path):
    kept, other = parts(0), parts(1)
    keep(tmp_path / "s.pt", "run", 7, kept)
    assert take_up(tmp_path / "s.pt", "run", other) == 7
    assert torch.equal(other["network"].weight, kept["network"].weight)
    moments = [part["optimizer"].state_dict()["state"][0]["exp_avg"] for part in (kept, other)]
    assert torch.equal(*moments) and moments[0].abs().sum() > 0


@pytest.mark.parametrize("change", [
    {"run": "other"}, {"step": None}, {"network": None}, {"network": {"weight": torch.zeros(2, 3)}}, {"optimizer": {}},
    {"optimizer": 3}, None, b"torn",
])  # fmt: skip
def test_what_cannot_be_used_leaves_the_parts_as_they_are(tmp_path, change):
    path, mine = tmp_path / "s.pt", parts(1)
    keep(path, "run", 7, parts(0))
    if isinstance(change, bytes):
        path.write_bytes(change)
    else:
        save_torch([1, 2] if change is None else load_torch(path) | change, path)
    before = mine["network"].weight.detach().clone()
    assert take_up(path, "run", mine) is None and torch.equal(mine["network"].weight, before)
    assert take_up(tmp_path / "none.pt", "run", mine) is None
