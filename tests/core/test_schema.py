"""What a dataclass declares is held against what a file gave: types, finite numbers, axes against each other."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from mmifn.core.schema import built, misfits, shaped


@dataclass(frozen=True)
class Inner:
    names: tuple[str, ...]
    pair: tuple[int, float]


@dataclass(frozen=True)
class Outer:
    count: int
    share: float
    flag: bool
    inner: Inner
    by_name: dict[str, float]
    maybe: str | None
    anything: Any
    curve: list[dict[str, float]]
    width: float = field(metadata={"infinite": True})
    rows: Tensor = field(metadata=shaped("N D"))
    mask: Tensor = field(metadata=shaped("N", "bool"))
    levels: list[Tensor] = field(metadata=shaped("N D *", count=2))


def outer(**changes):
    values = {"count": 3, "share": 1, "flag": True, "inner": Inner(("a",), (1, 2.0)), "by_name": {"a": 1.5}, "maybe": None,
              "anything": object(), "curve": [{"epoch": 1, "loss": 0.5}], "width": math.inf, "rows": torch.zeros(4, 2),
              "mask": torch.zeros(4, dtype=torch.bool), "levels": [torch.zeros(4, 2, 7), torch.zeros(4, 2, 1)]}
    return Outer(**(values | changes))


def test_what_fits_passes():
    assert misfits(outer()) == misfits(outer(), {"N": 4}) == misfits(outer(maybe="x", width=2.0)) == []


@pytest.mark.parametrize(("changes", "words"), [
    ({"count": 3.0}, "count is 3.0, wanted int"),
    ({"count": True}, "count is True, wanted int"),
    ({"share": "0,5"}, "share is '0,5', wanted float"),
    ({"share": math.nan}, "share is nan"),
    ({"share": 10 ** 400}, f"share is {10 ** 400}"),
    ({"share": math.inf}, "share is inf"),
    ({"width": math.nan}, "width is nan"),
    ({"flag": 1}, "flag is 1, wanted bool"),
    ({"inner": {"names": ()}}, "inner is a dict, wanted Inner"),
    ({"inner": Inner(("a", 3), (1, 2.0))}, "inner.names[1] is 3, wanted str"),
    ({"inner": Inner((), (1,))}, "inner.pair has 1 values, wanted 2"),
    ({"inner": Inner((), (1, None))}, "inner.pair[1] is None, wanted float"),
    ({"inner": Inner(["a"], (1, 2.0))}, "inner.names is a list, wanted tuple"),
    ({"by_name": {"a": None}}, "by_name['a'] is None, wanted float"),
    ({"by_name": {3: 1.0}}, "a key of by_name is 3, wanted str"),
    ({"by_name": []}, "by_name is a list, wanted dict"),
    ({"maybe": 3}, "maybe is 3"),
    ({"curve": [{"loss": math.nan}]}, "curve[0]['loss'] is nan"),
    ({"rows": [[0.0]]}, "rows is a list, wanted Tensor"),
    ({"rows": torch.full((4, 2), math.nan)}, "rows holds values that are not finite"),
    ({"rows": torch.zeros(4)}, "rows is (4,), wanted (N, D)"),
    ({"rows": torch.zeros(4, 2).int()}, "rows is torch.int32, wanted floating values"),
    ({"mask": torch.zeros(4)}, "mask is torch.float32, wanted bool values"),
    ({"mask": torch.zeros(5, dtype=torch.bool)}, "mask has 5 rows for 4 image names"),
    ({"levels": [torch.zeros(4, 2, 7)]}, "levels has 1 tensors, wanted 2"),
    ({"levels": [torch.zeros(4, 2, 7), torch.zeros(4, 3, 7)]}, "levels is (4, 3, 7), where others have D = 2"),
])  # fmt: skip
def test_what_does_not_fit_is_named(changes, words):
    assert words in misfits(outer(**changes))


def test_sizes_that_are_known_count():
    assert misfits(outer(), {"N": 5})[0] == "rows has 4 rows for 5 image names"


def test_a_tensor_may_have_either_of_two_ranks():
    @dataclass(frozen=True)
    class Either:
        rows: Tensor = field(metadata=shaped("N D | N V D"))

    assert misfits(Either(torch.zeros(4, 2))) == misfits(Either(torch.zeros(4, 3, 2))) == []
    assert misfits(Either(torch.zeros(4))) == ["rows is (4,), wanted (N, D) or (N, V, D)"]


@dataclass(frozen=True)
class Rate:
    """A dataclass that looks at its values itself."""

    rate: float

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise ValueError(f"a rate of {self.rate}")


@dataclass(frozen=True)
class Run:
    name: str
    rate: Rate
    maybe: Rate | None = None
    rows: Tensor | None = field(default=None, metadata=shaped("N D"))


def test_what_a_file_holds_is_built():
    run = built(Run, {"name": "a", "rate": {"rate": 0.5}, "maybe": {"rate": 0.25}, "rows": torch.zeros(2, 3)})
    assert (run.name, run.rate, run.maybe, run.rows.shape) == ("a", Rate(0.5), Rate(0.25), (2, 3))


@pytest.mark.parametrize(("changes", "words"), [
    ({"rate": {"rate": torch.zeros(2, 3)}}, "rate.rate is a Tensor, wanted float"),  # which cannot be compared with a number
    ({"rate": {"rate": None}}, "rate.rate is None, wanted float"),
    ({"rate": {"rate": 2}}, "a rate of 2"),
    ({"rate": None}, "rate is None, wanted Rate"),
    ({"maybe": {"rate": "x"}}, "maybe.rate is 'x', wanted float"),
    ({"maybe": 3}, "maybe is 3"),
    ({"name": 1}, "name is 1, wanted str"),
    ({"rows": torch.zeros(2)}, r"rows is \(2,\), wanted \(N, D\)"),
])
def test_what_does_not_fit_is_not_built(changes, words):
    with pytest.raises(ValueError, match=f"^{words}$"):
        built(Run, {"name": "a", "rate": {"rate": 0.5}, "rows": torch.zeros(2, 3), **changes})


def test_fields_that_are_missing_or_unknown_are_not_built():
    for values in ({"name": "a"}, {"name": "a", "rate": {"rate": 0.5}, "other": 1}, {"name": "a", "rate": {}}):
        with pytest.raises(TypeError, match=r"rate|other"):
            built(Run, values)
    with pytest.raises(ValueError, match="it is a list, wanted a dict"):
        built(Run, [])
