"""predict.py from end to end on small panoramas, with a stand-in model."""

import csv
import json
import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from stand_in import HALF_WIDTH, needs_encoders, panorama, write_model

import predict
from mmifn.core.locked import open_locked
from mmifn.data import placement
from mmifn.data.images import png_made_from, read_image
from mmifn.fullref.metrics import METRICS, ws_psnr
from mmifn.scoring import files as batch
from mmifn.scoring import viewer
from mmifn.scoring.listing import Listing
from mmifn.scoring.panorama import Predictor, open_predictor
from mmifn.scoring.prediction import Prediction, View

pytestmark = needs_encoders
NAMES = ["a.png", "größe 图.png", "sub/b.jpg"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "m.safetensors")


@pytest.fixture
def folder(tmp_path):
    """Three panoramas that close, one of them in a folder of its own."""
    place = tmp_path / "photos"
    (place / "sub").mkdir(parents=True)
    for seed, name in enumerate(NAMES):
        Image.fromarray(panorama(256, seed)).save(place / name, quality=95)
    return place


@pytest.fixture
def run(model, capfd):
    """Run predict.py; returns exit code, standard output and standard error."""

    def call(*argv):
        code = predict.main(["--checkpoint", str(model), "--device", "cpu", "--workers", "1", *map(str, argv)])
        return code, *capfd.readouterr()

    return call


@pytest.fixture
def counted(monkeypatch):
    """Count how often a panorama is scored and decoded."""
    seen = {"scored": [], "decoded": []}
    score, read = Predictor.score_sphere, placement.read_spheres
    monkeypatch.setattr(Predictor, "score_sphere",
                        lambda self, sphere, name="": seen["scored"].append(name) or score(self, sphere, name))
    monkeypatch.setattr(placement, "read_spheres",
                        lambda path, *args, **kwargs: seen["decoded"].append(path) or read(path, *args, **kwargs))
    return seen


def rows_of(text):
    return [json.loads(line) for line in text.split("\n") if line]


