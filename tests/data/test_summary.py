"""The summary of a database: counts, the spread of all scores, and the mean of each level of each type."""

import pandas as pd

from mmifn.data.summary import describe

TABLE = pd.DataFrame({"distortion_type": ["JPEG", "JPEG", "JPEG", "GN"], "MOS": ["80", "60", "40", "20"],
                      "level": ["1", "1", "2", "1"]})


def test_means_of_types_and_levels():
    assert describe(TABLE, "X").splitlines() == [
        "X: 4 images, MOS 20.00 to 80.00, mean 50.00, SD 25.82 (human)",  # sqrt((30² + 10² + 10² + 30²) / 3)
        "  JPEG      3 images, mean MOS by level  1: 70.0  2: 40.0",
        "  GN        1 images, mean MOS by level  1: 20.0"]


def test_origin_and_levels_are_optional():
    first, jpeg, _ = describe(TABLE.drop(columns="level").assign(mos_source="simulated"), "X").splitlines()
    assert first.endswith("(simulated)") and jpeg.endswith("by level  0: 60.0")
