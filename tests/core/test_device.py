"""The device that was chosen is said, with the reason, and so is whether a training can be repeated."""

import pytest
import torch

import train
from mmifn.cli.experiments import open_experiments, training_parser
from mmifn.core.device import announced_device, device_words

CPU = torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_an_automatic_choice_of_the_cpu_is_said_with_its_reason(monkeypatch, capsys):
    monkeypatch.setattr(torch.version, "cuda", None)
    assert announced_device("auto") == CPU and "sees no GPU, it is built without CUDA" in capsys.readouterr().err
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert announced_device("auto") == CPU and "built for CUDA 13.0 and finds no GPU" in capsys.readouterr().err
    assert announced_device("cpu") == CPU and capsys.readouterr().err == ""  # it was asked for


def test_deterministic_mode_is_switched_on_and_off(space):
    parser = training_parser("x")
    parser.add_argument("--workers", type=int)
    for flags, wanted in ((["--deterministic"], True), ([], False)):
        args = parser.parse_args(["--root", str(space.root), "--device", "cpu", *flags])
        assert open_experiments(args, ["OIQA"]).device == CPU
        assert torch.are_deterministic_algorithms_enabled() == wanted
    assert "--deterministic" in train.build_parser().format_help()
    assert device_words(CPU) == "CPU, float32, one thread a training (repeatable)"
