"""DepictQA through its file and process interface, against a stand-in that speaks the same one."""

import json
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

import generate_text
from mmifn.core.errors import UserError
from mmifn.describe.depictqa.checkout import open_checkout
from mmifn.describe.depictqa.describer import DepictQADescriber
from mmifn.describe.generation import list_items
from mmifn.describe.settings import DEFAULT_PROMPT
from mmifn.describe.table import read_rows

STAND_IN = textwrap.dedent('''
    """Reads --meta_path, answers as behaviour.json says, and notes each call, as DepictQA's infer.py would."""
    import argparse, json, os, sys, time
    from PIL import Image
    import yaml

    parser = argparse.ArgumentParser()
    for flag in ("cfg", "meta_path", "dataset_name", "task_name"):
        parser.add_argument("--" + flag, required=True)
    parser.add_argument("--batch_size", type=int, required=True)
    args = parser.parse_args()
    here = os.path.dirname(os.path.abspath(__file__))
    behaviour = json.load(open(os.path.join(here, "behaviour.json")))
    config = yaml.safe_load(open(args.cfg))
    metas = json.load(open(args.meta_path))
    note = {"argv": sys.argv, "cwd": os.getcwd(), "pythonpath": os.environ.get("PYTHONPATH"), "metas": metas,
            "delta_path": config["model"]["delta_path"], "sizes": [Image.open(m["image_A"]).size for m in metas],
            "pixels": [list(Image.open(m["image_A"]).convert("L").resize((1, 1)).getdata()) for m in metas]}
    with open(os.path.join(here, "calls.jsonl"), "a") as file:
        file.write(json.dumps(note) + "\\n")
    calls = sum(1 for _ in open(os.path.join(here, "calls.jsonl")))
    if behaviour.get("raise"):
        raise ModuleNotFoundError("No module named 'easydict'")
    os.makedirs("answers", exist_ok=True)
    stem = os.path.join("answers", args.task_name + "_" + args.dataset_name)
    rows = []
    with open(stem + ".jsonl", "w") as file:
        for meta, level in zip(metas, note["pixels"]):
            texts = behaviour["texts"].get(str(level[0]), [f"The image of level {level[0]} is blurred."])
            text = texts[min(calls, len(texts)) - 1]
            if text == "OOM":
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
            if text == "HANG":
                time.sleep(600)
            if text != "SILENT":
                rows.append({"id": meta["id"], "text": text, "output_id": None, "prob": None, "confidence": None})
                file.write(json.dumps(rows[-1]) + "\\n")
                file.flush()
    json.dump(behaviour.get("json", rows), open(stem + ".json", "w"))
    if behaviour.get("lines") is not None:
        open(stem + ".jsonl", "w").write(behaviour["lines"])
''')


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "DepictQA"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "infer.py").write_text(STAND_IN)
    workdir = folder / "experiments" / "DQ495K"
    workdir.mkdir(parents=True)
    (workdir / "config.yaml").write_text("model:\n  delta_path: ./ckpt/ckpt.pt\ninfer:\n  answer_dir: ./answers/\n"
                                         "vision_preprocess:\n  resize: 64\n  max_size: 192\n")
    behave(folder, {})
    return folder


def behave(folder, texts, **more):
    (folder / "src" / "behaviour.json").write_text(json.dumps({"texts": texts, **more}))


