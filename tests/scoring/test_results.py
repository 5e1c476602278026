"""Results stream, survive a kill at any byte, are found again, and never take the place of something else."""

import csv
import json
import os

import pytest

from mmifn.core.errors import UserError
from mmifn.core.files import sha256_file
from mmifn.scoring.index import ImageFile
from mmifn.scoring.prediction import Prediction, columns
from mmifn.scoring.results import ResultFile

COLUMNS = columns()
MODEL = "0123456789abcdef"


@pytest.fixture
def images(tmp_path):
    """Three files by label; their content is all that counts here."""
    found = {}
    for label in ("a.jpg", "sub/größe 图.png", 'odd, "name".jpg'):
        path = tmp_path / "images" / label
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(label.encode())
        found[label] = path
    return found


@pytest.fixture(params=["json", "csv"])
def kind(request):
    return request.param


def opened(path, images, model=MODEL, columns=COLUMNS, verify=False):
    """Open a file as a run about some images does: what no longer holds is dropped."""
    file = ResultFile(path, model, columns if path.suffix == ".csv" else None, verify)
    places = {label: file.find(label, ImageFile(image)) for label, image in images.items()}
    file.drop_stale()
    places = {label: file.find(label, ImageFile(image)) for label, image in images.items() if places[label] is not None}
    file.done = {label: file.row(place) for label, place in places.items()}
    return file


