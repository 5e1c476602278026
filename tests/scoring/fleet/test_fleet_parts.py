"""The parts of a fleet without a cluster: manifests, the folder of results, what is known of deaths, the summary, the command."""

import csv
import json
import os
import socket
import sys
from types import SimpleNamespace

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'mmifn[fleet]'")
pq = pytest.importorskip("pyarrow.parquet")

from mmifn.cli import fleet as command  # noqa: E402
from mmifn.core.errors import UserError  # noqa: E402
from mmifn.scoring.files import Task  # noqa: E402
from mmifn.scoring.fleet import actors, places, run  # noqa: E402
from mmifn.scoring.fleet.actors import Attempts, Picture, fleet_schema  # noqa: E402
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


def test_a_picture_of_two_eyes_has_a_row_for_each(tmp_path, photos):
    manifest, target = write(tmp_path / "m.csv", photos[:2]), tmp_path / "t.parquet"
    assert len(prepare(manifest, WHOLE, str(target), "stereo-tb")) == 4
    table = pq.read_table(target).to_pydict()
    assert table["id"] == ["000 (left eye)", "000 (right eye)", "001 (left eye)", "001 (right eye)"]
    assert table["part"] == [0, 1, 0, 1] and table["path"] == [str(tmp_path / photos[i][1]) for i in (0, 0, 1, 1)]
    jobs = [Picture(*where).job(Task(projection="stereo-tb")) for where in zip(table["path"], table["part"], strict=True)]
    assert [(job.label, job.piece.part, job.piece.projection) for job in jobs[:2]] == [
        (f"{tmp_path}/photos/0.jpg (left eye)", 0, "stereo-tb"), (f"{tmp_path}/photos/0.jpg (right eye)", 1, "stereo-tb")]
    assert len(prepare(manifest, WHOLE, str(target), "cubemap")) == 2
    with pytest.raises(UserError, match=r"(?s)holds 2 ids more than once; .*\n  000 \(left eye\) \(2 times\)"):
        prepare(write(tmp_path / "m.csv", [*photos[:2], photos[0]]), WHOLE, str(target), "stereo-tb")


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

    def score_batch(jobs):
        seen.extend((job.path.read_bytes(), job.path.suffix, job.label) for job in jobs)
        return [actors.failed(job, f"{job.path} is text") for job in jobs]

    monkeypatch.setattr(actors, "score_batch", score_batch)
    row, *others = actors.score([Picture(f"{place}.jpg") for place in ("memory://bucket/a", "memory://bucket/b", "nope://x/c",
                                                                      "memory://bucket/a")], Task())
    assert seen == [(b"no picture at all", ".jpg", "memory://bucket/a.jpg")]
    assert row == {"image": "memory://bucket/a.jpg", "error": "memory://bucket/a.jpg is text"}
    assert "memory://bucket/b.jpg could not be fetched (FileNotFoundError" in others[0]["error"]
    assert "nope://x/c.jpg cannot be reached" in others[1]["error"]
    assert others[2] == row and "is a video" in actors.score([Picture("memory://bucket/a.MP4")], Task())[0]["error"]
    assert actors.given_up(Picture("s3://bucket/a.jpg"), Task())["error"].startswith("s3://bucket/a.jpg: the process")
    with places.written("memory://bucket/new.txt") as stream:
        stream.write(b"text")
    assert MemoryFileSystem().cat("/bucket/new.txt") == b"text"
    assert places.local_path("file:///a%20b/c.jpg").as_posix() == "/a b/c.jpg" and not places.is_remote("file:///a")


def test_a_fault_of_the_program_costs_one_picture_and_a_lost_device_the_process(monkeypatch):
    class Ended(BaseException):
        pass

    def score_batch(jobs):
        if len(jobs) > 1 or "fault" in jobs[0].label:
            raise RuntimeError(f"{jobs[0].label}\nmore lines")
        return [actors.failed(jobs[0], "bad in itself")]

    def end(code):
        raise Ended(code)

    monkeypatch.setattr(actors, "score_batch", score_batch)
    monkeypatch.setattr(actors.os, "_exit", end)
    good, bad = actors.score([Picture("a.jpg"), Picture("fault.jpg")], Task())
    assert good["error"] == "bad in itself"
    assert "fault.jpg could not be scored (RuntimeError: fault.jpg); please report" in bad["error"]
    with pytest.raises(Ended):
        actors.score([Picture("CUDA fault.jpg")], Task())


# --- deaths ----------------------------------------------------------------------------------------------------------


class Death(BaseException):
    pass


