"""The commands in README.md and docs/ work: each is run on a tiny workspace, or its flags are parsed and the reason is told.

A command runs as it is written, in the workspace as current folder, with further flags behind it (SMALLER) that make it small
and let it do without a network; what stands for a user's own folder is put in its place (STANDS_FOR).
"""

import importlib
import re
import shlex
from dataclasses import dataclass

import numpy as np
import pytest
from conftest import ROOT, make_workspace, write_csv
from PIL import Image

from mmifn.cli.stages import STAGES

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]
SCRIPT = re.compile(r"python ((?:benchmarks/|tools/)?\w+)\.py(?=[\s\\]|$)(.*)")

TRAINING = ["--config", "compact", "--epochs", "1", "--branch-epochs", "1", "--batch-size", "32", "--device", "cpu"]
RUNS = [*TRAINING, "--from-scratch", "--splits", "1", "--workers", "1"]
SMALLER = {
    "generate_text": ["--preset", "offline", "--workers", "1", "--limit", "2", "--replace-supplied"],
    "text_encoder": ["--preset", "offline", "--device", "cpu"],
    "viewport_encoder": ["--preset", "offline", "--size-px", "32", "32", "--device", "cpu"],
    "global_feature_extractor": ["--preset", "offline", "--erp-height-px", "128", "--device", "cpu"],
    **{script: TRAINING for script in ("gff_module", "lff_module", "train")},
    "evaluate": [*RUNS, "--without-full-reference", "--without-statistics"],
    **{script: RUNS for script in ("cross_eval", "ablation_study")},
    "prepare_dataset": [],
    "simulate_dataset": ["--root", "simulated", "--overwrite", "--panoramas", "synthetic", "--scenes", "3", "--height", "64",
                         "--levels", "1", "--workers", "1"],
    "tools/merge_databases": ["--datasets", "OIQA", "CVIQ"],
    "tools/full_reference": ["--metrics", "ws_psnr", "--workers", "1"],
    "tools/make_report": [],
}
STANDS_FOR = {"~/pictures": "pictures", "demo": ".", "photographs": "."}

# What is not run, by script or by a word of the command, and why.
NOT_RUN = {
    "--depictqa-dir": "needs the user's checkout of DepictQA and its weights",
    "--like AUTHENTIC": "its encoder and kinds of fault take minutes; tests/simulate/test_authentic.py makes every kind",
    "--like BROAD": "its kinds of distortion take minutes; tests/simulate/test_broad.py makes a small one",
    "--like REGIONAL": "its codecs take minutes; tests/simulate/test_regional.py makes a small one",
    "openai": "needs a server that answers; tests/describe/test_chat.py is one",
    "vlm": "needs the weights of a vision-language model",
    "/path/to/OIQA": "needs OIQA as its authors give it; tests/data/test_importers.py imports made-up downloads",
    "/downloads/": "needs a database as its authors give it; tests/data/test_importers.py imports made-up downloads",
    "--tune-encoders": "needs pictures with features of true encoders; tests/training/test_tuning.py tunes tiny ones",
    "evaluate --checkpoint": "needs that checkpoint; tests/training/test_tuning.py makes and reads one",
    "score_fleet": "starts a cluster; tests/scoring/fleet/test_fleet_ray.py is one",
    "predict": "scores in tests/scoring/test_predict_script.py",
    "run_pipeline": "a true pass of it is tests/cli/test_pipeline.py",
    "tools/adapt_encoders": "trains an encoder for an hour, and replaces the one in the package",
    "tools/adapt_to_people": "learns from photographs for half an hour, and replaces the weights in the package",
    "tools/fit_photographs": "reads photographs for minutes, and replaces the weights in the package",
    "tools/calibrate_words": "measures for half an hour, and replaces the constants in the package",
    "tools/export_model": "replaces the model in the package; tests/scoring/test_model.py makes one elsewhere",
    "tools/convert_checkpoint": "needs a downloaded checkpoint",
    "benchmarks/": "measures for minutes",
}


@dataclass(frozen=True)
class Recipe:
    """One command of a document."""

    document: str
    script: str
    argv: tuple[str, ...]

    def __str__(self):
        return f"{self.document}: {self.script} {' '.join(self.argv)}".strip()

    @property
    def why_not(self):
        """Return why it is not run, or None."""
        words = f"{self.script} {' '.join(self.argv)}"
        return next((reason for word, reason in NOT_RUN.items() if word in words), None)


