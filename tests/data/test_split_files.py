"""Files of splits: ours come back as they were, published ones give their own test scenes, and others are refused."""

import json

import pytest
from skips import SHARED, needs_shared

from mmifn.core.errors import UserError
from mmifn.data.split_files import find_split_file, read_splits, write_splits
from mmifn.data.splits import make_splits

SCENES = [f"{k:02d}" for k in range(1, 17) for _ in range(3)]


def test_our_splits_come_back_as_they_were(tmp_path):
    own = make_splits(SCENES, 4)
    write_splits(tmp_path / "splits" / "mine.json", {"OIQA": own})
    for given in (str(tmp_path / "splits" / "mine.json"), "mine", "mine.json"):
        assert read_splits(find_split_file(given, tmp_path), "OIQA", SCENES) == own


def published(tmp_path, **changes):
    entry = {"train": [1, 2, 3, 4, 5, 6, 8, 9, 12, 13, 14, 16], "val": [15], "test": [7, 10, 11]} | changes
    path = tmp_path / "published.json"
    path.write_text(json.dumps({"OIQA-1234": entry, "CVIQ-7": entry}))
    return path


def test_numbered_scenes_are_those_of_des_csv(tmp_path):
    (split,) = read_splits(published(tmp_path), "OIQA", SCENES)
    assert split.test == ("07", "10", "11") and split.val == ("15",) and split.seed == 1234 and len(split.train) == 12


REFUSED = {
    "an unknown scene": ({"test": [7, 10, 99]}, r"(?s)names scenes that des\.csv does not have:.*99"),
    "a scene twice": ({"test": [7, 10, 15]}, "twice: 15; left out: 11"),
    "no validation": ({"val": []}, "the epoch is chosen on val"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_splits_that_do_not_fit_are_refused(case, tmp_path):
    changes, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        read_splits(published(tmp_path, **changes), "OIQA", SCENES)


def test_what_is_no_file_of_splits_says_so(tmp_path):
    with pytest.raises(UserError, match=r"has no splits of JUFE; it has those of: CVIQ, OIQA"):
        read_splits(published(tmp_path), "JUFE", SCENES)
    with pytest.raises(UserError, match="wanted a number of splits, or a file of splits"):
        find_split_file("GSR", tmp_path)
    with pytest.raises(UserError, match="by scene"):
        read_splits(published(tmp_path), "OIQA", SCENES, "image")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UserError, match="not a readable json"):
        read_splits(tmp_path / "broken.json", "OIQA", SCENES)


@needs_shared("mos", "GSR_reference_splits.json")
def test_a_published_set_gives_its_own_test_scenes():
    path = SHARED / "mos" / "GSR_reference_splits.json"
    content = json.loads(path.read_text())
    for dataset in ("OIQA", "CVIQ"):
        splits = read_splits(path, dataset, SCENES)
        assert [split.seed for split in splits] == [1234, 1235, 1236, 1237, 1238]
        for split in splits:
            assert [int(scene) for scene in split.test] == sorted(content[f"{dataset}-{split.seed}"]["test"])