@pytest.fixture
def scorer(monkeypatch):
    """Make a Scorer of a batch size whose image "kills" kills it, with `Attempts` called at once; it notes what it scores."""
    attempts, scored = Attempts(), []

    class Handle:
        def __getattr__(self, name):
            return type("", (), {"remote": staticmethod(getattr(attempts, name))})

    def score(pictures, task):
        scored.append("".join(picture.place[0] for picture in pictures))
        if any(picture.place == "kills" for picture in pictures):
            raise Death
        return [{"image": picture.place, "error": "none"} for picture in pictures]

    monkeypatch.setattr(actors, "score", score)
    monkeypatch.setitem(sys.modules, "ray", type("", (), {"get": staticmethod(lambda value: value)}))
    monkeypatch.setattr(Task, "identity", "m")
    return attempts, scored, lambda batch: actors.Scorer(Task(), "m", Handle(), batch)


@pytest.mark.parametrize(("batch", "wanted"), [(1, ["a", "k", "k", "b", "c", "d"]), (2, ["ak", "a", "k", "bc", "d"]),
                                               (8, ["akbcd", "a", "k", "b", "c", "d"])])  # fmt: skip
def test_an_image_over_which_its_process_dies_twice_is_given_up_and_the_others_are_scored_once(scorer, batch, wanted):
    attempts, scored, make = scorer
    paths = ["a", "kills", "b", "c", "d"]
    block = pa.table({"id": paths, "path": paths, "part": [0] * 5, KEY: [1, 2, 3, 4, 5]})
    for _ in range(2):
        with pytest.raises(Death):
            make(batch)(block)
    rows = make(batch)(block).to_pylist()
    assert scored == wanted and [row["id"] for row in rows] == paths
    assert "was killed, twice" in rows[1]["error"] and attempts.counts() == (5, 5)
    assert all(row["error"] == "none" for row in rows if row["id"] != "kills")
    assert attempts.begin(paths) == ({}, {})  # forgotten, so that memory does not grow


def test_another_model_on_a_machine_is_refused(monkeypatch):
    monkeypatch.setattr(Task, "identity", "theirs")
    with pytest.raises(UserError, match=r"another model \(theirs\) than the one that started the run \(ours\)"):
        actors.Scorer(Task(), "ours", None)


# --- the folder and the summary --------------------------------------------------------------------------------------


def test_a_folder_of_another_model_or_of_other_things_is_refused(tmp_path):
    out = str(tmp_path / "out")
    Folder(out, "m1", WHOLE).check()
    assert not (tmp_path / "out").exists()
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


@pytest.mark.parametrize("place", ["local", "there", "remote"])
def test_a_refused_manifest_leaves_no_folder_of_results(tmp_path, photos, place, monkeypatch):
    from fsspec.implementations.memory import MemoryFileSystem

    out = f"memory://results/{tmp_path.name}" if place == "remote" else str(tmp_path / "out")
    if place == "there":
        (tmp_path / "out").mkdir()
    monkeypatch.setattr(run, "require_ray", lambda: None)
    monkeypatch.setattr(run, "identity_of", lambda task, workers: "m")
    manifest = write(tmp_path / "m.csv", [*photos, photos[3]])
    for shard in (WHOLE, next(shard for shard in (Shard(1, 2), Shard(2, 2)) if shard.holds("003"))):
        with pytest.raises(UserError, match="holds 1 ids more than once"):  # and the first does not bind the second
            run.score_fleet(manifest, out, Task(), run.Fleet(), shard)
    assert [*MemoryFileSystem().find("/results")] == []
    assert (tmp_path / "out").exists() == (place == "there") and not [*tmp_path.glob("out/*")]


def test_a_shard_that_has_begun_is_left_alone_by_one_that_is_refused(tmp_path):
    first, second = (Folder(str(tmp_path / "out"), "m", Shard(i, 2)) for i in (1, 2))
    with run._alone(first):
        with pytest.raises(UserError, match="a bad manifest"), run._alone(second):
            raise UserError("a bad manifest")
        first.open()
    names = {path.name for path in (tmp_path / "out").rglob("*")}
    assert names == {"00001-of-00002.lock", "fleet.json", "manifest", "rows"}


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
    (["--batch", "0"], "--batch 0: at least 1"),
])  # fmt: skip
def test_wrong_flags_end_with_two(argv, message, tmp_path, capfd):
    assert command.main(["m.csv", "--out", str(tmp_path / "out"), *argv]) == 2
    assert message in capfd.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(("argv", "device", "wanted"), [
    ([], "cpu", run.Fleet()), (["--batch", "4"], "cpu", run.Fleet(batch=4)),
    (["--gpus-per-actor", "0.25", "--actors", "2", "8"], "cuda", run.Fleet((2, 8), gpus=0.25, batch=8)),
    (["--gpus-per-actor", "1", "--batch", "32", "--address", "auto"], "cuda", run.Fleet(gpus=1, batch=32, address="auto")),
])  # fmt: skip
def test_flags_become_a_fleet_and_a_task(argv, device, wanted, monkeypatch):
    asked = []
    said = type("", (), {"missing": 0, "doubled": 0, "failed": 0, "lines": lambda self: []})()
    monkeypatch.setattr(run, "score_fleet", lambda *args: asked.append(args) or said)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert command.main(["m.csv", "--out", "o", "--projection", "cubemap", "--pixels-per-degree", "20", *argv]) == 0
    assert asked == [("m.csv", "o", Task(device=device, projection="cubemap", headset_ppd=20.0), wanted, WHOLE)]


