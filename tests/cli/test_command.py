"""The command `mmifn`: its commands are the scripts' own code, light until asked to compute, quiet while it waits."""

import subprocess
import sys

import pytest
from conftest import ROOT

from mmifn.cli import command, doctor, draw_map, score

HEAVY = ("torch", "torchvision", "numpy", "scipy", "pandas", "cv2", "PIL", "timm", "transformers", "sklearn", "skimage",
         "matplotlib", "piq")


def loaded_by_help(code):
    """Return the heavy modules, and OpenMP's setting, in a fresh interpreter after this code has printed its help."""
    probe = (f"import os, sys\nsys.argv = ['x', '--help']\ntry:\n    {code}\nexcept SystemExit:\n    pass\n"
             f"print('\\nLOADED', os.environ['OMP_WAIT_POLICY'], *[name for name in {HEAVY} if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "usage:" in done.stdout
    return done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize("script", ["predict.py", "mmifn/__main__.py"])
def test_help_loads_nothing_that_computes(script, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert loaded_by_help(f"import runpy; runpy.run_path({script!r}, run_name='__main__')") == ["PASSIVE"]


def test_every_command_has_a_light_parser_and_a_users_wait_policy_wins(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    code = "from mmifn.cli import command; [module.build_parser() for module in command.COMMANDS.values()]; command.main()"
    assert loaded_by_help(code) == ["ACTIVE"]


def test_map_is_score_with_a_folder(monkeypatch):
    seen = []
    monkeypatch.setattr(score, "main", lambda argv, parser: seen.append(parser.parse_args(argv)) or 0)
    assert command.main(["map", "a.jpg", "--out", "maps"]) == 0
    assert (str(seen[0].map), [str(image) for image in seen[0].images], seen[0].preset) == ("maps", ["a.jpg"], "offline")
    with pytest.raises(SystemExit):
        draw_map.main(["a.jpg"])


def test_unknown_commands_are_refused_with_those_that_there_are(capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["sore", "a.jpg"])
    assert stopped.value.code == 2 and "score" in capsys.readouterr().err


def test_doctor_names_what_a_preset_lacks_and_the_command_that_brings_it(monkeypatch, tmp_path):
    monkeypatch.setenv("MMIFN_CACHE", str(tmp_path))
    said = "\n".join(doctor.presets())
    assert "offline: ready" in said and f"curl -L --create-dirs -o {tmp_path}" in said and "paper needs" in said
    (tmp_path / "vssm1_tiny_0230s_ckpt_epoch_264.pth").touch()
    assert "curl" not in "\n".join(doctor.presets())


@pytest.mark.parametrize(("scores", "passed"), [((70, 30), True), ((30, 70), False), ((70, 69), False)])
def test_doctor_fails_where_blur_does_not_cost(scores, passed, monkeypatch):
    from types import SimpleNamespace

    from mmifn.scoring import api

    given = iter(scores)
    model = SimpleNamespace(score=lambda erp: SimpleNamespace(score=next(given)))
    monkeypatch.setattr(api, "load_model", lambda **_: model)
    monkeypatch.setattr(doctor, "TEST_HEIGHT_PX", 64)
    assert doctor.self_test("cpu")[0] is passed
