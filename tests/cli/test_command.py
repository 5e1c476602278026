"""The command `mmifn`: its commands are the scripts' own code, light until asked to compute, quiet while it waits."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from conftest import ROOT
from PIL import Image
from stand_in import needs_encoders

from mmifn.cli import command, doctor, draw_map, score
from mmifn.encoders import people, presets
from mmifn.simulate.rendered.panorama import render_scene

HEAVY = ("torch", "torchvision", "numpy", "scipy", "pandas", "cv2", "PIL", "timm", "transformers", "tokenizers", "safetensors",
         "sklearn", "skimage", "matplotlib", "piq", "av", "onnx", "trimesh", "httpx2")
DISPENSABLE = ("torchvision", "timm", "transformers", "huggingface_hub", "pandas", "scipy.stats", "scipy.optimize", "skimage",
               "sklearn", "matplotlib", "piq", "av", "onnx", "trimesh", "httpx2", "torch._dynamo", "torch.onnx", "sympy")
SCRIPTS = [str(path.relative_to(ROOT)) for folder in (ROOT, ROOT / "tools") for path in sorted(folder.glob("*.py"))]


def loaded_by_help(code):
    """Return OpenMP's setting, and the heavy modules, in a fresh interpreter in which this code has printed help."""
    probe = f"""
import os, runpy, sys
sys.argv = ['x', '--help']
def helped(run):
    try:
        run()
    except SystemExit as stopped:
        assert not stopped.code
    print('LOADED', *[name for name in {HEAVY} if name in sys.modules])
{code}
print('OPENMP', os.environ['OMP_WAIT_POLICY'])
"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=ROOT, check=True)
    lines = done.stdout.splitlines()
    helps, loaded = (sum(line.startswith(word) for line in lines) for word in ("usage:", "LOADED"))
    assert helps == loaded > 0
    return lines[-1].split()[1], [line.split()[1:] for line in lines if line.startswith("LOADED")]


def test_help_of_every_script_loads_nothing_that_computes(monkeypatch):
    """All in one interpreter: whatever one of them loads stays, and is seen from there on."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    scripts = [*SCRIPTS, "mmifn/__main__.py"]
    policy, loaded = loaded_by_help(f"for script in {scripts}: helped(lambda: runpy.run_path(script, run_name='__main__'))")
    assert len(scripts) > 20 and policy == "PASSIVE"
    assert dict(zip(scripts, loaded, strict=True)) == {script: [] for script in scripts}


def test_every_command_has_a_light_parser_and_a_users_wait_policy_wins(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    code = "from mmifn.cli import command\nfor module in command.COMMANDS.values(): helped(module.build_parser().parse_args)"
    assert loaded_by_help(code) == ("ACTIVE", [[]] * len(command.COMMANDS))


@needs_encoders
def test_the_first_score_imports_no_library_that_it_can_do_without(tmp_path):
    """Every one of them takes as long to import as a panorama takes to be scored."""
    Image.fromarray(render_scene("plaza_01", 128)).resize((4096, 2048)).save(tmp_path / "a.png")
    probe = ("import sys\nfrom mmifn.cli import score\n"
             f"assert score.main([{str(tmp_path / 'a.png')!r}, '--json', '-', '--device', 'cpu', '--workers', '1']) == 0\n"
             f"print('LOADED', *[name for name in {DISPENSABLE} if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=ROOT, check=True)
    row, loaded = done.stdout.splitlines()
    assert 0 <= json.loads(row)["score"] <= 100 and loaded.split() == ["LOADED"]


def test_what_flags_name_is_what_computes():
    from mmifn.encoders import adaptable, adapted
    from mmifn.fullref import metrics, titles
    from mmifn.simulate import designs, settings

    assert set(settings.LIKES) == {*designs.DESIGNS, settings.BROAD, settings.EXTREME, settings.AUTHENTIC, settings.LENSES,
                                   settings.REGIONAL, settings.FLAWLESS, settings.HARMLESS}
    assert adaptable.TITLES.keys() == adapted.BACKBONES.keys() and titles.TITLES.keys() == metrics.METRICS.keys()


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


def test_doctor_lists_every_weights_file_with_its_hash():
    said = doctor.weights()
    for room in ("encoders", "scoring"):
        for path in (ROOT / "mmifn" / room / "weights").glob("*.safetensors"):
            assert f"{room}/{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()[:32]}" in said


def test_doctor_tells_a_preset_without_peoples_scores_how_to_make_them(monkeypatch, tmp_path):
    monkeypatch.setattr(people, "weights_file", lambda: tmp_path / "none")
    monkeypatch.setitem(presets.PRESETS, "offline", replace(presets.PRESETS["offline"], with_people=True))
    assert "people's scores: python tools/adapt_to_people.py" in "\n".join(doctor.presets())


@pytest.mark.parametrize(("scores", "passed"), [((70, 30), True), ((30, 70), False), ((70, 69), False)])
def test_doctor_fails_where_blur_does_not_cost(scores, passed, monkeypatch):
    from types import SimpleNamespace

    from mmifn.scoring import api

    given = iter(scores)
    model = SimpleNamespace(score=lambda erp: SimpleNamespace(score=next(given)))
    monkeypatch.setattr(api, "load_model", lambda **_: model)
    monkeypatch.setattr(doctor, "TEST_HEIGHT_PX", 64)
    assert doctor.self_test("cpu")[0] is passed
