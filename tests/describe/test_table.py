"""text/des.csv keeps every text as it is, joins by name, and refuses what is missing or ambiguous."""

import csv
import multiprocessing

import pytest

from mmifn.core.errors import UserError
from mmifn.describe.table import COLUMNS, Row, read_descriptions, read_rows, upsert, write_rows

HARD = ["=SUM(A1:A2)", "+1 step", "-blurry-", "@home", 'He said "fair", twice', "two\nlines", "two\r\nlines", "a\rb",
        "模糊，噪声明显。", "Très bruitée — ça se voit", "NA", "null", "  spaces kept  ", "a,b;c\td", "'quoted'", "1e5"]


def test_hard_texts_survive_a_round_trip(tmp_path):
    path = tmp_path / "des.csv"
    rows = [Row("DS", f"{i}.png", text, "vlm") for i, text in enumerate(HARD)]
    write_rows(path, rows)
    upsert(path, [Row("OTHER", "x.png", "plain words here")])
    assert [row.description for row in read_rows(path)] == [*HARD, "plain words here"]
    with open(path, encoding="utf-8", newline="") as file:  # an independent reader sees the same
        assert [row["description"] for row in csv.DictReader(file)][:len(HARD)] == HARD


def test_bom_crlf_and_minimal_columns_are_read(tmp_path):
    path = tmp_path / "des.csv"
    path.write_bytes('\ufeffimage_name,description\r\na.png,"one, ""two""\r\nthree"\r\nb.png,=four\r\n'.encode())
    assert read_descriptions(path, "DS", ["b.png", "a.png"]) == {"b.png": "=four", "a.png": 'one, "two"\r\nthree'}
    upsert(path, [Row("DS", "b.png", "five words", "measured")])
    assert path.read_bytes().startswith(b"dataset,image_name")
    assert read_descriptions(path, "DS", ["a.png", "b.png"]) == {"a.png": 'one, "two"\r\nthree', "b.png": "five words"}


def test_upsert_replaces_in_place_and_leaves_the_rest(tmp_path):
    path = tmp_path / "text" / "des.csv"
    write_rows(path, [Row("A", "1.png", "a one", extra={"note": "mine"}), Row("B", "1.png", "b one")])
    upsert(path, [Row("A", "1.png", "new one", "measured"), Row("A", "2.png", "two", "measured", viewport="03")])
    assert [(row.dataset, row.image_name, row.viewport, row.description) for row in read_rows(path)] == [
        ("A", "1.png", "", "new one"), ("B", "1.png", "", "b one"), ("A", "2.png", "03", "two")]


def test_columns_of_others_are_carried_along(tmp_path):
    path = tmp_path / "des.csv"
    path.write_text("image_name,rater,description\n1.png,Ann,some words\n")
    upsert(path, [Row("A", "2.png", "two words", "vlm")])
    found = read_rows(path)
    assert found[0].extra == {"rater": "Ann"} and found[0].description == "some words"
    assert path.read_text().splitlines()[0] == ",".join([*COLUMNS, "rater"])


def test_missing_and_ambiguous_come_in_one_message(tmp_path):
    path = tmp_path / "des.csv"
    write_rows(path, [Row("", "both.png", "words"), Row("DS", "twice.png", "one"), Row("DS", "twice.png", "two"),
                      Row("DS", "blank.png", "  "), Row("DS", "view.png", "of a view", viewport="00")])
    with pytest.raises(UserError) as caught:
        read_descriptions(path, "DS", ["both.png", "twice.png", "blank.png", "view.png", "none.png"],
                          others={"DS": ["both.png"], "OTHER": ["both.png"]})
    message = str(caught.value)
    assert "lacks 3 of the 5" in message and "blank.png" in message and "view.png" in message and "none.png" in message
    assert "python generate_text.py --dataset DS" in message
    assert "twice.png: 2 rows" in message and "both.png: its row names no dataset, and OTHER" in message


def test_a_row_naming_the_dataset_wins(tmp_path):
    path = tmp_path / "des.csv"
    write_rows(path, [Row("", "a.png", "of anyone"), Row("DS", "a.png", "of DS"), Row("X", "a.png", "of X")])
    others = {"DS": ["a.png"], "X": ["a.png"]}
    assert read_descriptions(path, "DS", ["a.png"], others=others) == {"a.png": "of DS"}
    assert read_descriptions(path, "Y", ["a.png"]) == {"a.png": "of anyone"}


@pytest.mark.parametrize(("content", "words"), [
    (b"image_name;description\na;b\n", "separated by ';'"),
    (b"name,text\na,b\n", "lacks the column(s) image_name, description"),
    (b"", "lacks the column(s)"),
    (b"image_name,description\na.png,b,c\n", "line 2: 3 values for 2 columns"),
    ("image_name,description\na,caf\u00e9\n".encode("latin-1"), "not UTF-8"),
    (b'image_name,description\na,"open\n', "not a readable csv"),
    (b"image_name,description,description\na,b,c\n", "twice"),
])
def test_bad_files_are_refused(tmp_path, content, words):
    path = tmp_path / "des.csv"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_rows(path)
    assert words in str(caught.value) and str(path) in str(caught.value)


def _write_many(path, dataset):
    for i in range(25):
        upsert(path, [Row(dataset, f"{i}.png", "some words", "measured")])


def test_two_programs_may_write_at_once(tmp_path):
    path = tmp_path / "des.csv"
    context = multiprocessing.get_context("fork")
    jobs = [context.Process(target=_write_many, args=(path, name)) for name in "AB"]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert sorted(row.key for row in read_rows(path)) == sorted((d, f"{i}.png", "") for d in "AB" for i in range(25))