def recipes_of(path):
    """Return the commands of a document: lines of its blocks, and what stands between backticks in its text."""
    for i, part in enumerate(path.read_text(encoding="utf-8").split("```")):
        spans = [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", part)]
        for line in part.replace("\\\n", " ").splitlines() if i % 2 else spans:
            if match := SCRIPT.search(line):
                yield Recipe(path.name, match[1], tuple(shlex.split(match[2].replace(" …", ""), comments=True)))


RECIPES = list(dict.fromkeys(recipe for path in DOCUMENTS for recipe in recipes_of(path)))


def written_by_the_stages():
    """Return the paths in the last column of README's table of stages."""
    rows = re.findall(r"^\| \d+ \| `python .*?` \| (.*) \|$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    paths = [path for row in rows for path in re.findall(r"`([\w/<> ]+\.\w+)`", row)]
    assert len(rows) == len(STAGES) and len(paths) >= len(STAGES)
    return [path.replace("<DS>", "OIQA").replace("<image stem>", "s0_JPEG_1") for path in paths]


def module_of(script):
    return importlib.import_module(script.replace("/", "."))


def only_named(recipe):
    """Return whether a document names a script and leaves out what it must be told."""
    if recipe.argv or recipe.script in STAGES:
        return False
    try:
        module_of(recipe.script).build_parser().parse_args([])
    except SystemExit:
        return True
    return False


WHOLE = [recipe for recipe in RECIPES if not only_named(recipe)]
RUN = [recipe for recipe in WHOLE if not recipe.why_not]


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """OIQA and CVIQ with pictures of noise, their pristine ones and words, and a folder of a user's own; the current folder."""
    monkeypatch.chdir(tmp_path)
    rng, words = np.random.default_rng(0), []
    for dataset, kind in (("OIQA", "JPEG"), ("CVIQ", "AVC")):
        space = make_workspace(tmp_path, dataset, types=(kind,), scenes=6, levels=5)
        names = [f"s{scene}_{kind}_{level}.png" for scene in range(6) for level in range(1, 6)]
        words += [(dataset, name, f"This picture, {name}, is not sharp.") for name in names]
        pictures(space.images_dir(dataset), names, rng)
        pictures(space.references_dir(dataset), [f"s{scene}.png" for scene in range(6)], rng)
    write_csv(tmp_path / "text" / "des.csv", ["dataset", "image_name", "description"], words)
    pictures(tmp_path / "pictures", ["a.png", "b.png"], rng)
    write_csv(tmp_path / "pictures" / "table.csv", ["image", "MOS"], [["a.png", "40"], ["b.png", "60"]])
    (tmp_path / "adaptation.txt").write_text("plaza_01\n", encoding="utf-8")
    return space


def pictures(folder, names, rng):
    folder.mkdir(parents=True)
    for name in names:
        Image.fromarray(rng.integers(0, 256, (128, 256, 3), dtype=np.uint8)).save(folder / name)


def test_documents_hold_the_ten_stages():
    assert [recipe.script for recipe in RECIPES if recipe.document == "README.md" and recipe.script in STAGES] == list(STAGES)
    assert {recipe.script for recipe in RUN} >= set(STAGES) - {"generate_text"} and len(RUN) > 12


@pytest.mark.parametrize("document", dict.fromkeys(recipe.document for recipe in RUN))
def test_the_commands_of_a_document_run_in_its_order(document, workspace, capsys):
    for recipe in (recipe for recipe in RUN if recipe.document == document):
        assert recipe.script in SMALLER, f"{recipe}: say in SMALLER how it is made small, or in NOT_RUN why it is not run"
        for dataset in ("OIQA", "CVIQ") if "DS" in recipe.argv else ("",):
            argv = [{**STANDS_FOR, "DS": dataset}.get(word, word) for word in recipe.argv]
            assert module_of(recipe.script).main([*argv, *SMALLER[recipe.script]]) == 0, (recipe, capsys.readouterr().err)
    if document == "README.md":
        assert [path for path in written_by_the_stages() if not (workspace.root / path).exists()] == []


@pytest.mark.parametrize("recipe", [recipe for recipe in WHOLE if recipe.why_not], ids=str)
def test_the_flags_of_a_command_that_is_not_run_are_parsed(recipe):
    module_of(recipe.script).build_parser().parse_args(list(recipe.argv))


def test_nothing_is_excused_in_vain():
    words = [f"{recipe.script} {' '.join(recipe.argv)}" for recipe in RECIPES]
    assert [word for word in NOT_RUN if not any(word in command for command in words)] == []
