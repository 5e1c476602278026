"""Mutants change what they say and nothing else; messages, annotations and `strict=` are left alone."""

import ast

import pytest

from benchmarks import mutants

SOURCE = '''"""Ä module."""
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import x
def f(a: "int" = 2, *, ü=-1.5):
    if a < 3 and not ü:  # größe
        raise ValueError(f"{a + 1}" + "5")
    return [b % 4 for b in zip(a, strict=True) if b is None]
'''
CHANGES = {
    ("2", "3"), ("-1.5", "1.5"), ("1.5", "2.25"), ("a < 3 and (not ü)", "a < 3 or not ü"),
    ("a < 3 and (not ü)", "not (a < 3 and (not ü))"),
    ("a < 3", "a <= 3"), ("3", "4"), ("not ü", "ü"), ("b % 4", "b * 4"), ("4", "5"), ("b is None", "b is not None"),
    ("b is None", "not b is None"),
}  # fmt: skip


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    (tmp_path / "m.py").write_text(SOURCE, encoding="utf-8")
    return tmp_path / "m.py"


def test_every_change_is_one_of_behaviour(module):
    found = list(mutants.mutants_of(module))
    assert {(mutant.before, mutant.after) for mutant in found} == CHANGES and len(found) == len(CHANGES)
    assert {mutant.kind for mutant in found} == set(mutants.KINDS)


def test_a_mutant_is_the_module_with_that_change(module):
    source = module.read_bytes()
    for mutant in mutants.mutants_of(module):
        changed = mutant.applied(source)
        assert ast.parse(changed) and changed != source
        assert len(changed) - len(source) == len(f"({mutant.after})".encode()) - (mutant.end - mutant.start)
        assert ast.unparse(ast.parse(source[mutant.start: mutant.end].decode())) == mutant.before
        assert mutant.text in SOURCE and SOURCE.splitlines()[mutant.line - 1].strip() == mutant.text


def test_reasons_are_of_mutants_that_exist():
    every = {mutant.key for path in (mutants.ROOT / "mmifn").rglob("*.py") for mutant in mutants.mutants_of(path)}
    assert set(mutants.explained()) - every == set() and all(mutants.explained().values())


def test_a_draw_stays_where_other_modules_change(tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    (tmp_path / "mmifn" / "core").mkdir(parents=True)
    for name in "ab":
        (tmp_path / "mmifn" / "core" / f"{name}.py").write_text("".join(f"{name}{i} = {i} + 1\n" for i in range(9)))
    before = mutants.drawn(["core"], "", 1, 14)
    (tmp_path / "mmifn" / "core" / "b.py").write_text("x = 1\n")
    after = mutants.drawn(["core"], "", 1, 14)
    own = {mutant for mutant in before if mutant.module.endswith("a.py")}
    assert len(before) == 14 and 0 < len(own) < 14 and own <= set(after)
    assert len({mutant.kind for mutant in before}) == 2 and set(before) != set(mutants.drawn(["core"], "", 2, 14))


def test_a_hunt_goes_on_where_it_was(module, tmp_path):
    first, second = list(mutants.mutants_of(module))[:2]
    (tmp_path / "test_m.py").write_text("old")
    for mutant, outcome in ((first, "caught"), (second, "not caught")):
        log = mutants.Log(tmp_path / "log.csv", tmp_path)
        row = log.row(mutant, ["test_m.py"])
        assert log.known(row) is None
        log.add(row, outcome, "test_m.py::test")

    def known():
        log = mutants.Log(tmp_path / "log.csv", tmp_path)
        return [log.known(log.row(mutant, ["test_m.py"])) for mutant in (first, second)]

    assert known() == [("caught", "test_m.py::test"), ("not caught", "test_m.py::test")]
    (tmp_path / "test_m.py").write_text("new")
    assert known() == [("caught", "test_m.py::test"), None]
    module.write_text(SOURCE + "\n", encoding="utf-8")
    assert known() == [None, None]
