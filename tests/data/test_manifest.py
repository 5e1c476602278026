"""des.csv: read as written, and every bad row told at once with its line."""

import numpy as np
import pandas as pd
import pytest

from mmifn.core.errors import UserError
from mmifn.data.manifest import check_name, image_paths, read_manifest, view_cells, write_manifest

HEADER = "image_name,MOS,distortion_type"


@pytest.fixture
def read(tmp_path):
    def reader(*lines, dataset="DS", encoding="utf-8"):
        (tmp_path / "des.csv").write_bytes("\n".join(lines).encode(encoding) + b"\n")
        return read_manifest(tmp_path / "des.csv", dataset)

    return reader


@pytest.fixture
def refusal(read):
    def message(*lines, **kwargs):
        with pytest.raises(UserError) as caught:
            read(*lines, **kwargs)
        return str(caught.value)

    return message


def test_columns_are_read_in_file_order(read):
    table = read(
        "distortion_type, MOS,image_name,level,reference,mos_source,note",
        " JPEG, 61.5,b.png,3,room,simulated,x",
        "GN,-2e1,sub/a.png,0,hall,simulated,",
    )
    assert table.names == ["b.png", "sub/a.png"] and table.types == ["JPEG", "GN"] and len(table) == 2
    np.testing.assert_array_equal(table.mos, [61.5, -20.0])
    assert table.levels == [3, 0] and table.references == ["room", "hall"] and table.locations is None
    assert table.mos_source == "simulated" and table.dataset == "DS"


def test_minimal_columns_mean_human_scores_and_no_levels(read):
    table = read(HEADER, "a.png,5,GN", encoding="utf-8-sig")  # Excel writes a byte order mark
    assert table.mos_source == "human" and table.levels == [0] and table.references is None


def test_scores_of_views_are_rows_of_as_many_numbers_or_none(read, refusal):
    table = read(HEADER + ",view_MOS", "a.png,50,GN,40.25 60", "b.png,50,GN,", "c.png,50,GN, 1 2 ")
    np.testing.assert_array_equal(table.view_mos, [[40.25, 60], [np.nan, np.nan], [1, 2]])
    assert view_cells(table.view_mos) == ["40.25 60.00", "", "1.00 2.00"]
    assert read(HEADER, "a.png,50,GN").view_mos is None and read(HEADER + ",view_MOS", "a.png,50,GN,").view_mos is None
    message = refusal(HEADER + ",view_MOS", "a.png,50,GN,1 2", "b.png,50,GN,1 2 3", "c.png,50,GN,1 two", "d.png,50,GN,1 nan")
    assert "3 bad row(s)" in message and "line 3: view_MOS '1 2 3' is not 2 scores, as others have, nor empty" in message
    assert "line 4: view_MOS '1 two'" in message and "line 5: view_MOS '1 nan'" in message


def test_words_that_look_like_missing_values_stay_words(read):
    table = read(HEADER + ",reference", "NA.png,5,None,nan", "null,6,NA,n/a")
    assert table.names == ["NA.png", "null"] and table.types == ["None", "NA"] and table.references == ["nan", "n/a"]


@pytest.mark.parametrize(("largest", "scale"), [("10", "1-10"), ("10.5", "0-100")])
def test_the_two_scales_in_circulation_are_told_apart(read, largest, scale):
    assert read(HEADER, "a.png,1,GN", f"b.png,{largest},GN").mos_scale == scale


def test_missing_file_says_how_to_make_it(tmp_path):
    with pytest.raises(UserError, match="does not exist") as caught:
        read_manifest(tmp_path / "des.csv", "OIQA")
    assert "prepare_dataset.py --dataset OIQA" in str(caught.value) and "image_name, MOS, distortion_type" in str(caught.value)


def test_empty_and_header_only(refusal):
    assert "is empty" in refusal("")
    assert "has a header but no rows" in refusal(HEADER)


def test_missing_columns_are_all_named_with_those_found(refusal):
    assert "lacks the column(s) MOS, distortion_type; found image_name, mos" in refusal("image_name,mos", "a.png,3")
    assert "found image_name;MOS;distortion_type" in refusal("image_name;MOS;distortion_type", "a.png;3;GN")
    assert "MOS more than once" in refusal("image_name,MOS,MOS,distortion_type", "a.png,3,4,GN")


