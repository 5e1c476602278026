"""The parts of a fleet without a cluster: manifests, the folder of results, what is known of deaths, the summary, the command."""

import csv
import json
import os

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'mmifn[fleet]'")
pq = pytest.importorskip("pyarrow.parquet")

from mmifn.cli import fleet as command  # noqa: E402
from mmifn.core.errors import UserError  # noqa: E402
from mmifn.scoring.files import Task  # noqa: E402
from mmifn.scoring.fleet import actors, places, run  # noqa: E402
from mmifn.scoring.fleet.actors import Attempts, fleet_schema  # noqa: E402
from mmifn.scoring.fleet.folder import Folder  # noqa: E402
from mmifn.scoring.fleet.manifest import KEY, key_of, prepare  # noqa: E402
from mmifn.scoring.fleet.summary import Summary, reason  # noqa: E402
from mmifn.scoring.listing import WHOLE, Shard  # noqa: E402
from mmifn.scoring.parquet import to_table  # noqa: E402


@pytest.fixture
def photos(tmp_path):
    """A folder with thirty files and their rows of a manifest."""
    (tmp_path / "photos").mkdir()
    for i in range(30):
        (tmp_path / "photos" / f"{i}.jpg").write_text(str(i))
    return [(f"{i:03d}", f"photos/{i}.jpg") for i in range(30)]


