"""The report: one page that asks nobody for anything, hides nothing that has not run, and takes every word for a word."""

import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import make_workspace, write_csv
from made_predictions import ablated, crossed, evaluated, predictions_of, run_of, save_predictions
from PIL import Image

import evaluate
from mmifn.core.artefact import save_torch
from mmifn.data.workspace import Workspace
from mmifn.report import page as report
from mmifn.report.tables import Table, write_tables
from tools import make_report

HOSTILE = """<script>alert('x')</script> & "quoted" <img src="http://evil.example/x.png">"""
TABLES = {"evaluation_results": "Table I. MMIFN", "cross_validation_results": "Table III.", "ablation_results": "Table IV."}


class Page(HTMLParser):
    """Tags with their attributes, the text, and the text of each element with an id."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.words = [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = " ".join(self.words)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def of(self, name, /, **wanted):
        return [attrs for tag, attrs in self.tags if tag == name and wanted.items() <= attrs.items()]

    def section(self, anchor):
        """The source from one part's heading to the next part's."""
        return self.source.partition(f'id="{anchor}"')[2].partition("<section id=")[0]


def save_parts(space, *parts):
    """Leave in results/ what the scripts of these parts would have left."""
    made = {"within": ("predictions", evaluated("OIQA", "CVIQ", OIQA="simulated"), "evaluation_results"),
            "across": ("cross_predictions", crossed(OIQA="simulated"), "cross_validation_results"),
            "ablation": ("ablation_predictions", ablated(OIQA="simulated"), "ablation_results")}
    for name, predictions, tables in (made[part] for part in parts):
        save_predictions(predictions, space.results / f"{name}.pt")
        write_tables([Table(TABLES[tables], ["what", "PLCC"], [["all", "0.9"]], ["A note."])], space.results / f"{tables}.txt")


def save_pictures(space, dataset, names, views=6):
    rng = np.random.default_rng(0)
    for name in names:
        pixels = rng.integers(0, 256, (64, 128, 3), dtype=np.uint8)
        path = space.images_dir(dataset) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        folder = space.viewports_dir(dataset) / name.rpartition(".")[0]
        folder.mkdir(parents=True)
        for i in range(views):
            Image.fromarray(np.roll(pixels, i)[:, :64]).save(folder / f"viewport_{i:02d}.png")


def made(space):
    assert make_report.main(["--root", str(space.root)]) == 0
    return Page(space.results / "report.html")


@pytest.fixture
def space(tmp_path):
    return Workspace(tmp_path)


@pytest.fixture
def whole(space):
    """The page of all three parts, without pictures."""
    save_parts(space, "within", "across", "ablation")
    return made(space)


# The page.


def test_the_page_asks_nobody_for_anything(whole):
    (policy,) = [attrs["content"] for attrs in whole.of("meta") if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert not {tag for tag, _ in whole.tags} & {"script", "link", "iframe", "object", "embed", "form", "base", "video", "audio"}
    targets = [value for _, attrs in whole.tags for key, value in attrs.items() if key in ("src", "href", "srcset", "action")]
    assert targets and all(value.startswith(("data:image/", "#")) for value in targets)
    assert "url(" not in whole.source and "@import" not in whole.source and "http://" not in whole.source
    assert not any(key.startswith("on") for _, attrs in whole.tags for key in attrs)


def test_links_lead_somewhere_and_pictures_have_words(whole):
    ids = [attrs["id"] for _, attrs in whole.tags if "id" in attrs]
    assert [attrs["href"] for attrs in whole.of("a")] == ["#within", "#across", "#ablation", "#images"] == [f"#{i}" for i in ids]
    assert whole.source.count('class="scroll"') == 3 + 5  # three tables, five figures
    assert all(attrs.get("alt") for attrs in whole.of("img")) and whole.of("html") == [{"lang": "en"}]
    assert "width=device-width" in whole.of("meta", name="viewport")[0]["content"]


def test_every_part_has_its_tables_and_figures(whole):
    for anchor, title, figures in (("within", "Table I. MMIFN", 3), ("across", "Table III.", 1), ("ablation", "Table IV.", 1)):
        part = whole.section(anchor)
        assert f"<h3>{title}</h3>" in part and "<li>A note.</li>" in part and part.count('class="drawing"') == figures
    assert "Not there yet" not in whole.source
    assert len(whole.of("img")) == 5  # no pictures of images here
    assert "OIQA 12 images × 3 splits" in whole.text and "figures/splits.png, .pdf, and the numbers as .csv" in whole.text


def test_simulated_labels_and_leaking_splits_are_said_once_at_the_top(space, whole):
    assert whole.source.count('<p class="warning">Labels simulated: OIQA.</p>') == 1
    save_predictions(predictions_of(*[run_of(seed=seed, unit="image") for seed in range(2)]), space.results / "predictions.pt")
    page = made(space)
    assert '<p class="warning">Split by image: scenes leak into the test.</p>' in page.source
    save_predictions(evaluated(), space.results / "predictions.pt")
    for name in ("cross", "ablation"):
        (space.results / f"{name}_predictions.pt").unlink()
    assert 'class="warning"' not in made(space).source


@pytest.mark.parametrize(("part", "others"), [("within", {"across": "cross_eval.py", "ablation": "ablation_study.py"}),
                                              ("across", {"within": "evaluate.py", "ablation": "ablation_study.py"}),
                                              ("ablation", {"within": "evaluate.py", "across": "cross_eval.py"})])
def test_what_has_not_run_is_named_with_its_command(space, part, others):
    save_parts(space, part)
    page = made(space)
    assert "Not there yet" not in page.section(part)
    for anchor, script in others.items():
        assert f'<p class="missing">Not there yet: python {script}</p>' in page.section(anchor)
    assert ("Not there yet: python evaluate.py" in page.section("images")) == (part != "within")


def test_predictions_without_their_tables_are_named_as_missing(space):
    save_parts(space, "within")
    (space.results / "evaluation_results.csv").unlink()
    part = made(space).section("within")
    assert "Not there yet: python evaluate.py" in part and part.count('class="drawing"') == 3


def test_a_rerun_gives_the_same_bytes(space):
    save_parts(space, "within", "ablation")
    save_pictures(space, "OIQA", ["s0_GN_1.png", "s1_GN_1.png"])
    found = []
    for _ in range(2):
        made(space)
        found.append({path.name: path.read_bytes() for path in space.results.rglob("*") if path.is_file()})
    assert found[0] == found[1] and "report.html" in found[0] and "scatter.pdf" in found[0]


# Images.


def scored(*values):
    """Predictions of two splits that tested the same images: name, MOS and both scores of each; five more, off by 5."""
    rows = []
    values += tuple((f"z{i}.png", 30 + i, 35 + i, 35 + i) for i in range(5))
    for seed in range(2):
        rows += [{"source": "OIQA", "variant": "full", "control": "", "seed": seed, "dataset": "OIQA", "image_name": name,
                  "scene": "a", "distortion_type": "JPEG", "side": "test", "mos": float(mos), "score": float(scores[seed])}
                 for name, mos, *scores in values]
    return predictions_of((rows, run_of()[1]), ([], run_of(seed=1)[1]))


def cards(page, kind):
    part = page.source.partition(f"<h3>OIQA: {kind}</h3>")[2].partition("<h3>")[0]
    return part.split("<article>")[1:]


def test_the_right_images_are_shown_with_their_figures_pictures_and_words(space, monkeypatch):
    monkeypatch.setattr(report, "EXAMPLES", 1)
    save_predictions(scored(("best.png", 40, 41, 38.92), ("worst.png", 80, 50, 52), ("disputed.png", 60, 45, 69)),
                     space.results / "predictions.pt")
    save_pictures(space, "OIQA", ["best.png", "worst.png"])
    write_csv(space.descriptions, ["dataset", "image_name", "description"],
              [["OIQA", "best.png", "The good one."], ["OIQA", "worst.png", "The bad one."]])
    page = made(space)
    (best,), (worst,), (disputed,) = (cards(page, kind) for kind in ("best predicted", "worst predicted", "most disputed"))
    assert "best.png</h4>" in best and "JPEG. MOS 40.0, predicted 40.0 (error +0.0; 2 splits, SD 1.5)" in best  # 39.96 - 40
    assert "worst.png</h4>" in worst and "MOS 80.0, predicted 51.0 (error -29.0; 2 splits, SD 1.4)" in worst
    assert "disputed.png</h4>" in disputed and "MOS 60.0, predicted 57.0 (error -3.0; 2 splits, SD 17.0)" in disputed
    assert "The good one." in best and "The bad one." in worst and "No description in text/des.csv." in disputed
    assert best.count("<img") == 1 + report.VIEWS and 'alt="Panorama best.png"' in best
    assert re.findall(r'alt="viewport (\d+) of worst.png"', worst) == ["00", "01", "03", "04"]  # of six, spread
    assert "disputed.png does not exist" in disputed and "No viewport pictures." in disputed and str(space.root) not in disputed


def test_scores_stand_on_a_scale_common_to_the_database(space, monkeypatch):
    monkeypatch.setattr(report, "EXAMPLES", 1)
    save_predictions(scored(("best.png", 40, 41, 38.92), ("worst.png", 80, 50, 52)), space.results / "predictions.pt")
    (worst,) = cards(made(space), "worst predicted")
    low, high = 38, 80  # best.png, also the most disputed: 38.92
    places = [f"left:{100 * (value - low) / (high - low):.2f}%" for value in (80, 50, 52)]
    assert re.findall(r'<[bi] style="(.*?)"', worst) == places
    assert f"<span>{low}</span>" in worst and f"<span>{high}</span>" in worst


def test_a_single_split_disputes_nothing_and_says_what_would(space):
    save_predictions(evaluated(seeds=1), space.results / "predictions.pt")
    page = made(space)
    assert cards(page, "most disputed") == [] and len(cards(page, "best predicted")) == report.EXAMPLES
    assert "No image was a test image of two splits; more splits will tell (--splits)." in page.text
    assert "; 1 split)" in cards(page, "best predicted")[0] and ", SD" not in cards(page, "best predicted")[0]


def test_hostile_names_types_and_descriptions_are_words(space):
    name = HOSTILE.replace("/", "∕").replace(":", "")  # the slash only looks like one
    predictions = scored((name, 80, 50, 52))
    predictions.rows.loc[predictions.rows["image_name"] == name, "distortion_type"] = HOSTILE
    save_predictions(predictions, space.results / "predictions.pt")
    write_tables([Table(HOSTILE, ["what", HOSTILE], [[HOSTILE, HOSTILE]], [HOSTILE])], space.results / "evaluation_results.txt")
    write_csv(space.descriptions, ["dataset", "image_name", "description"], [["OIQA", name, HOSTILE]])
    page = made(space)
    assert page.of("script") == [] and all(attrs["src"].startswith("data:") for attrs in page.of("img"))
    assert page.words.count(name) >= 1 and page.words.count(HOSTILE) >= 6 and f"{HOSTILE}. MOS 80.0" in page.text


def test_a_name_that_leaves_its_folder_is_not_followed(space, tmp_path):
    secret = tmp_path / "datasets" / "secret.png"
    secret.parent.mkdir()
    Image.new("RGB", (128, 64)).save(secret)
    save_predictions(scored(("../../secret.png", 80, 50, 52)), space.results / "predictions.pt")
    (worst, *_) = cards(made(space), "worst predicted")
    assert "leaves its folder; not shown" in worst and "<img" not in worst


def test_many_large_pictures_stay_within_the_limit(space, monkeypatch):
    monkeypatch.setattr(report, "PICTURES_BYTES", 40_000)
    save_predictions(evaluated(seeds=1), space.results / "predictions.pt")
    save_pictures(space, "OIQA", sorted({f"s{s}_{kind}_{n}.png" for s in range(2) for kind in ("JPEG", "GN") for n in (1, 2, 3)}))
    found = re.findall(r"data:image/jpeg;base64,([^\"]+)", made(space).source)
    assert len(found) == 2 * report.EXAMPLES * (1 + report.VIEWS) and sum(map(len, found)) <= 40_000 * 4 / 3 + 4 * len(found)


# Refusals.


def refused(space, capsys):
    capsys.readouterr()
    before = {path: path.read_bytes() for path in space.root.rglob("*") if path.is_file()}
    assert make_report.main(["--root", str(space.root)]) == 2
    assert {path: path.read_bytes() for path in space.root.rglob("*") if path.is_file()} == before
    err = capsys.readouterr().err
    assert err.startswith("error: ") and "Traceback" not in err
    return err


def test_nothing_to_report(space, capsys):
    err = refused(space, capsys)
    assert "has no predictions to report" in err and "python evaluate.py" in err and "run_pipeline.py" in err


@pytest.mark.parametrize(("name", "script"), [("predictions", "evaluate.py"), ("cross_predictions", "cross_eval.py"),
                                              ("ablation_predictions", "ablation_study.py")])
def test_damaged_and_foreign_predictions(space, capsys, name, script):
    save_parts(space, "within", "across", "ablation")
    path = space.results / f"{name}.pt"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    err = refused(space, capsys)
    assert f"{name}.pt is damaged" in err and f"Make it again: python {script}" in err
    save_torch({"schema": "predictions/1", "columns": {}}, path)
    assert f"schema  found predictions/1, wanted predictions/2\nMake it again: python {script}" in refused(space, capsys)
    save_torch([1, 2], path)
    assert "schema  found list, wanted predictions/2" in refused(space, capsys)


@pytest.mark.parametrize(
    ("part", "worthless", "words"),
    [("columns", {"mos": [1.0]}, "columns lack "), ("columns", None, "scores that are not finite"),
     ("runs", [{"seed": 0}], "runs without split, epoch or curve"), ("runs", [], "runs without split"),
     ("labels", {}, "no origin of the labels of OIQA")],
)
def test_predictions_that_lack_a_part(space, capsys, part, worthless, words):
    predictions = evaluated()
    content = {"schema": "predictions/2", "columns": {name: predictions.rows[name].tolist() for name in predictions.rows},
               "runs": predictions.runs, "labels": predictions.labels}
    if worthless is None:
        worthless = {**content[part], "score": [float("nan"), *content[part]["score"][1:]]}
    save_torch({**content, part: worthless}, space.results / "predictions.pt")
    err = refused(space, capsys)
    assert "is not whole" in err and words in err and "Make it again: python evaluate.py" in err
    del content[part]
    save_torch(content, space.results / "predictions.pt")
    assert f"is not whole ('{part}')" in refused(space, capsys)


def test_a_table_that_somebody_mended_by_hand(space, capsys):
    save_parts(space, "within")
    path = space.results / "evaluation_results.csv"
    path.write_text(path.read_text().replace("all,0.9", "all,0.9,0.8"))
    assert "evaluation_results.csv is not a file of tables" in refused(space, capsys)


def test_an_unknown_flag_and_help(capsys):
    with pytest.raises(SystemExit) as stopped:
        make_report.main(["--no-such-flag"])
    assert stopped.value.code == 2
    with pytest.raises(SystemExit) as stopped:
        make_report.main(["--help"])
    assert stopped.value.code == 0 and "report.html" in capsys.readouterr().out


# End to end.


def test_from_evaluate_to_the_page(tmp_path, capsys):
    space = make_workspace(tmp_path)
    names = [f"s{s}_{kind}_{level}.png" for s in range(6) for kind in ("JPEG", "GN") for level in (1, 2, 3)]
    save_pictures(space, "OIQA", names, views=4)
    write_csv(space.descriptions, ["image_name", "description"], [[name, f"Words of {name}."] for name in names])
    small = ["--config", "compact", "--epochs", "1", "--branch-epochs", "1", "--device", "cpu", "--workers", "1"]
    assert evaluate.main(["--root", str(tmp_path), *small, "--splits", "2", "--datasets", "OIQA", "--without-full-reference",
                          "--without-statistics", "--protocol", "published"]) == 0
    capsys.readouterr()
    page = made(space)
    assert re.fullmatch(r"\S+report.html: \d\.\d MB; 3 figures in \S+figures\n", capsys.readouterr().out)
    assert {path.name for path in (space.results / "figures").iterdir()} == {
        f"{name}.{suffix}" for name in ("scatter", "splits", "training") for suffix in ("png", "pdf", "csv")}
    text = (space.results / "evaluation_results.csv").read_text()
    overall = next(line for line in text.splitlines() if line.startswith("overall,")).split(",")
    assert all(f"<td>{cell}</td>" in page.section("within") for cell in overall[1:])
    assert "NOT AN HONEST ESTIMATE" in page.text and "As published, on the real databases" in page.text
    shown = re.findall(r'<h4 class="name">(.*?)</h4>', page.source)
    assert len(shown) == 6 and all(f"Words of {name}." in page.words for name in shown)  # one scene a split: none is disputed
    assert len(page.of("img")) == 3 + len(shown) * 5 and "does not exist" not in page.text


def test_a_report_may_move_with_its_workspace(space, tmp_path):
    save_parts(space, "within")
    first = made(space).source
    shutil.move(space.results, tmp_path / "elsewhere" / "results")
    assert made(Workspace(tmp_path / "elsewhere")).source == first and str(tmp_path) not in first