def test_an_actor_takes_its_share_of_a_gpu_and_its_batch(monkeypatch, tmp_path):
    ray = pytest.importorskip("ray")
    data, told = pytest.importorskip("ray.data"), {}

    class Plan:
        def repartition(self, **options):
            return self

        def map_batches(self, what, **options):
            told.update(options, what=what)
            return self

        def write_parquet(self, place, **options):
            told.update(place=place)

    context = SimpleNamespace()
    monkeypatch.setattr(data, "read_parquet", lambda place: Plan())
    monkeypatch.setattr(data.DataContext, "get_current", lambda: context)
    run._execute(ray, Folder(str(tmp_path), "m", WHOLE), Task(), run.Fleet((2, 8), 3.0, 0.25, batch=4), None)
    assert told["what"] is actors.Scorer and told["place"] == f"{tmp_path}/rows" and told["fn_constructor_kwargs"]["batch"] == 4
    assert (told["num_cpus"], told["num_gpus"], told["compute"].min_size, told["compute"].max_size) == (3.0, 0.25, 2, 8)
    assert context.max_errored_blocks == 0 and 0 < told["max_task_retries"] < told["max_restarts"]


def test_gpus_that_this_machine_lacks_are_not_waited_for(monkeypatch):
    calls = {"init": lambda **options: None, "shutdown": lambda: None, "cluster_resources": lambda: {"CPU": 4.0, "GPU": 0.5}}
    monkeypatch.setitem(sys.modules, "ray", type("", (), {name: staticmethod(call) for name, call in calls.items()}))
    with pytest.raises(UserError, match=r"has 0\.5 GPUs, 2 actors take 2; use fewer"), run._started(run.Fleet((2, 2), gpus=1.0)):
        pass
    with run._started(run.Fleet((2, 2), gpus=0.25)), run._started(run.Fleet((2, 2), gpus=1.0, address="auto")):
        pass


def test_one_process_looks_into_the_manifest(monkeypatch):
    indexers = pytest.importorskip("ray.data._internal.datasource_v2.formats.parquet.footer_file_indexer")
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(run, "_connect", lambda ray, address, options: None)
    monkeypatch.setattr(indexers, "_DEFAULT_NUM_ACTORS", 32)
    calls = {"shutdown": lambda: None, "cluster_resources": lambda: {"CPU": 9.0}}
    monkeypatch.setitem(sys.modules, "ray", type("", (), {name: staticmethod(call) for name, call in calls.items()}))
    with run._started(run.Fleet()):
        assert indexers.FooterFileIndexer(ignore_missing_paths=False)._num_actors == 1
    os.environ["RAY_DATA_PARQUET_FOOTER_NUM_ACTORS"] = "3"  # of the user's
    with run._started(run.Fleet()):
        assert indexers.FooterFileIndexer(ignore_missing_paths=False)._num_actors == 3


def test_a_cluster_that_is_not_there_is_told_at_once():
    with socket.socket() as free, pytest.raises(UserError, match=r"127\.0\.0\.1:\d+: no cluster answers \(ConnectionRefused"):
        free.bind(("127.0.0.1", 0))  # and does not listen
        run._connect(None, f"127.0.0.1:{free.getsockname()[1]}", {})
    with pytest.raises(UserError, match=r"ray://127\.0\.0\.1:99999: no cluster answers"):
        run._connect(None, "ray://127.0.0.1:99999", {})


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


def test_damaged_rows_and_notes_of_what_is_done_are_named(tmp_path):
    folder = Folder(str(tmp_path / "out"), "m", WHOLE)
    folder.open()
    table = to_table([], fleet_schema())
    for place, read in ((folder.rows, lambda: next(folder.results(np.empty(0, np.int64)))), (folder.checkpoint, folder.done)):
        os.makedirs(place, exist_ok=True)
        path = os.path.join(place, "a.parquet")
        pq.write_table(table, path)
        assert len(read()) == 0
        with open(path, "r+b") as file:
            file.write(b"nothing")
            file.truncate(40)
        with pytest.raises(UserError, match=f"{place} cannot be read .*bring the damaged file back"):
            read()