def row_of(label, images, model=MODEL, **changes):
    row = {"image": label, "score": 61.25, "quality": "good", "low": 50.0, "high": 72.5, "level": 0.9, "ceiling": 64.1235,
           "judged_px": 2048, "covered": 0.8765, "heading_deg": 120.5,
           "worst_lon_deg": -180.0,
           "worst_lat_deg": 10.8, "worst_score": 40.0, "worst_words": ["soft, stronger than elsewhere.", "clean"],
           "description": 'Soft; "blurred",\nand noisy. 图像模糊\u2028 Ende.',
           "warnings": [], "fov_deg": 40.0, "viewports": [[-180.0, 10.8, 40.0], [0.0, 52.6, 82.5]],
           "image_sha256": sha256_file(images[label]), "model": model,
           "image_bytes": images[label].stat().st_size, "image_modified_us": images[label].stat().st_mtime_ns // 1000}
    return row | changes


def fill(path, images, rows=None, **kwargs):
    file = opened(path, images, **kwargs)
    for row in [row_of(label, images) for label in images] if rows is None else rows:
        file.add(row)
    file.close()


def images_in(path):
    if path.suffix == ".csv":
        with open(path, encoding="utf-8", newline="") as file:
            return [row["image"] for row in csv.DictReader(file)]
    return [json.loads(line)["image"] for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_rows_come_back_as_they_were(tmp_path, images, kind):
    path = tmp_path / f"r.{kind}"
    plain, odd, _ = images
    rows = [row_of(plain, images), row_of(odd, images, warnings=["no, not\nthis", "größe"], low=None, high=None, level=None)]
    fill(path, images, rows)
    file = opened(path, images)
    file.close()
    assert file.done == {row["image"]: row for row in rows}
    assert Prediction.from_row(file.done[odd]).warnings == ("no, not\nthis", "größe")
    assert Prediction.from_row(file.done[odd]).interval is None
    assert Prediction.from_row(file.done[plain]).viewports[0].lon_deg == -180.0


def test_other_programs_read_the_files(tmp_path, images):
    fill(tmp_path / "r.csv", images)
    fill(tmp_path / "r.json", images)
    assert images_in(tmp_path / "r.csv") == images_in(tmp_path / "r.json") == list(images)
    import pandas as pd

    table = pd.read_csv(tmp_path / "r.csv")
    assert table["score"].tolist() == [61.25] * 3 and table.columns.tolist() == COLUMNS
    assert "图像模糊" in (tmp_path / "r.json").read_text(encoding="utf-8")


def test_every_row_is_there_at_once(tmp_path, images, kind):
    path = tmp_path / f"r.{kind}"
    file = opened(path, images)
    for count, label in enumerate(images, start=1):
        file.add(row_of(label, images))
        assert len(images_in(path)) == count  # before the file is closed
    file.close()


def test_a_kill_at_any_byte_loses_one_row_at_most(tmp_path, images, kind):
    path = tmp_path / f"r.{kind}"
    file = opened(path, images)
    ends = [path.stat().st_size]
    for label in images:
        file.add(row_of(label, images))
        ends.append(path.stat().st_size)
    file.close()
    content = path.read_bytes()
    for size in sorted({*range(ends[0], ends[-1] + 1, 7), *ends, *(end - 1 for end in ends[1:])}):
        path.write_bytes(content[:size])
        file = opened(path, images)
        file.close()
        whole = sum(end <= size for end in ends[1:])
        assert list(file.done) == list(images)[:whole], size
        assert images_in(path) == list(images)[:whole]


def test_after_a_kill_the_rest_is_appended(tmp_path, images, kind):
    path = tmp_path / f"r.{kind}"
    fill(path, images)
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    fill(path, images, [row_of(list(images)[-1], images)])
    assert path.read_bytes() == content


def test_a_changed_image_is_scored_anew(tmp_path, images, kind):
    path = tmp_path / f"r.{kind}"
    fill(path, images)
    images["a.jpg"].write_bytes(b"other pixels")
    file = opened(path, images)
    file.close()
    assert list(file.done) == list(images)[1:] == images_in(path)


def test_the_time_alone_changes_nothing_and_verify_sees_what_it_hides(tmp_path, images, kind):
    path, image = tmp_path / f"r.{kind}", images["a.jpg"]
    fill(path, images)
    os.utime(image, ns=(0, 0))  # looked at, found to be the same, kept
    opened(path, images).close()
    assert len(images_in(path)) == 3
    times = {label: file.stat().st_mtime_ns for label, file in images.items()}
    (label, odd), content = list(images.items())[1], list(images.values())[1].read_bytes()
    odd.write_bytes(content.swapcase())
    os.utime(odd, ns=(times[label], times[label]))
    opened(path, images).close()
    assert len(images_in(path)) == 3
    opened(path, images, verify=True).close()
    assert len(images_in(path)) == 2 and label not in images_in(path)


def test_nothing_is_written_again_where_all_rows_hold(tmp_path, images, kind):
    path = tmp_path / f"r.{kind}"
    fill(path, images)
    before = path.stat()
    opened(path, images).close()
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_rows_of_versions_without_stamps_are_known_by_content(tmp_path, images, kind):
    path = tmp_path / f"r.{kind}"
    rows = [{key: value for key, value in row_of(label, images).items() if key not in ("image_bytes", "image_modified_us")}
            for label in images]
    fill(path, images, rows, columns=[name for name in COLUMNS if name not in ("image_bytes", "image_modified_us")])
    file = opened(path, images)
    file.close()
    assert list(file.done) == list(images)


def test_another_model_scores_all_anew(tmp_path, images, kind):
    path = tmp_path / f"r.{kind}"
    fill(path, images)
    file = opened(path, images, model="f" * 16)
    file.close()
    assert file.done == {} and images_in(path) == []


def test_an_image_that_is_gone_is_not_done(tmp_path, images, kind):
    path = tmp_path / f"r.{kind}"
    fill(path, images)
    images["a.jpg"].unlink()
    file = opened(path, images)
    file.close()
    assert "a.jpg" not in file.done and len(file.done) == 2


def test_rows_of_other_images_stay(tmp_path, images, kind):
    path = tmp_path / f"r.{kind}"
    fill(path, images)
    one = {"a.jpg": images["a.jpg"]}
    file = opened(path, one, model="f" * 16)  # another model: a.jpg is scored anew, the others are not looked at
    file.add(row_of("a.jpg", images, "f" * 16))
    file.close()
    assert sorted(images_in(path)) == sorted(images)
    file = opened(path, images)
    file.close()
    assert sorted(file.done) == sorted(set(images) - {"a.jpg"})


def test_columns_of_other_rows_stay(tmp_path, images):
    path = tmp_path / "r.csv"
    fill(path, images, [row_of("a.jpg", images, ws_psnr=31.5, note="keep me")], columns=[*COLUMNS, "ws_psnr", "note"])
    others = {label: path for label, path in images.items() if label != "a.jpg"}
    fill(path, others, [row_of(label, images) for label in others])
    with open(path, encoding="utf-8", newline="") as file:
        first, second, _ = csv.DictReader(file)
    assert (first["ws_psnr"], first["note"]) == ("31.5", "keep me") and second["ws_psnr"] == ""


def test_errors_stand_in_json_only_and_are_tried_again(tmp_path, images, kind):
    path = tmp_path / f"r.{kind}"
    failed = {"image": "a.jpg", "error": "a.jpg is truncated"}
    fill(path, images, [failed])
    assert images_in(path) == (["a.jpg"] if kind == "json" else [])
    file = opened(path, images)
    file.close()
    assert file.done == {} and images_in(path) == []


def test_an_empty_file_and_none_are_filled(tmp_path, images, kind):
    path = tmp_path / "new" / f"r.{kind}"
    fill(path, images)
    before = path.read_bytes()
    path.write_bytes(b"")
    fill(path, images)
    assert path.read_bytes() == before


FOREIGN = {
    "json": ["{}\n", '[{"image": "a.jpg"}]\n', '{"image": "a.jpg", "label": 3}\n', "hello\n", "hello", '{"image": 3', "[\n]\n",
             '{"image": "a.jpg", "score": 4.0}\n', '{"image": "a.jpg", "error": "x"}\nnotes\n'],
    "csv": ["image,label\na.jpg,3\n", "a,b\n1,2\n", "image\na.jpg\n", "hello\n", "hello", "\n\n",
            "image,score,image_sha256,model\na,1,b,c\n", '"' + "x" * 200_000 + '"\n'],
}  # fmt: skip


@pytest.mark.parametrize(("field", "value", "words"), [
    ("score", "61,25", r"a\.jpg: score is '61,25'"), ("score", None, "score is 'None'"), ("score", "good", "score is 'good'"),
    ("low", "x", "low is 'x'"), ("fov_deg", None, "fov_deg is 'None'"), ("viewports", "none", "viewports is 'none'"),
    ("warnings", 3, "warnings is '3'"),
])  # fmt: skip
def test_a_cell_of_another_kind_is_named_and_the_file_stays(tmp_path, images, kind, field, value, words):
    path = tmp_path / f"r.{kind}"
    fill(path, images, [row_of("a.jpg", images)])
    if kind == "json":
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {field: value}) + "\n", encoding="utf-8")
    else:
        with open(path, encoding="utf-8", newline="") as file:
            (row,) = csv.DictReader(file)
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            writer.writeheader()
            writer.writerow(row | {field: "" if value is None else value})
    before = path.read_bytes()
    with pytest.raises(UserError, match=f"holds no results.*{words}"):
        opened(path, images)
    assert path.read_bytes() == before


