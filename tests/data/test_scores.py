"""Label files as they circulate: which form a file has, what a line says, and what is said of lines that are none."""

import numpy as np
import pytest
from scipy import io as matlab

from mmifn.core.errors import UserError
from mmifn.data.importers.scores import Score, read_scores


def read(tmp_path, text, name="labels.csv", **how):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_scores(tmp_path / name, **how).lines


@pytest.mark.parametrize(("text", "lines"), [
    ("a.png 3.5\nb.png 4\n", [Score("a.png", 3.5), Score("b.png", 4.0)]),
    ("ref.png dis.png 3.5\n", [Score("dis.png", 3.5, reference="ref.png")]),
    ("img1/000/img1_000BA.jpg b c d e f 61.5\n", [Score("img1", 61.5)]),
    ("Image,MOS,type,degree,scene\n\n a.png , 3.5,GN,2,s\n", [Score("a.png", 3.5, "GN", "2", "s")]),
    ("\ufeffimg\tscore\na.png\t3.5\n", [Score("a.png", 3.5)]),
])  # fmt: skip
def test_forms_are_told_apart(tmp_path, text, lines):
    assert read(tmp_path, text) == lines


@pytest.mark.parametrize(("scale", "mos"), [(None, 50.0), ("0-100", 50.0), ("1-10", 5.0)])
def test_of_two_scales_the_wanted_one_is_taken(tmp_path, scale, mos):
    assert read(tmp_path, "image,MOS,MOSz\na.png,5,50\n", scale=scale)[0].mos == mos


def test_dmos_is_taken_only_where_its_polarity_is_looked_at(tmp_path):
    assert read(tmp_path, "dis,DMOS\na.png,20\n", dmos=True) == [Score("a.png", 20.0)]
    with pytest.raises(UserError, match="higher may be worse there"):
        read(tmp_path, "dis,DMOS\na.png,20\n")


@pytest.mark.parametrize(("text", "said"), [
    ("", "is empty; wanted one line per image"), ("\n ,\n", "is empty; wanted one line per image"),
    ("a.png good\n", "line 1: 'a.png good'; wanted `image score`"),  # one line is no table unless its header is known
    ("image,MOS\n", "has a header and no scores"), ("image,quality\na,1\n", "has the columns image, quality"),
    ("a,b\nc,d\n", "has the columns a, b"), ("image,MOS\na.png,nan\n", "line 2: MOS 'nan' is not a number"),
    ("image,MOS\na.png,1,2\n", "line 2: 3 values for 2 columns"), ("1\n2\n", r"has 2 line\(s\) that are not scores"),
    ("a b c d 5\n", "line 1: 'a b c d 5'"), (",5\n", "line 1: ' 5'"), ("a.png 1\nb.png inf\n", "line 2: 'b.png inf'"),
])  # fmt: skip
def test_what_is_no_score_is_named(tmp_path, text, said):
    with pytest.raises(UserError, match=said):
        read(tmp_path, text)


def test_vectors_of_matlab_have_three_numbers_or_more(tmp_path):
    matlab.savemat(tmp_path / "x.mat", {"MOS": np.arange(5.0)[:, None], "two": [1.0, 2.0], "three": [1.0, 2.0, 3.0],
                                        "words": "abcd", "table": np.ones((2, 3))})  # fmt: skip
    vectors = read_scores(tmp_path / "x.mat").vectors
    assert sorted(vectors) == ["MOS", "three"] and vectors["MOS"].tolist() == [0, 1, 2, 3, 4]
    matlab.savemat(tmp_path / "y.mat", {"two": [1.0, 2.0]})
    with pytest.raises(UserError, match="holds no vector of numbers"):
        read_scores(tmp_path / "y.mat")
    with pytest.raises(UserError, match="does not exist"):
        read_scores(tmp_path / "z.mat")


def test_what_is_not_text_is_named(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"a.png,\xff\n")
    with pytest.raises(UserError, match=r"is not text .*wanted a \.mat, \.csv or \.txt"):
        read_scores(tmp_path / "x.csv")
