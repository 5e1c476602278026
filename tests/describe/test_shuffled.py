"""Controls: every image gets another's text; a bare text names the distortion and nothing else."""

import numpy as np
import pytest

from mmifn.core.errors import UserError
from mmifn.data.manifest import Manifest
from mmifn.describe.controls import distortion_only, shuffled

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


def test_distortion_only_names_the_type():
    names, types = ["a", "b", "c"], ["JPEG", "GB", "fog"]
    manifest = Manifest("DS", names, np.zeros(3), types, None, None, [1, 2, 3], "human")
    assert distortion_only(manifest) == {"a": "The image is degraded by JPEG compression.",
                                         "b": "The image is degraded by Gaussian blur.", "c": "The image is degraded by fog."}
