"""The control: every image gets another's text."""

import pytest

from mmifn.core.errors import UserError
from mmifn.describe.controls import shuffled

TEXTS = {f"{i:02d}.png": f"text {i}" for i in range(30)}


def test_shuffled_is_a_permutation_without_fixed_points():
    for seed in range(20):
        given = shuffled(TEXTS, seed)
        assert list(given) == list(TEXTS) and sorted(given.values()) == sorted(TEXTS.values())
        assert all(given[name] != TEXTS[name] for name in TEXTS)


def test_shuffling_depends_on_names_and_seed_alone():
    assert shuffled(TEXTS, 3) == shuffled(dict(reversed(TEXTS.items())), 3) != shuffled(TEXTS, 4)
    two = {"a": "1", "b": "2"}
    assert shuffled(two, 0) == {"a": "2", "b": "1"}
    with pytest.raises(UserError, match="at least 2"):
        shuffled({"a": "1"}, 0)
