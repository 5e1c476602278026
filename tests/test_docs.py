"""The documents agree with what they speak of: scene lists, scripts, flags."""

import importlib
import json
import re

import pytest
from conftest import ROOT

from mmifn.describe.measured.calibration import FILE
from mmifn.encoders.adapted import load_adapted

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]
SCRIPTS = {str(path.relative_to(ROOT).with_suffix("")) for pattern in ("*.py", "tools/*.py", "benchmarks/*.py")
           for path in ROOT.glob(pattern)}
COMMAND = re.compile(r"python ((?:benchmarks/|tools/)?\w+)\.py([^`\n|#]*)")


def scenes_in(name):
    return (ROOT / "docs" / name).read_text(encoding="utf-8").split()


def test_scene_lists_are_those_of_the_constants_they_speak_of():
    about = load_adapted("lite0_adapted")[1]
    assert scenes_in("adaptation_scenes.txt") == sorted(about["scenes"] + about["held_out_scenes"])
    assert scenes_in("calibration_scenes.txt") == sorted(json.loads(FILE.read_text(encoding="utf-8"))["scenes"])


def commands():
    for path in DOCUMENTS:
        for script, rest in COMMAND.findall(path.read_text(encoding="utf-8").replace("\\\n", " ")):
            yield path.name, script, tuple(re.findall(r"(--[a-z][a-z0-9-]*)", rest.split("   ")[0]))


def test_documents_name_only_scripts_that_are_there():
    found = list(commands())
    assert len(found) > 20 and not [one for one in found if one[1] not in SCRIPTS]


@pytest.mark.parametrize("script", sorted({script for _, script, _ in commands() if "benchmarks/" not in script}))
def test_flags_in_documents_are_known_to_their_scripts(script, capsys):
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(script.replace("/", ".")).main(["--help"])
    known = set(re.findall(r"--[a-z][a-z0-9-]*", capsys.readouterr().out))
    assert stop.value.code == 0
    for document, named, flags in commands():
        assert named != script or set(flags) <= known, (document, flags)


def test_files_of_the_repository_that_documents_name_are_there():
    inside = re.compile(r"(?<![\w/.])((?:mmifn|tests|tools|benchmarks|docs)/[\w/]+\.\w+)")
    named = {(path.name, name) for path in DOCUMENTS for name in inside.findall(path.read_text(encoding="utf-8"))}
    assert len(named) > 20 and sorted(pair for pair in named if not (ROOT / pair[1]).exists()) == []
