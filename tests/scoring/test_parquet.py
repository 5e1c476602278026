"""Results in Parquet: the same values as in JSON, errors beside them, nothing lost by a stop, nothing written twice."""

import json
from contextlib import closing

import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install 'mmifn[parquet]'")

from mmifn.core.errors import UserError  # noqa: E402
from mmifn.core.files import sha256_file  # noqa: E402
from mmifn.scoring import parquet  # noqa: E402
from mmifn.scoring.index import ImageFile  # noqa: E402
from mmifn.scoring.listing import WHOLE, Shard  # noqa: E402
from mmifn.scoring.parquet import ParquetResults  # noqa: E402

MODEL = "0123456789abcdef"


@pytest.fixture
def images(tmp_path):
    """Five files by label; their content is all that counts here."""
    (tmp_path / "images").mkdir()
    found = {f"{name}.jpg": tmp_path / "images" / name for name in ("a", "b", "größe 图", "d", "e")}
    for label, path in found.items():
        path.write_text(label)
    return found


@pytest.fixture(params=["r.parquet", "parts"])
def place(request, tmp_path):
    return tmp_path / request.param


def row_of(label, images, model=MODEL, **changes):
    stat = images[label].stat()
    return {"image": label, "score": 61.2346, "quality": "good", "low": 50.1234, "high": None, "level": 0.9, "ceiling": 64.1235,
            "judged_px": 2048, "covered": 0.8765, "heading_deg": 120.5,
            "worst_lon_deg": -180.0, "worst_lat_deg": 10.8123, "worst_score": 12.3457, "worst_words": ["soft", "clean"],
            "description": "Soft;\n“blurred” 图\u2028", "warnings": [], "fov_deg": 40.0,
            "viewports": [[-180.0, 10.8123, 40.0], [72.0, -10.8, 12.3457]], "image_sha256": sha256_file(images[label]),
            "model": model, "image_bytes": stat.st_size, "image_modified_us": stat.st_mtime_ns // 1000} | changes


def run(place, images, model=MODEL, stop=None, shard=WHOLE, verify=False):
    """Do what predict.py does with a file of results; return the labels that were scored. stop: after so many, as if killed."""
    results = ParquetResults(place, model, verify=verify, shard=shard)
    try:
        for label, path in images.items():
            results.find(label, ImageFile(path))
        results.drop_stale()
        todo = [label for label, path in images.items() if results.find(label, ImageFile(path)) is None]
        for label in todo[:stop]:
            results.add(row_of(label, images, model))
        if stop is None:
            results.finish()
    finally:
        results.close()
    return todo[:stop]


def rows_in(place):
    return pq.read_table(place).to_pylist()


def test_values_are_those_of_json(place, images):
    results = ParquetResults(place, MODEL)
    results.add(row_of("a.jpg", images))
    results.add({"image": "b.jpg", "error": "b.jpg is truncated"})
    results.finish()
    results.close()
    good, bad = rows_in(place)
    wanted = row_of("a.jpg", images)
    views = [[view["lon_deg"], view["lat_deg"], view["score"]] for view in good.pop("viewports")]
    assert views == wanted.pop("viewports") and good == wanted | {"error": None}
    assert (bad["image"], bad["error"], bad["score"], bad["viewports"]) == ("b.jpg", "b.jpg is truncated", None, None)
    again = ParquetResults(place, MODEL)
    assert again.row(again.find("a.jpg", ImageFile(images["a.jpg"]))) == row_of("a.jpg", images)
    assert again.find("b.jpg", ImageFile(images["b.jpg"])) is None  # what failed is tried again
    again.close()


def test_a_stop_loses_nothing_and_what_is_done_is_not_done_again(place, images, monkeypatch):
    monkeypatch.setattr(parquet, "ROWS_A_PART", 2)
    assert run(place, images, stop=3) == ["a.jpg", "b.jpg", "größe 图.jpg"]
    assert run(place, images) == ["d.jpg", "e.jpg"]
    assert sorted(row["image"] for row in rows_in(place)) == sorted(images)
    written = {path: path.stat().st_mtime_ns for path in (place.iterdir() if place.is_dir() else [place])}
    assert run(place, images) == []
    assert written == {path: path.stat().st_mtime_ns for path in written}
    assert not [path for path in place.parent.rglob("*journal*")]
    if place.suffix != ".parquet":
        assert [len(pq.read_table(path)) for path in sorted(written)] == [2, 2, 1]


def test_changed_images_and_another_model_take_the_place_of_rows(place, images, monkeypatch):
    monkeypatch.setattr(parquet, "ROWS_A_PART", 2)
    run(place, images)
    images["b.jpg"].write_text("other pixels")
    assert run(place, images) == ["b.jpg"]
    assert sorted(row["image"] for row in rows_in(place)) == sorted(images)
    few = {label: images[label] for label in ("a.jpg", "d.jpg")}
    assert run(place, few, model="f" * 16) == list(few)
    assert {row["image"] for row in rows_in(place) if row["model"] == "f" * 16} == set(few) and len(rows_in(place)) == 5


def test_the_time_of_modification_alone_changes_nothing_and_verify_sees_what_it_hides(place, images):
    import os

    run(place, images)
    os.utime(images["a.jpg"], ns=(0, 0))
    assert run(place, images) == []
    before = images["d.jpg"].stat()
    images["d.jpg"].write_text("D.jpg")
    os.utime(images["d.jpg"], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run(place, images) == [] and run(place, images, verify=True) == ["d.jpg"]


def test_shards_share_a_folder_and_others_are_refused(tmp_path, images):
    place, shards = tmp_path / "parts", [Shard(1, 2), Shard(2, 2)]
    for shard in shards:
        run(place, {label: path for label, path in images.items() if shard.holds(label)}, shard=shard)
    assert sorted(row["image"] for row in rows_in(place)) == sorted(images)
    for other, message in ((WHOLE, "of a run with 2 shards; this one has no shards"), (Shard(1, 3), "this one has 3 shards")):
        with pytest.raises(UserError, match=message):
            ParquetResults(place, MODEL, shard=other)
    (place / "notes.txt").touch()
    with pytest.raises(UserError, match=r"holds notes\.txt, which is not of predict\.py"):
        ParquetResults(place, MODEL, shard=shards[0])


def test_other_files_are_refused_and_stay(tmp_path, images):
    import pyarrow as pa

    path = tmp_path / "r.parquet"
    for content in (b"hello", b""):
        path.write_bytes(content)
        with pytest.raises(UserError, match="cannot be read as results"):
            ParquetResults(path, MODEL)
        assert path.read_bytes() == content
    pq.write_table(pa.table({"image": ["a.jpg"], "label": [3]}), path)
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"holds no results of predict\.py \(no columns description"):
        ParquetResults(path, MODEL)
    assert path.read_bytes() == before


@pytest.mark.parametrize("error", [pa.ArrowMemoryError("malloc of size 9 failed"), PermissionError(13, "Permission denied")])
def test_short_memory_and_missing_rights_are_no_damage(tmp_path, images, monkeypatch, error):
    def refused(*args, **kwargs):
        raise error

    run(tmp_path / "r.parquet", images)
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", refused)
    with pytest.raises(type(error)):
        ParquetResults(tmp_path / "r.parquet", MODEL)


def test_a_flipped_bit_is_found_or_changes_nothing(tmp_path, images):
    path, spoilt = tmp_path / "r.parquet", tmp_path / "s.parquet"
    run(path, images)
    content, wanted, found = path.read_bytes(), rows_in(path), 0
    for at in range(0, len(content), 41):
        spoilt.write_bytes(content[:at] + bytes([content[at] ^ 0x80]) + content[at + 1:])
        try:
            with closing(ParquetResults(spoilt, MODEL)) as results:
                rows = [results.row(i) for i in range(len(wanted))]
            assert rows == [parquet.to_row(row) for row in wanted]
        except UserError as error:
            assert "cannot be read as results" in str(error) or "holds no results" in str(error)
            found += 1
    assert found > 0.5 * len(content) / 41


def test_a_full_disk_leaves_what_was_there_and_the_journal(place, images, monkeypatch):
    run(place, {"a.jpg": images["a.jpg"]})

    def full(*args, **kwargs):
        raise OSError(28, "No space left")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        run(place, images)
    monkeypatch.undo()
    assert [row["image"] for row in rows_in(place)] == ["a.jpg"]
    (journal,) = place.parent.rglob(".*journal")
    assert len([json.loads(line) for line in journal.read_text().split("\n") if line]) == 4
    assert run(place, images) == [] and len(rows_in(place)) == 5


def test_without_pyarrow_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'mmifn\[parquet\]'"):
        ParquetResults(tmp_path / "r.parquet", MODEL)
