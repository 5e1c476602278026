"""House rules that a machine can check: sizes, layers, one place for torch files, nothing unused."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = [*sorted(ROOT.glob("*.py")), *sorted((ROOT / "tools").glob("*.py"))]
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))
MODULES = sorted((ROOT / "mmifn").rglob("*.py"))
MAX_SCRIPT, MAX_MODULE, MAX_FUNCTION, MAX_SILENT = 80, 300, 40, 10

# The rooms from the ground up; a module imports from its own room or from those before it. `sphere` and `metrics` stand on
# nothing; `mmifn` itself is the door: it opens what a user asks for.
ROOMS = (
    "core", "sphere", "metrics", "data", "fullref", "simulate", "describe", "encoders", "fusion", "training", "experiment",
    "report", "adapt", "scoring", "cli", "__main__",
)  # fmt: skip


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(name):
    return name.split(".")[1] if "." in name else name


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
def test_functions_say_what_they_do(path):
    """Public functions of a module, and every function or method of more than ten lines; GPU kernels have comments."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent = []
    for owner in [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]:
        for node in owner.body:
            if isinstance(node, ast.FunctionDef) and not ast.get_docstring(node) and not node.name.startswith("__"):
                kernel = any(ast.unparse(decorator) == "triton.jit" for decorator in node.decorator_list)
                public = owner is tree and not node.name.startswith("_")
                if not kernel and (public or node.end_lineno - node.lineno + 1 > MAX_SILENT):
                    silent.append(node.name)
    assert silent == []


def test_every_module_has_a_room():
    assert {room_of(name_of(path)) for path in MODULES} == {*ROOMS, "mmifn"}
    assert {path.stem for path in (ROOT / "mmifn").glob("*.py")} == {"__init__", "__main__", "sphere", "metrics"}


@pytest.mark.parametrize("path", [path for path in MODULES if name_of(path) != "mmifn"], ids=lambda path: name_of(path))
def test_a_module_imports_from_its_own_room_or_below(path):
    below = ROOMS[: ROOMS.index(room_of(name_of(path))) + 1]
    assert sorted(name for name in imports_of(path) if name != "mmifn" and room_of(name) not in below) == []


def test_no_module_is_unused():
    used = set().union(*(imports_of(path) for path in [*SCRIPTS, *BENCHMARKS, *MODULES]))
    packages = {name.rpartition(".")[0] for name in used}
    modules = {name_of(path) for path in MODULES if path.read_text(encoding="utf-8").strip()}
    assert sorted(modules - used - packages - {"mmifn", "mmifn.__main__"}) == []


@pytest.mark.parametrize("path", [*SCRIPTS, *MODULES], ids=ids([*SCRIPTS, *MODULES]))
def test_only_artefact_reads_and_writes_torch_files(path):
    calls = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "torch"
    } & {"torch.load", "torch.save"}
    assert calls == ({"torch.load", "torch.save"} if name_of(path) == "mmifn.core.artefact" else set())


@pytest.mark.parametrize("path", SCRIPTS, ids=ids(SCRIPTS))
def test_scripts_do_not_import_scripts(path):
    scripts = {each.stem for each in SCRIPTS}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert sorted(imported & (scripts | {"tools"})) == []