def written(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*.png") if path.is_file()}


# --- what is said ----------------------------------------------------------------------------------------------------


def test_a_person_reads_the_screen(run, folder, model):
    code, out, err = run(folder / "a.png")
    said = open_predictor("offline", model, "cpu").score_pixels(panorama(256))
    worst = min(said.viewports, key=lambda view: view.score)
    assert code == 0
    assert out.startswith(f"a.png: {said.score:.0f} of 100, {said.quality}, {said.score - HALF_WIDTH:.0f} to "
                          f"{said.score + HALF_WIDTH:.0f} with 90 % confidence\n  {said.description[:40]}")
    assert f"worst view: {worst.score:.0f}, looking " in out and f"longitude {worst.lon_deg:.0f}°" in out
    assert "warning" not in out and "Traceback" not in err and "1 of 1 scored" in err and "image/s" not in err


def test_json_for_a_program_is_all_of_standard_output(run, folder, model):
    code, out, err = run(folder, "--json", "-")
    rows = rows_of(out)
    assert code == 0 and sorted(row["image"] for row in rows) == sorted(NAMES) and "3 of 3 scored" in err and "3/3" in err
    for row in rows:
        said = open_predictor("offline", model, "cpu").score_pixels(read_image(folder / row["image"]))
        assert row["score"] == pytest.approx(said.score, abs=1e-4) and row["quality"] == said.quality
        assert (row["low"], row["high"]) == pytest.approx((said.score - HALF_WIDTH, said.score + HALF_WIDTH), abs=2e-4)
        assert np.mean([view[2] for view in row["viewports"]]) == pytest.approx(row["score"], abs=1e-3)
        assert row["worst_score"] == min(view[2] for view in row["viewports"])
        assert row["warnings"] == [] and row["description"] == said.description
    assert len({row["score"] for row in rows}) == 3


def test_table_and_lines_hold_the_same(run, folder, tmp_path):
    assert run(folder, "--csv", tmp_path / "r.csv", "--json", tmp_path / "r.json")[0] == 0
    lines = {row["image"]: row for row in rows_of((tmp_path / "r.json").read_text(encoding="utf-8"))}
    with open(tmp_path / "r.csv", encoding="utf-8", newline="") as file:
        table = {row["image"]: row for row in csv.DictReader(file)}
    assert table.keys() == lines.keys() == set(NAMES)
    for name, cells in table.items():
        assert cells.keys() == lines[name].keys()
        for key, value in lines[name].items():
            assert cells[key] == ("" if value is None else value) or json.loads(cells[key]) == value


def test_maps_and_worst_views_are_drawn(run, folder, tmp_path):
    assert run(folder, "--map", tmp_path / "maps")[0] == 0
    for name in NAMES:
        place = tmp_path / "maps" / name
        assert sorted(path.name for path in place.iterdir()) == ["map.png", "worst_1.png", "worst_2.png", "worst_3.png"]
        assert Image.open(place / "worst_1.png").size == (512, 512)
        assert Image.open(place / "map.png").size == (256, 128 + 50)


def test_a_crop_and_another_aspect_are_refused(run, tmp_path):
    Image.fromarray(panorama(512)[:200, :400]).save(tmp_path / "crop.png")
    Image.fromarray(panorama(512)[:200, :300]).save(tmp_path / "photo.png")
    code, out, err = run(tmp_path / "crop.png")
    assert code == 1 and out == "" and "crop.png is no equirectangular panorama" in err and "--projection equirectangular" in err
    code, out, err = run(tmp_path / "photo.png")
    assert code == 1 and out == "" and "photo.png is 300x200" in err and "is 2:1" in err


# --- bad images and bad flags ----------------------------------------------------------------------------------------


def test_bad_images_are_reported_and_the_rest_scored(run, folder, tmp_path):
    (folder / "broken.jpg").write_bytes((folder / "sub/b.jpg").read_bytes()[:900])
    (folder / "text.png").write_text("no picture")
    Image.fromarray(panorama(256)[:64, :128]).save(folder / "tiny.png")
    code, out, err = run(folder, "--json", tmp_path / "r.json", "--csv", tmp_path / "r.csv", "--html", tmp_path / "p.html")
    assert code == 1 and "3 of 6 scored" in err and "3 could not be scored" in err and err.count("error: ") == 3
    assert sum(line.startswith(tuple(NAMES)) for line in out.splitlines()) == 3
    rows = {row["image"]: row for row in rows_of((tmp_path / "r.json").read_text(encoding="utf-8"))}
    assert {name for name, row in rows.items() if "error" in row} == {"broken.jpg", "text.png", "tiny.png"}
    assert "truncated or damaged" in rows["broken.jpg"]["error"] and "128x64; at least 256x128" in rows["tiny.png"]["error"]
    assert set(rows) - {"broken.jpg", "text.png", "tiny.png"} == set(NAMES)
    code, out, err = run(folder, "--json", "-")
    assert code == 1 and len(rows_of(out)) == 6


def test_an_image_that_may_not_be_read_does_not_stop_the_rest(run, folder, monkeypatch):
    read_spheres = placement.read_spheres

    def read(path, *args, **kwargs):
        if path.name == "a.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read_spheres(path, *args, **kwargs)

    monkeypatch.setattr(placement, "read_spheres", read)
    code, out, err = run(folder, "--json", "-")
    assert code == 1 and "a.png may not be read" in err and len(rows_of(out)) == 3


def test_a_folder_for_maps_that_may_not_be_written_stops_at_once(run, folder, tmp_path, monkeypatch):
    def fail(pixels, path, made_from=""):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(batch, "write_png", fail)
    code, _, err = run(folder, "--map", tmp_path / "maps")
    assert code == 2 and "Permission denied" in err and "Traceback" not in err


@pytest.mark.parametrize(("argv", "message"), [
    (["none.jpg"], "none.jpg does not exist"),
    (["photos", "none"], "none does not exist"),
    (["empty"], "empty holds no images"),
    (["photos", "--workers", "0"], "--workers 0: at least 1"),
    (["photos", "--reference", "none.png"], "--reference none.png does not exist"),
    (["photos", "--checkpoint", "none.safetensors"], "none.safetensors does not exist"),
    (["photos", "--checkpoint", "photos/a.png"], "photos/a.png"),
    (["photos", "--json", "notes.json"], "notes.json is there and holds no results"),
    (["photos", "--html", "notes.json"], "--html notes.json is there and is no page"),
    (["photos", "--perspective", "--json", "notes.json"], "notes.json is there and holds no results"),
    (["photos", "--perspective", "--csv", "notes.json"], "notes.json is there and holds no results"),
    (["photos", "--preset", "paper"], "was trained on features of other encoders|could not be|cannot be"),
])  # fmt: skip
def test_user_mistakes_end_with_two_before_anything_is_scored(run, folder, tmp_path, monkeypatch, counted, argv, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.json").write_text("my notes\n")
    code, out, err = run(*argv)
    assert code == 2 and out == "" and re.search(message, err) and "Traceback" not in err
    assert counted["scored"] == [] and (tmp_path / "notes.json").read_text() == "my notes\n"


@pytest.mark.parametrize(("argv", "message"), [
    (["--html", "photos/a.png"], "--html photos/a.png is what is read as photos/a.png, which would be overwritten"),
    (["--csv", "link.csv"], "--csv link.csv is what is read as photos/a.png"),
    (["--json", "pristine.png", "--reference", "pristine.png"], "--json pristine.png is what is read as pristine.png"),
    (["--json", "r", "--csv", "r"], "--json r and --csv r are one and the same"),
    (["--csv", "/dev/null"], "/dev/null is a device, not a file"),
    (["--map", "maps", "--html", "maps"], "are one and the same"),
    (["--csv", "photos"], "--csv photos is a folder, not a file"),
    (["--csv", "list.txt"], "--csv list.txt is what is read as list.txt"),
    (["--perspective", "--csv", "link.csv"], "--csv link.csv is what is read as photos/a.png"),
])  # fmt: skip
def test_outputs_that_would_take_the_place_of_something_are_refused(run, folder, tmp_path, monkeypatch, counted, argv, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.csv").symlink_to(folder / "a.png")
    Image.fromarray(panorama(256)).save(tmp_path / "pristine.png")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    (tmp_path / "list.txt").write_text("photos/a.png\n")
    images = ["--list", "list.txt"] if "list.txt" in argv else ["photos"]
    code, out, err = run(*images, *argv)
    assert code == 2 and out == "" and message in err and "Traceback" not in err and counted["scored"] == []
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.png")} and len(before) == 3


@pytest.mark.parametrize("argv", [["--csv"], ["--json"], ["--perspective", "--csv"]])
def test_a_second_run_with_the_same_file_is_refused_by_name(run, folder, tmp_path, counted, argv):
    (tmp_path / "other.csv").symlink_to(tmp_path / "r.csv")
    with open_locked(tmp_path / "r.csv"):
        code, out, err = run(folder, *argv, tmp_path / "other.csv")
    assert code == 2 and out == "" and "r.csv is being written by another run" in err and counted["scored"] == []
    if len(argv) == 1:
        assert run(folder, *argv, tmp_path / "other.csv")[0] == 0 and (tmp_path / "other.csv").is_symlink()


@pytest.mark.parametrize("argv", [[], ["x", "--unheard-of"], ["x", "--preset", "best"], ["x", "--device", "abacus"]])
def test_unknown_flags_fail(argv, capfd):
    with pytest.raises(SystemExit) as caught:
        predict.main(argv)
    assert caught.value.code == 2 and "usage:" in capfd.readouterr().err


# --- finding, resuming, sharing --------------------------------------------------------------------------------------


def test_a_second_run_scores_and_draws_nothing(run, folder, tmp_path, counted):
    flags = ["--json", tmp_path / "r.json", "--csv", tmp_path / "r.csv", "--map", tmp_path / "maps"]
    _, first, _ = run(folder, *flags)
    before = written(tmp_path / "maps")
    files = (tmp_path / "r.json").read_bytes(), (tmp_path / "r.csv").read_bytes()
    assert len(counted["scored"]) == 3
    code, out, err = run(folder, *flags)
    assert code == 0 and len(counted["scored"]) == len(counted["decoded"]) == 3 and out == first
    assert "3 of them from an earlier run" in err
    assert len(before) == 12 and before == written(tmp_path / "maps")
    assert files == ((tmp_path / "r.json").read_bytes(), (tmp_path / "r.csv").read_bytes())


def test_after_a_kill_only_the_rest_is_scored(run, folder, tmp_path, counted):
    run(folder, "--json", tmp_path / "r.json")
    content = (tmp_path / "r.json").read_bytes()
    (tmp_path / "r.json").write_bytes(content[:-100])
    run(folder, "--json", tmp_path / "r.json")
    assert len(counted["scored"]) == 4 and (tmp_path / "r.json").read_bytes() == content
    Image.fromarray(panorama(256, 9)).save(folder / "a.png")
    run(folder, "--json", tmp_path / "r.json", "--csv", tmp_path / "r.csv")  # the CSV takes the others' rows from the JSON
    assert len(counted["scored"]) == 5 and counted["scored"][-1].endswith("a.png")
    assert len((tmp_path / "r.csv").read_text(encoding="utf-8").splitlines()) == 4


def test_maps_are_drawn_anew_for_another_image_or_model(run, folder, tmp_path):
    drawn = tmp_path / "maps" / "a.png" / "map.png"
    run(folder / "a.png", "--map", tmp_path / "maps")
    first = png_made_from(drawn)
    Image.fromarray(panorama(256, 9)).save(folder / "a.png")
    run(folder / "a.png", "--map", tmp_path / "maps")
    second = png_made_from(drawn)
    other = write_model(tmp_path / "other.safetensors", mos_scale="1-10")  # the same weights
    predict.main([str(folder / "a.png"), "--map", str(tmp_path / "maps"), "--checkpoint", str(other), "--device", "cpu"])
    assert len({first, second, png_made_from(drawn), None}) == 4


def test_maps_inside_the_folder_are_not_taken_for_panoramas(run, folder):
    for flags in (["--map", folder / "maps"], ["--map", folder / "maps"], []):
        code, out, _ = run(folder, *flags, "--json", "-")
        assert code == 0 and sorted(row["image"] for row in rows_of(out)) == sorted(NAMES)
    code, _, err = run(folder, "--map", folder)  # a.png cannot be a folder, too
    assert code == 2 and "a.png" in err and "Traceback" not in err


def test_hidden_files_other_files_and_doubles_are_left_out(folder, tmp_path):
    (folder / ".trash").mkdir()
    for name in (".trash/x.png", ".hidden.png", "notes.txt", "UPPER.JPG"):
        (folder / name).write_bytes(b"")
    found = dict(Listing((folder, folder / "a.png", folder / "sub" / ".." / "a.png")))
    assert sorted(found) == sorted([*NAMES, "UPPER.JPG"])
    assert list(dict(Listing((folder / "sub" / "b.jpg",)))) == ["b.jpg"]
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.png").write_bytes(b"")
    assert sorted(dict(Listing((folder / "a.png", tmp_path / "more")))) == ["more/a.png", "photos/a.png"]


def test_workers_do_not_matter(run, folder, model):
    _, alone, _ = run(folder, "--json", "-")
    command = [sys.executable, str(ROOT / "predict.py"), str(folder), "--checkpoint", str(model), "--device", "cpu",
               "--json", "-", "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False,
                          env=os.environ | {"PYTHONIOENCODING": "utf-8"})
    assert done.returncode == 0, done.stderr
    shared = {row["image"]: row for row in rows_of(done.stdout)}
    assert shared == {row["image"]: row for row in rows_of(alone)} and len(shared) == 3


# --- the reference ---------------------------------------------------------------------------------------------------


def test_full_reference_scores_beside_the_score(run, folder, tmp_path):
    pristine = read_image(folder / "a.png")
    soft = cv2.GaussianBlur(pristine, (0, 0), 2)
    Image.fromarray(soft).save(tmp_path / "soft.png")
    code, out, _ = run(tmp_path / "soft.png", "--reference", folder / "a.png", "--csv", tmp_path / "r.csv")
    assert code == 0 and f"against the reference: WS-PSNR {ws_psnr(pristine, soft):.4g}" in out
    with open(tmp_path / "r.csv", encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["ws_psnr"]) == pytest.approx(ws_psnr(pristine, soft), abs=1e-4)
    assert all(0 < float(row[name]) < 60 for name in METRICS)
    code, out, _ = run(folder / "a.png", "--reference", folder / "a.png", "--json", tmp_path / "r.json")
    (row,) = rows_of((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert code == 0 and "WS-PSNR identical" in out and row["ws_psnr"] is None and row["ws_ssim"] == pytest.approx(1)


def test_another_reference_is_measured_anew(run, folder, tmp_path, counted):
    for reference in ("a.png", "a.png", "größe 图.png"):
        run(folder / "a.png", "--reference", folder / reference, "--json", tmp_path / "r.json")
    assert len(counted["scored"]) == 2


def test_a_reference_of_another_size_is_that_images_error(run, folder, tmp_path):
    Image.fromarray(panorama(512)).save(tmp_path / "large.png")
    code, _, err = run(folder / "a.png", "--reference", tmp_path / "large.png")
    assert code == 1 and "is 256x128, its reference" in err and "is 512x256" in err


# --- the page --------------------------------------------------------------------------------------------------------


def data_of(page):
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)[1])


def test_the_page_holds_everything(run, folder, tmp_path):
    assert run(folder, "--html", tmp_path / "p.html", "--json", tmp_path / "r.json")[0] == 0
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    panels, rows = data_of(page), rows_of((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert [panel["name"] for panel in panels] == sorted(NAMES)  # in the order of the folder
    for panel in panels:
        row = next(row for row in rows if row["image"] == panel["name"])
        assert panel["score"] == row["score"] and panel["interval"] == [row["low"], row["high"]]
        assert panel["description"] == row["description"]
        scores = [view["score"] for view in panel["views"]]
        assert scores == sorted(view[2] for view in row["viewports"])  # worst first
        pictures = [panel["panorama"], panel["map"], *(view["picture"] for view in panel["views"])]
        assert len(pictures) == 22 and all(re.match(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]{100,}$", each)
                                           for each in pictures)
    assert "3 panoramas" in page and page.count("<script") == 3 == page.count("</script>")


def test_the_page_asks_nothing_of_any_network(run, folder, tmp_path):
    run(folder / "a.png", "--html", tmp_path / "p.html")
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    markup = page.replace(viewer.three_js(), "")
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(|<link[^>]*href=(?!\"data:,)|<(img|iframe|audio)", markup)
    assert not re.search(r"fetch\(|XMLHttpRequest\(|importScripts", markup) and "Three.js Authors" in page


def test_names_and_texts_cannot_leave_their_place(tmp_path):
    erp = panorama(256)
    views = tuple(View(lon, 0.0, 50.0 + lon / 10) for lon in (0.0, 90.0))
    odd = "</script><script>alert(1)</script><!-- {{library}} {{data}} \\u003c &amp; 图"
    said = Prediction(50.0, "fair", None, None, views, 40.0, odd, (odd,), "m")
    viewer.write_page([viewer.make_panel(placement.Sphere(erp), said, odd, 256)], tmp_path / "p.html")
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    (panel,) = data_of(page)
    assert panel["name"] == panel["description"] == panel["warnings"][0] == odd
    assert page.count("<script") == 3 and "alert(1)</script>" not in page and "<title>Quality of &lt;/script&gt;" in page
    assert page.count("Three.js Authors") == viewer.three_js().count("Three.js Authors")


def test_a_page_from_finished_rows_scores_nothing(run, folder, tmp_path, counted):
    run(folder, "--json", tmp_path / "r.json")
    run(folder, "--json", tmp_path / "r.json", "--html", tmp_path / "p.html")
    assert len(counted["scored"]) == 3 and len(data_of((tmp_path / "p.html").read_text(encoding="utf-8"))) == 3


def test_pages_of_many_panoramas_hold_smaller_ones():
    assert [viewer.page_width(count) for count in (1, 2, 10, 11)] == [4096, 2048, 2048, 1024]