def calls(folder):
    path = folder / "src" / "calls.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def root(tmp_path):
    images = tmp_path / "ws" / "datasets" / "DS" / "images"
    images.mkdir(parents=True)
    rows = ["image_name,MOS,distortion_type"]
    for level in (50, 100, 150):
        Image.fromarray(np.full((128, 256, 3), level, np.uint8)).save(images / f"{level}.png")
        rows.append(f"{level}.png,3,GB")
    (images.parent / "des.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "ws"


def run(root, checkout, *more):
    return generate_text.main(["--root", str(root), "--dataset", "DS", "--depictqa-dir", str(checkout),
                               "--depictqa-python", sys.executable, *more])


def texts(root):
    return {(row.image_name, row.viewport): row.description for row in read_rows(root / "text" / "des.csv")}


def test_the_command_and_files_are_those_of_depictqa(root, checkout, capsys):
    assert run(root, checkout) == 0
    call, = calls(checkout)
    argv = call["argv"]
    assert argv[0] == "../../src/infer.py" and call["cwd"] == str(checkout / "experiments" / "DQ495K")
    assert argv[1:3] == ["--cfg", "config.yaml"] and argv[argv.index("--task_name") + 1] == "quality_single_A_noref"
    assert argv[-2:] == ["--batch_size", "1"] and call["pythonpath"] == "../../src"
    assert [set(meta) for meta in call["metas"]] == [{"id", "image_ref", "image_A", "image_B", "query"}] * 3
    for meta in call["metas"]:
        assert meta["image_ref"] is None and meta["image_B"] is None and meta["image_A"].startswith("/")
        assert meta["query"] == DEFAULT_PROMPT == "Evaluate the image quality with a comprehensive explanation."
    assert call["sizes"] == [[128, 64]] * 3  # the ERP, reduced by us to what its configuration would shrink it to
    assert "seen as 128x64" in capsys.readouterr().err
    assert texts(root) == {(f"{i}.png", ""): f"The image of level {i} is blurred." for i in (50, 100, 150)}
    row = read_rows(root / "text" / "des.csv")[0]
    assert row.source == "depictqa" and row.model == "DepictQA DQ495K" and len(row.revision) == 21
    assert list((checkout / "experiments" / "DQ495K" / "answers").iterdir()) == []  # nothing is left in the checkout
    assert run(root, checkout) == 0 and len(calls(checkout)) == 1


def test_answers_are_taken_from_the_json_where_there_are_no_lines(root, checkout):
    behave(checkout, {"50": ["SILENT"], "100": ["SILENT"], "150": ["SILENT"]}, lines="", json=[
        {"id": str(i), "text": text} for i, text in enumerate(("Dark and blurred.", "Grey and blurred.", "Bright and flat."))])
    assert run(root, checkout) == 0
    assert texts(root) == {("50.png", ""): "Dark and blurred.", ("100.png", ""): "Grey and blurred.",
                           ("150.png", ""): "Bright and flat."}


@pytest.mark.parametrize("answers", ({"lines": "3\n[]\nnull\nno json\n"}, {"lines": "", "json": {"id": "0"}},
                                     {"lines": "", "json": [1]}))
def test_answers_of_another_shape_are_no_answers(root, checkout, answers, capsys):
    behave(checkout, {"50": ["SILENT"], "100": ["SILENT"], "150": ["SILENT"]}, **answers)
    assert run(root, checkout) == 2
    message = capsys.readouterr().err
    assert "no usable text for 3 of 3" in message and "Traceback" not in message and not (root / "text" / "des.csv").exists()


def test_another_prompt_asks_again(root, checkout):
    run(root, checkout)
    assert run(root, checkout, "--prompt", "Is it sharp?") == 0
    assert {meta["query"] for meta in calls(checkout)[1]["metas"]} == {"Is it sharp?"}


def test_viewports_are_shown_at_native_resolution(root, checkout):
    assert run(root, checkout, "--per-viewport", "--limit", "1") == 0
    call, = calls(checkout)
    assert call["sizes"] == [[128, 64]] + [[64, 64]] * 20
    assert sorted(viewport for _, viewport in texts(root)) == ["", *(f"{i:02d}" for i in range(20))]


def test_own_weights_reach_its_configuration(root, checkout, tmp_path):
    weights = tmp_path / "mine.pt"
    weights.write_bytes(b"1")
    run(root, checkout)
    assert run(root, checkout, "--depictqa-weights", str(weights)) == 0  # other weights: all is asked again
    assert [call["delta_path"] for call in calls(checkout)] == ["./ckpt/ckpt.pt", str(weights)]
    weights.write_bytes(b"2")
    assert run(root, checkout, "--depictqa-weights", str(weights)) == 0 and len(calls(checkout)) == 3


def test_a_degenerate_answer_is_tried_once_more(root, checkout):
    behave(checkout, {"100": ["blur " * 30, "Noise all over the image."]})
    assert run(root, checkout) == 0
    assert [len(call["metas"]) for call in calls(checkout)] == [3, 1]
    assert texts(root)["100.png", ""] == "Noise all over the image."


def test_what_fails_twice_is_reported_and_not_made_up(root, checkout, capsys):
    behave(checkout, {"100": ["", "blur blur blur blur blur blur"], "150": ["SILENT"]})
    assert run(root, checkout) == 2
    message = capsys.readouterr().err
    assert "no usable text for 2 of 3" in message
    assert "100.png: degenerate answer, 'blur' again and again (tried 2 times)" in message
    assert "150.png: no answer" in message
    assert texts(root) == {("50.png", ""): "The image of level 50 is blurred."}


def test_a_crash_costs_only_its_own_image(root, checkout, capsys):
    behave(checkout, {"100": ["OOM"]})
    assert run(root, checkout) == 2
    assert set(texts(root)) == {("50.png", ""), ("150.png", "")}
    assert "100.png: CUDA out of memory" in capsys.readouterr().err
    assert [len(call["metas"]) for call in calls(checkout)] == [3, 2, 1][:len(calls(checkout))]


def test_out_of_memory_at_once_gives_up_after_two_runs(root, checkout, capsys):
    behave(checkout, {str(level): ["OOM"] for level in (50, 100, 150)})
    assert run(root, checkout) == 2
    assert len(calls(checkout)) == 2 and "no usable text for 3 of 3" in capsys.readouterr().err


def test_a_wrong_environment_is_said_at_once(root, checkout, capsys):
    behave(checkout, {}, **{"raise": True})
    assert run(root, checkout) == 2
    message = capsys.readouterr().err
    assert len(calls(checkout)) == 1 and "easydict" in message and "--depictqa-python" in message


def test_a_hang_is_ended(root, checkout):
    behave(checkout, {"100": ["HANG", "Sharp, clean and well exposed."]})
    describer = DepictQADescriber(open_checkout(checkout, sys.executable), "Well?", silence_s=6.0)
    paths = [root / "datasets" / "DS" / "images" / f"{i}.png" for i in (50, 100)]
    found = {answer.item.name: answer for answer in describer.describe(list_items(["50.png", "100.png"], paths))}
    assert found["100.png"].text == "Sharp, clean and well exposed." and found["50.png"].text


def test_a_damaged_image_is_reported_and_the_rest_done(root, checkout, capsys):
    (root / "datasets" / "DS" / "images" / "50.png").write_bytes(b"not an image")
    assert run(root, checkout) == 2
    assert len(texts(root)) == 2 and "50.png" in capsys.readouterr().err


def test_all_that_is_wrong_with_the_options_comes_in_one_message(tmp_path, checkout):
    with pytest.raises(UserError) as caught:
        open_checkout(checkout, tmp_path / "nopython", "NOPE", tmp_path / "none.pt")
    message = str(caught.value)
    for words in ("NOPE", "there are: DQ495K", "no such executable", "none.pt does not exist", "--source measured"):
        assert words in message
    with pytest.raises(UserError, match="--depictqa-dir DIR and --depictqa-python"):
        open_checkout(None, None)
    with pytest.raises(UserError, match=r"no src/infer\.py"):
        open_checkout(tmp_path, sys.executable)
    with pytest.raises(UserError, match="not a Python 3"):
        open_checkout(checkout, "/bin/echo")


def test_paper_preset_asks_for_depictqa(root, capsys):
    assert generate_text.main(["--root", str(root), "--dataset", "DS"]) == 2
    assert "--depictqa-dir" in capsys.readouterr().err