def write(path, rows, header=("id", "path")):
    if path.suffix == ".csv":
        with open(path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
    else:
        pq.write_table(pa.table(dict(zip(header, zip(*rows, strict=True), strict=True))), path)
    return str(path)


# --- the manifest ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
def test_a_manifest_is_checked_and_written_with_absolute_paths(tmp_path, photos, name, monkeypatch):
    manifest = write(tmp_path / name, photos)
    monkeypatch.chdir(tmp_path.parent)
    keys = prepare(os.path.relpath(manifest), WHOLE, str(tmp_path / "new" / "t.parquet"))
    table = pq.read_table(tmp_path / "new" / "t.parquet").to_pydict()
    assert table["id"] == [name for name, _ in photos]  # "000", not the number 0
    assert table["path"] == [str(tmp_path / path) for _, path in photos]
    assert sorted(table[KEY]) == keys.tolist() and len(set(keys.tolist())) == 30 and all(0 <= key < 2**63 for key in keys)


def test_shards_of_a_manifest_are_all_of_it(tmp_path, photos):
    manifest = write(tmp_path / "m.csv", photos)
    parts = []
    for number in (1, 2, 3):
        prepare(manifest, Shard(number, 3), str(tmp_path / "t.parquet"))
        parts += pq.read_table(tmp_path / "t.parquet")["id"].to_pylist()
    assert sorted(parts) == [name for name, _ in photos]


@pytest.mark.parametrize(("rows", "header", "message"), [
    ([("a", "b")], ("name", "path"), "has no column id; wanted id and path .* found name, path"),
    ([("a", "b")], ("id", "uri"), "has no column path"),
    ([("a", "b")], ("name", "uri"), "has no column id and no column path"),
    ([("a", "photos/1.jpg"), ("b", "photos/2.jpg"), ("a", "photos/3.jpg"), ("a", "photos/1.jpg")], ("id", "path"),
     "holds 1 ids more than once; .*\n  a \\(3 times\\)"),
    ([("a", "photos/1.jpg"), ("", "photos/2.jpg")], ("id", "path"), "row 2 has no id"),
    ([("a", "photos/1.jpg"), ("b", "")], ("id", "path"), "row 2 has no path"),
    ([("a", "none.jpg"), ("b", "nope://x/y.jpg")], ("id", "path"),
     "none of the first 2 images .*\n  a: .*none.jpg does not exist\n  b: "),
    ([], ("id", "path"), "holds no images"),
])  # fmt: skip
def test_a_manifest_that_cannot_be_scored_is_refused_and_nothing_written(tmp_path, photos, rows, header, message):
    manifest = write(tmp_path / "m.csv", rows, header)
    with pytest.raises(UserError, match=message):
        prepare(manifest, WHOLE, str(tmp_path / "t.parquet"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.csv", "photos"]


@pytest.mark.parametrize("content", [b"hello", b""])
def test_what_is_no_manifest_is_refused(tmp_path, content):
    (tmp_path / "m.parquet").write_bytes(content)
    for path in (tmp_path / "m.parquet", tmp_path / "none.csv"):
        with pytest.raises(UserError, match="cannot be read as a manifest"):
            prepare(str(path), WHOLE, str(tmp_path / "t.parquet"))


def test_two_ids_of_one_hash_are_told(tmp_path, photos, monkeypatch):
    from mmifn.scoring.fleet import manifest

    monkeypatch.setattr(manifest, "key_of", lambda name: 7 if name in ("001", "002") else key_of(name))
    with pytest.raises(UserError, match="001 and 002, which have one hash"):
        prepare(write(tmp_path / "m.csv", photos), WHOLE, str(tmp_path / "t.parquet"))


# --- pictures from elsewhere -----------------------------------------------------------------------------------------


def test_a_picture_of_another_file_system_is_copied_and_its_errors_name_its_address(tmp_path, monkeypatch):
    from fsspec.implementations.memory import MemoryFileSystem

    MemoryFileSystem().pipe("/bucket/a.jpg", b"no picture at all")
    seen = []

    def score_job(job):
        seen.append((job.path.read_bytes(), job.path.suffix, job.label))
        return actors.failed(job, f"{job.path} is text")

    monkeypatch.setattr(actors, "score_job", score_job)
    row = actors.score("memory://bucket/a.jpg", Task())
    assert seen == [(b"no picture at all", ".jpg", "memory://bucket/a.jpg")]
    assert row == {"image": "memory://bucket/a.jpg", "error": "memory://bucket/a.jpg is text"}
    assert "could not be fetched (FileNotFoundError" in actors.score("memory://bucket/b.jpg", Task())["error"]
    assert "cannot be reached" in actors.score("nope://bucket/b.jpg", Task())["error"]
    with places.written("memory://bucket/new.txt") as stream:
        stream.write(b"text")
    assert MemoryFileSystem().cat("/bucket/new.txt") == b"text"
    assert places.local_path("file:///a%20b/c.jpg").as_posix() == "/a b/c.jpg" and not places.is_remote("file:///a")


def test_a_fault_of_the_program_costs_one_picture_and_a_lost_device_the_process(monkeypatch):
    class Ended(BaseException):
        pass

    def score_job(job):
        raise RuntimeError(f"{job.label}\nmore lines")

    def end(code):
        raise Ended(code)

    monkeypatch.setattr(actors, "score_job", score_job)
    monkeypatch.setattr(actors.os, "_exit", end)
    assert "a.jpg could not be scored (RuntimeError: a.jpg); please report" in actors.score("a.jpg", Task())["error"]
    with pytest.raises(Ended):
        actors.score("CUDA error.jpg", Task())


# --- deaths ----------------------------------------------------------------------------------------------------------


def test_an_image_over_which_its_process_dies_twice_is_given_up_and_the_others_are_scored_once(monkeypatch):
    attempts, scored = Attempts(), []

    class Death(BaseException):
        pass

    class Handle:
        """Stands for Ray's: calls at once."""

        def __getattr__(self, name):
            return type("", (), {"remote": staticmethod(getattr(attempts, name))})

    def score(place, task):
        scored.append(place)
        if place == "kills":
            raise Death
        return {"image": place, "error": "none"}

    monkeypatch.setattr(actors, "score", score)
    monkeypatch.setitem(__import__("sys").modules, "ray", type("", (), {"get": staticmethod(lambda value: value)}))
    monkeypatch.setattr(Task, "identity", "m")
    paths = ["a", "kills", "b", "c"]
    block = pa.table({"id": paths, "path": paths, KEY: [1, 2, 3, 4]})
    for _ in range(2):
        with pytest.raises(Death):
            actors.Scorer(Task(), "m", Handle())(block)
    rows = actors.Scorer(Task(), "m", Handle())(block).to_pylist()
    assert scored == ["a", "kills", "kills", "b", "c"] and [row["id"] for row in rows] == paths
    assert "was killed, twice" in rows[1]["error"] and attempts.counts() == (4, 4)
    assert attempts.begin(paths) == ({}, {})  # forgotten, so that memory does not grow


def test_another_model_on_a_machine_is_refused(monkeypatch):
    monkeypatch.setattr(Task, "identity", "theirs")
    with pytest.raises(UserError, match=r"another model \(theirs\) than the one that started the run \(ours\)"):
        actors.Scorer(Task(), "ours", None)


# --- the folder and the summary --------------------------------------------------------------------------------------


def test_a_folder_of_another_model_or_of_other_things_is_refused(tmp_path):
    out = str(tmp_path / "out")
    Folder(out, "m1", WHOLE).open()
    Folder(out, "m1", WHOLE).open()
    for folder, message in ((Folder(out, "m2", WHOLE), "results of another model: found m1, this run has m2"),
                            (Folder(out, "m1", Shard(1, 2)), "another number of shards: found 1, this run has 2")):
        with pytest.raises(UserError, match=message):
            folder.open()
    assert json.loads((tmp_path / "out" / "fleet.json").read_text())["model"] == "m1"
    (tmp_path / "out" / "fleet.json").write_text("{")
    with pytest.raises(UserError, match=r"fleet\.json is damaged"):
        Folder(out, "m1", WHOLE).open()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "my.txt").touch()
    (tmp_path / "file").touch()
    for name, message in (("notes", "holds my.txt, which is not of a fleet"), ("file", "is a file; name a folder")):
        with pytest.raises(UserError, match=message):
            Folder(str(tmp_path / name), "m1", WHOLE).open()
    assert "m1/00003-of-00016" in Folder(out, "m1", Shard(3, 16)).checkpoint  # the model is part of it


def test_a_folder_has_one_run_at_a_time(tmp_path):
    folder = Folder(str(tmp_path / "out"), "m", WHOLE)
    with run._alone(folder):
        with pytest.raises(UserError, match="another run"), run._alone(folder):
            pass
        with run._alone(Folder(str(tmp_path / "other"), "m", WHOLE)):
            pass
    with run._alone(folder):
        pass


def test_only_what_is_safely_written_is_done(tmp_path):
    folder = Folder(str(tmp_path / "out"), "m", WHOLE)
    folder.open()
    assert folder.done().tolist() == []
    place = tmp_path / "out" / "checkpoint" / "m" / "all"
    place.mkdir(parents=True)
    pq.write_table(pa.table({KEY: [5, 7]}), place / "a.parquet")
    pq.write_table(pa.table({KEY: [9]}), place / "b.pending.parquet")
    assert sorted(folder.done().tolist()) == [5, 7]


def test_the_summary_counts_scores_reasons_and_what_is_not_whole(tmp_path):
    folder = Folder(str(tmp_path / "out"), "m", WHOLE)
    folder.open()
    scores = [5.0, 61.0, 62.5, 69.9, 100.0]
    rows = [{"id": str(i), KEY: i, "image": f"{i}.jpg", "score": score} for i, score in enumerate(scores)]
    rows += [{"id": str(i), KEY: i, "image": f"/x/{i}.jpg", "error": f"/x/{i}.jpg is 30{i}x200 (aspect 1.5); wanted 2:1"}
             for i in (5, 6)]
    rows += [{"id": "7", KEY: 7, "image": "7.jpg", "error": "7.jpg does not exist"}, rows[0], {"id": "99", KEY: 99, "score": 1.0}]
    pq.write_table(to_table(rows, fleet_schema()), tmp_path / "out" / "rows" / "a.parquet")
    found = Summary(folder, np.arange(9))
    assert (found.wanted, found.failed, found.missing, found.doubled) == (9, 3, 1, 1)
    assert found.histogram.tolist() == [2, 0, 0, 0, 0, 0, 3, 0, 0, 1]  # 0 stands there twice; 99 is not of this run
    assert found.reasons == {"is x": 2, "does not exist": 1}
    text = "\n".join(found.lines())
    assert "6 of 9 scored, 3 could not be" in text and "1 rows are missing, 1 are there more than once" in text
    error = "s3://b/a.jpg is truncated or damaged (OSError: 17 bytes); replace the file"
    assert reason(error, "s3://b/a.jpg") == "is truncated or damaged"


def test_progress_is_a_line():
    assert run.progress(500, 3, 2000, 250.0) == "500 of 2,000 (25.0 %), 2.00 a second, 0.2 hours left, 3 could not be scored"
    assert run.progress(0, 0, 10, 5.0).endswith("loading the model")


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("argv", "message"), [
    (["--actors", "0"], "--actors 0: at least 1"), (["--actors", "3", "2"], "wanted their number, or the fewest and the most"),
    (["--actors", "1", "2", "3"], "wanted their number"), (["--block-rows", "0"], "--block-rows 0: at least 1"),
    (["--cpus-per-actor", "0"], "must be above 0"), (["--shard", "5/4"], "out of range"),
])  # fmt: skip
def test_wrong_flags_end_with_two(argv, message, tmp_path, capfd):
    assert command.main(["m.csv", "--out", str(tmp_path / "out"), *argv]) == 2
    assert message in capfd.readouterr().err and not (tmp_path / "out").exists()


def test_without_ray_it_says_what_to_install(tmp_path, capfd, monkeypatch):
    find = run.importlib.util.find_spec
    monkeypatch.setattr(run.importlib.util, "find_spec", lambda name: None if name == "ray" else find(name))
    assert command.main(["m.csv", "--out", str(tmp_path / "out")]) == 2
    assert "pip install 'mmifn[fleet]'" in capfd.readouterr().err


def test_the_first_cause_is_told_of_an_error_that_others_have_wrapped():
    text = ("ray::MapWorker.__init__ (pid=7)\n  File \"x.py\", line 3, in f\n    raise UserError('x')\n"
            "mmifn.core.errors.UserError: this machine has another model\nThe above exception was the direct cause")
    assert run._cause(RuntimeError(text)) == "this machine has another model"
    assert run._cause(ValueError()) == "ValueError"
