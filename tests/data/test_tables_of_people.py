"""Tables that people write: lines are numbered as an editor numbers them, and every fault has its reason."""

import numpy as np
import pytest

from mmifn.core.errors import UserError
from mmifn.data.tables import numbers, read_table, refuse_rows


def read(tmp_path, text, columns=("image", "MOS"), remedy=""):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    return read_table(tmp_path / "t.csv", columns, remedy)


def test_rows_keep_the_number_of_their_line(tmp_path):
    table, wrong = read(tmp_path, "\ufeff image ,MOS\n\na.png, 1\n,\nb.png\n\"c\nd\",3\n'=e,4\n")
    assert table["image"].to_dict() == {3: "a.png", 7: "c\nd", 8: "=e"} and table["MOS"].tolist() == ["1", "3", "4"]
    assert wrong == [(5, "1 fields where the header has 2")]


@pytest.mark.parametrize(("text", "said"), [
    ("", r"is empty; do this$"), ("\n,\n", "is empty"),
    ("image,MOS,image,MOS,x\n", r"has the column\(s\) MOS, image more than once$"),
    ("image,x\n", r"lacks the column\(s\) MOS; found image, x$"), ("image;MOS\n", r"separated by ';'\? save it with commas"),
    ('image,MOS\n"a\n', "is not a readable csv table in UTF-8"),
])  # fmt: skip
def test_what_is_no_table_is_named(tmp_path, text, said):
    with pytest.raises(UserError, match=said):
        read(tmp_path, text, remedy="; do this")


def test_numbers_and_what_is_none(tmp_path):
    table, _ = read(tmp_path, "image,MOS\na,1\nb,-0.5\nc,100\nd,101\ne,\nf,\"3,5\"\ng,MOS\nh,inf\ni,good\n")
    values, problems = numbers(table, "MOS", -0.5, 100)
    np.testing.assert_array_equal(values[:4], [1, -0.5, 100, 101])
    assert np.isnan(values[[4, 5, 6, 8]]).all() and dict(problems) == {
        5: "MOS '101' is off every scale of opinions", 6: "MOS '' is not a finite number",
        7: "MOS '3,5' is not a finite number (a decimal comma? wanted a point)",
        8: "MOS 'MOS' is not a finite number (two tables in one file?)", 9: "MOS 'inf' is not a finite number",
        10: "MOS 'good' is not a finite number"}
    assert numbers(table.loc[[2, 3]], "MOS")[1] == []


def test_all_faults_come_in_the_order_of_the_file(tmp_path):
    with pytest.raises(UserError) as error:
        refuse_rows(tmp_path / "t.csv", [(9, "second"), (2, "first")])
    assert str(error.value).splitlines() == [f"{tmp_path / 't.csv'} has 2 bad row(s):", "  line 2: first", "  line 9: second",
                                             "Mend them and run the same command again."]
    refuse_rows(tmp_path / "t.csv", [])