@pytest.mark.parametrize("views", [[], [[1.0, 2.0]], [[1.0, 2.0, "x"]], [3], ["abc"]])
def test_a_row_of_damaged_views_makes_no_prediction(images, views):
    with pytest.raises(UserError, match=r"the row of a\.jpg in a file of results is damaged"):
        Prediction.from_row(row_of("a.jpg", images, viewports=views))


def test_texts_that_a_spreadsheet_would_run_are_written_as_text(tmp_path, images):
    images["=cmd.jpg"] = images["a.jpg"]
    rows = [row_of("=cmd.jpg", images, description="-1+2 or @home", warnings=["=1"], low=-3.5)]
    fill(tmp_path / "r.csv", images, rows)
    with open(tmp_path / "r.csv", encoding="utf-8", newline="") as file:
        (cells,) = csv.DictReader(file)
    assert (cells["image"], cells["description"], cells["low"]) == ("'=cmd.jpg", "'-1+2 or @home", "-3.5")
    file = opened(tmp_path / "r.csv", images)
    file.close()
    assert [row["image"] for row in file.rows()] == ["=cmd.jpg"] and next(file.rows())["description"] == "-1+2 or @home"


def test_two_tables_in_one_file_are_read(tmp_path, images):
    path = tmp_path / "r.csv"
    fill(path, images)
    path.write_bytes(path.read_bytes() * 2)
    file = opened(path, images)
    file.close()
    assert sorted(images_in(path)) == sorted(images)


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in FOREIGN.items() for text in texts], indirect=["kind"])
def test_foreign_files_are_refused_and_stay_as_they_are(tmp_path, images, kind, text):
    path = tmp_path / f"r.{kind}"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"holds no results of predict\.py; name another file"):
        opened(path, images)
    assert path.read_text(encoding="utf-8") == text


def test_pictures_folders_and_the_other_format_are_refused(tmp_path, images, kind):
    path, other = tmp_path / f"r.{kind}", tmp_path / f"r.{'csv' if kind == 'json' else 'json'}"
    fill(other, images)
    for content in (b"\x89PNG\r\n\x1a\n\0\xff\xfe", other.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(UserError, match="holds no results"):
            opened(path, images)
        assert path.read_bytes() == content
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="is a folder, not a file"):
        opened(path, images)
