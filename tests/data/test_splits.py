"""Splits keep scenes apart, scale with their number, and depend on nothing but names and seed."""

import numpy as np
import pytest

from mmifn.core.errors import UserError
from mmifn.data.splits import Split, make_split, make_splits, published_split, side_counts, whole_database_split

SCENES = [f"{i:02d}" for i in range(1, 17)]


@pytest.mark.parametrize(
    ("scenes", "sides"), [(16, (12, 1, 3)), (32, (24, 2, 6)), (3, (1, 1, 1)), (6, (4, 1, 1)), (10, (7, 1, 2)), (60, (45, 4, 11)),
                          (24, (18, 2, 4)), (41, (30, 3, 8)),
                          (56, (42, 4, 10)), (7, (5, 1, 1)), (13, (10, 1, 2))]
)
def test_sides_scale_from_12_1_3(scenes, sides):
    assert side_counts(scenes) == sides


@pytest.mark.parametrize("seed", range(25))
def test_no_scene_is_on_two_sides_and_none_is_lost(seed):
    images = [scene for scene in SCENES for _ in range(20)]
    split = make_split(images, seed)
    sides = [set(split.train), set(split.val), set(split.test)]
    assert [len(side) for side in sides] == [12, 1, 3] and set.union(*sides) == set(SCENES)
    rows = [split.rows(images, side) for side in ("train", "val", "test")]
    assert sorted(i for each in rows for i in each) == list(range(320)) and [len(each) for each in rows] == [240, 20, 60]
    assert all(images[i] in split.test for i in rows[2])


def test_a_split_depends_on_names_and_seed_only():
    shuffled = list(np.random.default_rng(5).permutation(SCENES * 3))
    assert make_split(SCENES, 4) == make_split(shuffled, 4)
    assert len({make_split(SCENES, seed).test for seed in range(10)}) >= 9
    assert set().union(*(make_split(SCENES, seed).test for seed in range(20))) == set(SCENES)


def test_splits_never_change_between_versions():
    # numpy's PCG64 seeded with [2026, seed]: permuted names 1..12 train, 13 validates, 14..16 test
    order = [SCENES[i] for i in np.random.Generator(np.random.PCG64(np.random.SeedSequence([2026, 3]))).permutation(16)]
    split = make_split(SCENES, 3)
    assert (set(split.train), split.val, set(split.test)) == (set(order[:12]), (order[12],), set(order[13:]))
    assert [make_split(SCENES, seed).test for seed in range(3)] == GOLDEN  # as first released


GOLDEN = [("05", "08", "11"), ("06", "14", "15"), ("04", "13", "15")]


def test_several_splits_are_those_of_their_seeds():
    assert make_splits(SCENES, 3) == [make_split(SCENES, seed) for seed in range(3)]
    with pytest.raises(UserError, match="--splits must be at least 1, got 0"):
        make_splits(SCENES, 0)


def test_a_whole_database_has_no_test_scenes():
    for seed in range(5):
        split = whole_database_split(SCENES, seed)
        assert len(split.val) == 1 and split.test == () and {*split.train, *split.val} == set(SCENES)
    assert len({whole_database_split(SCENES, seed).val for seed in range(8)}) > 2
    many = whole_database_split([f"{i:02d}" for i in range(41)], 0)
    assert (len(many.train), len(many.val)) == (38, 3)  # a sixteenth validates, as in other splits


def test_the_published_habit_chooses_the_epoch_by_the_test_scenes():
    honest, habit = make_split(SCENES, 2), published_split(SCENES, 2)
    assert habit.val == honest.test and set(habit.train) == {*honest.train, *honest.val} and habit.test == ()


def test_too_few_scenes_are_refused():
    with pytest.raises(UserError, match=r"OIQA has 2 scene\(s\).*at least 3"):
        make_split(["a", "b", "a"], 0, dataset="OIQA")
    with pytest.raises(UserError, match=r"1 scene\(s\).*at least 2"):
        whole_database_split(["a", "a"], 0)


@pytest.mark.parametrize("sides", [(("a",), ("b",), ("a",)), (("a",), ("a",), ()), (("a",), (), ("b",)), ((), ("a",), ("b",))])
def test_an_impossible_split_cannot_be_made(sides):
    with pytest.raises(ValueError, match="split"):
        Split(0, "reference", *sides)


def test_plain_form_goes_into_files():
    assert Split(2, "image", ("a",), ("b",), ()).as_dict() == {
        "seed": 2,
        "unit": "image",
        "train": ["a"],
        "val": ["b"],
        "test": [],
    }
