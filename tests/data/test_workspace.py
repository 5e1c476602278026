"""Every path of a workspace is where the README says."""

from pathlib import Path

import pytest

from mmifn.core.errors import UserError
from mmifn.data.workspace import Workspace


def test_layout_is_the_published_one():
    space = Workspace(Path("r"))
    assert space.manifest("OIQA") == Path("r/datasets/OIQA/des.csv")
    assert space.images_dir("OIQA") == Path("r/datasets/OIQA/images")
    assert space.references_dir("OIQA") == Path("r/datasets/OIQA/references")
    assert space.viewports_dir("OIQA") == Path("r/datasets/OIQA/viewports")
    assert space.descriptions == Path("r/text/des.csv")
    assert space.features("my-db_2", "text_features") == Path("r/features/my-db_2/text_features.pt")
    assert space.checkpoint == Path("r/checkpoints/mmifn_best.pth")
    assert space.results == Path("r/results")


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "/etc", ".hidden", "a b", "a\n", "ä"])
def test_a_dataset_name_cannot_leave_the_workspace(name):
    for path in (Workspace().dataset_dir, Workspace().manifest, lambda each: Workspace().features(each, "x")):
        with pytest.raises(UserError, match="dataset name"):
            path(name)


def test_only_folders_with_a_des_csv_are_databases(tmp_path):
    for name in ("B", "A", "no-table"):
        (tmp_path / "datasets" / name).mkdir(parents=True)
    for name in ("B", "A"):
        (tmp_path / "datasets" / name / "des.csv").touch()
    assert Workspace(tmp_path).datasets() == ["A", "B"]
    assert Workspace(tmp_path / "elsewhere").datasets() == []