def test_every_bad_row_is_in_one_message_with_its_line(refusal):
    message = refusal(
        HEADER + ",level,reference",
        "ok.png,5,GN,1,s",
        "nan.png,nan,GN,1,s",
        "",
        "word.png,five,GN,1,s",
        "inf.png,inf,GN,1,s",
        "none.png,,GN,1,s",
        "ok.png,5,GN,1,s",
        "../up.png,5,GN,1,s",
        "/abs.png,5,GN,1,s",
        "type.png,5, ,1,s",
        "level.png,5,GN,x,s",
        "sup.png,5,GN,²,s",
        "short.png,5,GN",
        "long.png,5,GN,1,s,6",
        "scene.png,5,GN,1,",
        ",5,GN,1,s",
        "./dot.png,5,GN,1,s",
    )
    assert "15 bad row(s)" in message
    for line in (
        "line 3: MOS 'nan' is not a finite number",
        "line 5: MOS 'five'",
        "line 6: MOS 'inf'",
        "line 7: MOS ''",
        "line 8: image_name 'ok.png' appears again",
        "line 9: image_name '../up.png' climbs out",
        "line 10: image_name '/abs.png' climbs out",
        "line 11: distortion_type is empty",
        "line 12: level 'x' is not a whole number",
        "line 13: level '²'",
        "line 14: 3 fields where the header has 5",
        "line 15: 6 fields",
        "line 16: reference is empty",
        "line 17: image_name '' is empty",
        "line 18: image_name './dot.png' is written otherwise",
    ):
        assert line in message, line


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "empty"),
        (" a.png", "spaces"),
        ("../a.png", "climbs"),
        ("a/../../b.png", "climbs"),
        ("/a.png", "climbs"),
        ("c:\\a.png", "climbs"),
        ("a\\b.png", "climbs"),
        ("c:a.png", "climbs"),
        ("a\0.png", "climbs"),
        ("./a.png", "written otherwise than 'a.png'"),
        ("a//b.png", "written otherwise than 'a/b.png'"),
        ("a/", "written otherwise"),
    ],
)
def test_names_that_leave_the_folder_or_have_a_twin_are_refused(name, words):
    assert words in check_name(name)


@pytest.mark.parametrize("name", ["a.png", "sub/a.b.png", "Bild ö.jpg", "..a.png"])
def test_plain_names_pass(name):
    assert check_name(name) is None


def test_unreadable_tables(refusal):
    assert "not a readable csv table in UTF-8" in refusal(HEADER, "é.png,3,GN", encoding="latin-1")
    assert "not a readable csv table" in refusal(HEADER, '"a.png,3,GN')


def test_mixed_sources_of_scores_are_refused(refusal):
    assert "mos_source must be all" in refusal(HEADER + ",mos_source", "a.png,3,GN,human", "b.png,3,GN,simulated")
    assert "found ['guessed']" in refusal(HEADER + ",mos_source", "a.png,3,GN,guessed")


# --- scenes ----------------------------------------------------------------------------------------------------------


def test_scenes_of_the_original_numberings(read):
    oiqa = read(HEADER, *[f"img{i}.{'png' if i % 3 else 'jpg'},5,GN" for i in (1, 20, 21, 300, 301, 320)], dataset="OIQA")
    assert oiqa.references == ["01", "01", "02", "15", "16", "16"]
    cviq = read(HEADER, *[f"{i:03d}.png,5,GN" for i in (1, 34, 35, 510, 511, 544)], dataset="CVIQ")
    assert cviq.references == ["01", "01", "02", "15", "16", "16"]


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("OIQA", "img321.png"),
        ("OIQA", "img0.png"),
        ("OIQA", "001.png"),
        ("CVIQ", "545.png"),
        ("CVIQ", "000.png"),
        ("CVIQ", "img1.png"),
        ("DS", "img1.png"),
    ],
)
def test_no_scene_is_guessed_for_other_names(read, dataset, name):
    table = read(HEADER, f"{name},5,GN", dataset=dataset)
    assert table.references is None
    with pytest.raises(UserError, match="no `reference` column"):
        table.scenes()
    assert table.scenes("image") == [name]


def test_scenes_of_one_location_are_one_unit(read):
    table = read(
        HEADER + ",reference,location",
        "a.png,5,GN,kitchen day,kitchen",
        "b.png,5,GN,kitchen night,kitchen",
        "c.png,5,GN,hall,hall",
    )
    assert table.scenes() == ["kitchen", "kitchen", "hall"]


def test_a_scene_in_two_locations_would_leak_and_is_refused(refusal):
    message = refusal(HEADER + ",reference,location", "a.png,5,GN,s1,here", "b.png,5,GN,s1,there", "c.png,5,GN,s2,there")
    assert "1 bad row(s)" in message and "line 3: reference 's1' lies in location 'there', above in 'here'" in message


# --- files -----------------------------------------------------------------------------------------------------------


def test_all_missing_images_are_named(read, tmp_path):
    table = read(HEADER, *[f"{i}.png,5,GN" for i in range(30)])
    (tmp_path / "7.png").touch()
    with pytest.raises(UserError) as caught:
        image_paths(table, tmp_path)
    message = str(caught.value)
    assert "lacks 29 of the 30 images of DS's des.csv" in message and "  0.png" in message and "and 9 more" in message


def test_paths_are_in_row_order(read, tmp_path):
    table = read(HEADER, "b.png,5,GN", "a.png,5,GN")
    for name in table.names:
        (tmp_path / name).touch()
    assert [path.name for path in image_paths(table, tmp_path)] == ["b.png", "a.png"]


def test_a_written_table_reads_back(tmp_path):
    path = tmp_path / "new" / "des.csv"
    write_manifest(
        pd.DataFrame({"image_name": ["a, b.png"], "MOS": [0.1 + 0.2], "distortion_type": ["GN"], "reference": ["é"]}), path
    )
    table = read_manifest(path, "DS")
    assert table.names == ["a, b.png"] and table.mos[0] == 0.1 + 0.2 and table.references == ["é"]
