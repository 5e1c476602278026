"""benchmarks/on_gpu.py where there is no GPU: what needs one is reported as not run, and a page and a file are written."""

import json
import subprocess
import time
from pathlib import Path

import pytest
import torch

from benchmarks import on_gpu
from mmifn.data.placement import place

CPU = torch.device("cpu")


def test_steps_that_compare_a_gpu_are_reported_as_not_run(tmp_path, capsys):
    assert on_gpu.main(["--device", "cpu", "--out", str(tmp_path), "--only", "scan", "checkpoint", "precision"]) == 0
    report = json.loads((tmp_path / "on_gpu.json").read_text())
    assert {step["state"] for step in report["steps"].values()} == {"not run: no CUDA device"}
    assert list(report["steps"]) == ["scan", "checkpoint", "precision"] and report["machine"]["GPU"] == "none"
    assert (tmp_path / "on_gpu.html").read_text().count("not run: no CUDA device") == 3
    assert "not run" in capsys.readouterr().out


def test_a_step_whose_time_is_over_is_stopped_and_told(tmp_path):
    assert on_gpu.run_step("split", CPU, tmp_path, 0.5)["state"] == "not run: no time left"
    stopped = on_gpu.run_step("split", CPU, tmp_path, 1)
    assert stopped["state"] == "stopped after 1 s"  # importing torch takes longer
    assert stopped["seconds"] >= 1 and stopped["cpu_seconds"] > 0


def test_what_a_stopped_step_had_started_ends_with_it(tmp_path):
    told = tmp_path / "pid"
    with pytest.raises(subprocess.TimeoutExpired):
        on_gpu.finish(["sh", "-c", 'sleep 100 & echo $! > "$0"; wait', str(told)], 2)
    stat, end = Path("/proc") / told.read_text().strip() / "stat", time.monotonic() + 30
    while stat.exists() and stat.read_text().split()[2] != "Z":
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_page_escapes_what_a_step_said():
    steps = {"scan": {"state": "FAILED: <b>", "seconds": 1.0, "cpu_seconds": 7.0, "figures": {"a & b": 0.25, "c": "d"}}}
    page = on_gpu.page_of({"machine": {"GPU": "none"}, "steps": steps})
    assert "FAILED: &lt;b&gt;" in page and "a &amp; b" in page and "0.25" in page and ">7<" in page and "<b>" not in page


def test_differences_are_told_for_the_largest_value():
    assert on_gpu.furthest(torch.tensor([1.0, -3.9]), torch.tensor([1.0, -4.0])) == pytest.approx(0.025)


@pytest.mark.parametrize("height", [256, 2048])
def test_what_is_scored_for_its_time_is_no_picture_that_is_refused(height):
    erp = on_gpu.panorama(height)
    assert place(erp, "drawn")[0].erp.shape == erp.shape == (height, 2 * height, 3)
