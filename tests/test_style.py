"""House rules that a machine can check: sizes, layers, one place for torch files, nothing unused."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(path for path in ROOT.glob("*.py") if path.name not in ("hatch_build.py", "setup.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))
MODULES = sorted((ROOT / "mmifn").rglob("*.py"))
MAX_SCRIPT, MAX_MODULE, MAX_FUNCTION = 80, 300, 40

# Floors from the ground up; a module imports from its own floor or below. Longer names win over shorter ones.
FLOORS = [
    (
        "mmifn",
        "mmifn.errors",
        "mmifn.files",
        "mmifn.artefact",
        "mmifn.workspace",
        "mmifn.compat",
        "mmifn.workers",
        "mmifn.code_version",
    ),
    ("mmifn.manifest", "mmifn.splits", "mmifn.images", "mmifn.sphere", "mmifn.plausibility"),
    ("mmifn.databases",),
    ("mmifn.encoders",),
    ("mmifn.describe",),
    ("mmifn.fusion",),
    (
        "mmifn.training",
        "mmifn.metrics",
        "mmifn.protocol",
        "mmifn.tables",
        "mmifn.figures",
        "mmifn.stages",
        "mmifn.checkpoint",
        "mmifn.conformal",
        "mmifn.shipped",
        "mmifn.predictions",
        "mmifn.reporting",
        "mmifn.published",
        "mmifn.intervals",
        "mmifn.controls",
        "mmifn.measurements",
        "mmifn.baselines",
        "mmifn.comparisons",
        "mmifn.findings",
        "mmifn.markup",
        "mmifn.report",
    ),
]
# Flags and configurations stand above what they configure; the face, that scripts and users call, above everything.
EXPERIMENTS, FACE = len(FLOORS) - 1, len(FLOORS)
EXACT = {"mmifn.fusion.configs": EXPERIMENTS, "mmifn.metrics": 1}  # figures of agreement need numbers only


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(name):
    if name in EXACT:
        return EXACT[name]
    for level, names in enumerate(FLOORS):
        if any(name == each or (name.startswith(each + ".") and each != "mmifn") for each in names):
            return level
    return FACE


def imports_of(path, top_level_only=False):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree) if not top_level_only else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    known = {name_of(each) for each in MODULES}
    return {name for name in found if name in known}


def ids(paths):
    return [str(path.relative_to(ROOT)) for path in paths]


def test_there_is_something_to_check():
    assert len(SCRIPTS) >= 12 and len(MODULES) >= 30


@pytest.mark.parametrize("path", SCRIPTS, ids=ids(SCRIPTS))
def test_scripts_are_thin(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_SCRIPT
    assert "main" in functions and "Writes" in ast.get_docstring(tree)


@pytest.mark.parametrize("path", MODULES, ids=ids(MODULES))
def test_modules_are_short_and_say_what_they_are(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_MODULE
    assert not text or ast.get_docstring(ast.parse(text)), "no docstring"


@pytest.mark.parametrize("path", [*SCRIPTS, *MODULES], ids=ids([*SCRIPTS, *MODULES]))
def test_functions_are_short(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    assert [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in functions
        if node.end_lineno - node.lineno + 1 > MAX_FUNCTION
    ] == []


@pytest.mark.parametrize("path", MODULES, ids=ids(MODULES))
def test_a_module_imports_from_its_own_floor_or_below(path):
    level = floor_of(name_of(path))
    assert sorted(name for name in imports_of(path) if floor_of(name) > level) == []


def test_no_module_is_unused():
    used = set().union(*(imports_of(path) for path in [*SCRIPTS, *BENCHMARKS, *MODULES]))
    packages = {name.rpartition(".")[0] for name in used}
    modules = {name_of(path) for path in MODULES if path.read_text(encoding="utf-8").strip()}
    assert sorted(modules - used - packages - {"mmifn"}) == []


@pytest.mark.parametrize("path", [*SCRIPTS, *MODULES], ids=ids([*SCRIPTS, *MODULES]))
def test_only_artefact_reads_and_writes_torch_files(path):
    calls = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "torch"
    } & {"torch.load", "torch.save"}
    assert calls == ({"torch.load", "torch.save"} if name_of(path) == "mmifn.artefact" else set())


@pytest.mark.parametrize("path", SCRIPTS, ids=ids(SCRIPTS))
def test_scripts_do_not_import_scripts(path):
    scripts = {each.stem for each in SCRIPTS}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert sorted(imported & scripts) == []
