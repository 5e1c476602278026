"""Break the code on purpose, one small change at a time, and see whether the tests notice.

    python benchmarks/mutants.py [--seed N] [--count N] [--rooms ROOM …] [--only PART] [--limit-s SECONDS] [--log FILE]

A mutant is one module with one change: an operator, a comparison, a constant or a condition, as many of each. It meets the
tests that import the module, also by way of others, its room's first, until one fails: it is caught where that test passes
without it. Not looked at: texts, messages of errors, annotations, decorators, and `strict=`.
mutants_explained.csv, beside this script, holds mutants that no test can catch, or that none shall, each with the reason.
With --log every outcome is a row of that file at once, and a later run with it goes on there: what was caught is not tried again
while its module is the same, what was not caught not while its tests are the same, too.

The heavy packages are imported once; every mutant is a fork of this process in a copy of the repository.
"""

from __future__ import annotations

import ast
import contextlib
import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mmifn.cli.flags import command_parser
from mmifn.core.files import sha256_file, sha256_json, sha256_text

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("core", "data", "simulate", "fusion", "scoring", "experiment")
EXPLAINED = Path(__file__).with_name("mutants_explained.csv")
HEAVY = ("pytest", "numpy", "torch", "pandas", "scipy.stats", "scipy.optimize", "scipy.ndimage", "scipy.interpolate", "PIL.Image",
         "cv2", "sklearn.svm", "skimage.metrics", "safetensors.torch", "matplotlib.figure", "av", "tqdm", "yaml")  # fmt: skip
COMPARED = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
            ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is}
OPERATED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
            ast.Mod: ast.Mult, ast.Pow: ast.Mult}
KINDS = ("operator", "comparison", "constant", "condition")
MOST_FILES = 8  # of tests, for one mutant
LEFT_OUT = ("test_fleet_ray.py", "test_fleet_disk.py", "test_pipeline.py", "test_viewer_browser.py")  # servers
TEST_S = 20  # of processor time for one test: a mutant may never end
WAIT_S = 300  # by the clock for one test: a mutant may wait for ever


@dataclass(frozen=True)
class Mutant:
    """One change of one module: bytes start to end become `after`."""

    module: str
    line: int
    text: str  # of the line, stripped
    kind: str
    before: str
    after: str
    start: int
    end: int

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.module, self.text, self.before, self.after

    def applied(self, source: bytes) -> bytes:
        return source[: self.start] + f"({self.after})".encode() + source[self.end:]

    def __str__(self) -> str:
        return f"{self.module}:{self.line}  {self.before}  ->  {self.after}"


def changed(node: ast.AST) -> tuple[str, ast.expr] | None:
    """Return the kind of a node's change and the expression that takes its place; None: it is left alone."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARED:
        return "comparison", ast.Compare(node.left, [COMPARED[type(node.ops[0])](), *node.ops[1:]], node.comparators)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATED:
        return "operator", ast.BinOp(node.left, OPERATED[type(node.op)](), node.right)
    if isinstance(node, ast.BoolOp):
        return "operator", ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        return "operator", node.operand
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return "constant", ast.Constant(not node.value)
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return "constant", ast.Constant(node.value + 1 if isinstance(node.value, int) else node.value * 1.5 or 1.0)
    return None


def conditions(node: ast.AST) -> list[ast.expr]:
    """Return the conditions that a statement, an expression or a comprehension depends on."""
    return [node.test] if isinstance(node, ast.If | ast.While | ast.IfExp) else getattr(node, "ifs", [])


def looked_at(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and what is below it, but for what says nothing of behaviour."""
    if isinstance(node, ast.JoinedStr | ast.Raise) or (isinstance(node, ast.keyword) and node.arg == "strict"):
        return
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    yield node
    for field, value in ast.iter_fields(node):
        if field not in ("annotation", "returns", "decorator_list"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from looked_at(child)


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Yield every mutant of a module."""
    source = path.read_bytes()
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    for node in looked_at(ast.parse(source)):
        changes = [(node, *change)] if (change := changed(node)) else []
        changes += [(test, "condition", ast.UnaryOp(ast.Not(), test)) for test in conditions(node)]
        for old, kind, new in changes:
            yield Mutant(str(path.relative_to(ROOT)), old.lineno, lines[old.lineno - 1].decode().strip(), kind, ast.unparse(old),
                         ast.unparse(ast.fix_missing_locations(new)), starts[old.lineno - 1] + old.col_offset,
                         starts[old.end_lineno - 1] + old.end_col_offset)  # fmt: skip


def drawn(rooms: list[str], only: str, seed: int, count: int) -> list[Mutant]:
    """Return `count` mutants of these rooms, of each kind as many; an edit of one module leaves those of the others drawn."""
    paths = [path for room in rooms for path in sorted((ROOT / "mmifn" / room).rglob("*.py")) if only in str(path)]
    every = [mutant for path in paths for mutant in mutants_of(path)]
    alike, order = Counter(), []
    for mutant in every:
        order.append(sha256_text(f"{seed} {alike[mutant.key]} {mutant.key}"))
        alike[mutant.key] += 1
    drawn_in_turn = [every[i] for i in sorted(range(len(every)), key=order.__getitem__)]
    piles = [pile for kind in KINDS if (pile := [mutant for mutant in drawn_in_turn if mutant.kind == kind])]
    rounds = [mutant for i in range(max(map(len, piles), default=0)) for pile in piles for mutant in pile[i: i + 1]]
    return rounds[:count]


def imports_of(path: Path) -> set[str]:
    """Return the dotted names that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def dotted(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


class Tests:
    """Which test files of a copy of the repository meet a module."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        paths = [path for folder in ("mmifn", "tests", "tools") for path in sorted((tree / folder).rglob("*.py"))]
        self.imports = {str(path.relative_to(tree)): imports_of(path) for path in [*paths, *sorted(tree.glob("*.py"))]}

    def importers(self, module: str) -> list[str]:
        return [path for path, names in self.imports.items() if dotted(module) in names]

    def of(self, module: str) -> list[str]:
        """Return the test files to run: the module's own, then the room's, then others; nearer ones before those that import it
        by way of more modules or scripts, and shorter ones before longer ones."""
        steps, edge = {module: 0}, [module]
        while edge:
            users = dict.fromkeys(user for path in edge for user in self.importers(path) if user not in steps)
            steps |= dict.fromkeys(users, 1 + steps[edge[0]])
            edge = list(users)
        room, own = Path("tests", *Path(module).parts[1:2]), f"test_{Path(module).stem}.py"
        tests = [path for path in steps if Path(path).name.startswith("test_") and Path(path).name not in LEFT_OUT]
        tests.sort(key=lambda path: (Path(path).name != own, room not in Path(path).parents, steps[path],
                                     (self.tree / path).stat().st_size))
        return tests[:MOST_FILES]


class Watch:
    """A pytest plugin: the first test that failed, and a limit for each."""

    failed = ""

    def pytest_runtest_setup(self) -> None:
        for timer, number, most in ((signal.ITIMER_VIRTUAL, signal.SIGVTALRM, TEST_S),
                                    (signal.ITIMER_REAL, signal.SIGALRM, WAIT_S)):
            signal.signal(number, self._too_long)
            signal.setitimer(timer, most)

    def pytest_runtest_logreport(self, report) -> None:
        self.failed = self.failed or (report.nodeid if report.failed else "")

    def pytest_collectreport(self, report) -> None:
        self.failed = self.failed or (report.nodeid if report.failed else "")

    def _too_long(self, *_) -> None:
        raise TimeoutError(f"more than {TEST_S} s of processor time, or {WAIT_S} s by the clock")


def run_tests(tree: Path, tests: list[str], limit_s: int) -> tuple[str, bool]:
    """Run tests in a fork of this process; return the first that failed, or "", and whether the limit ended the run."""
    answer = tree.parent / "answer.json"
    answer.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        _as_child(tree, tests, limit_s, answer)
    end = time.monotonic() + 20 * limit_s
    while not os.waitpid(child, os.WNOHANG)[0]:
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            break
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):  # processes that a mutant left behind
        os.killpg(child, signal.SIGKILL)
    if not answer.is_file():
        return "", True
    failed, code = json.loads(answer.read_text())
    if code not in (0, 1) and not failed:
        raise RuntimeError(f"pytest ended with {code}:\n{(tree.parent / 'output.txt').read_text()[-2000:]}")
    return failed, False


def _as_child(tree: Path, tests: list[str], limit_s: int, answer: Path) -> None:
    """Run pytest in this process, write its answer, and end."""
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s))
        os.chdir(tree)
        os.environ["PYTHONPATH"] = str(tree)
        sys.path[:] = [str(tree), *(path for path in sys.path if path not in ("", str(ROOT), str(ROOT / "benchmarks")))]
        for name in [name for name in sys.modules if name.partition(".")[0] == "mmifn"]:
            del sys.modules[name]
        with open(tree.parent / "output.txt", "w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        import pytest

        watch = Watch()
        code = pytest.main(["-x", "-o", "addopts=", "-p", "no:cacheprovider", "-n0", *tests], plugins=[watch])
        partial = answer.with_suffix(".part")
        partial.write_text(json.dumps([watch.failed, code]))
        partial.replace(answer)
    finally:
        os._exit(0)


def make_tree(folder: Path) -> Path:
    """Copy what git follows or might, as it is now, beside a link to the shared data."""
    tree = folder / "tree"
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True,
                           text=True, check=True).stdout  # fmt: skip
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    if (ROOT.parent / "shared").is_dir():
        (folder / "shared").symlink_to((ROOT.parent / "shared").resolve())
    return tree


class Hunt:
    """Mutants met by their tests; what passes without a mutant is found out once."""

    def __init__(self, tree: Path, limit_s: int, log: Log) -> None:
        self.tree, self.limit_s, self.tests, self.sound, self.log = tree, limit_s, Tests(tree), {}, log

    def meet(self, mutant: Mutant, stamp: int) -> tuple[str, str]:
        """Return "caught", "not caught" or "not met" (a test fails anyway), and by what test, or why not."""
        tests = self.tests.of(mutant.module)
        row = self.log.row(mutant, tests)
        if known := self.log.known(row):
            return known
        outcome, by = self._met(mutant, tests, stamp)
        self.log.add(row, outcome, by)
        return outcome, by

    def _met(self, mutant: Mutant, tests: list[str], stamp: int) -> tuple[str, str]:
        if not tests:
            return "not caught", "no test imports it"
        path = self.tree / mutant.module
        source = path.read_bytes()
        path.write_bytes(mutant.applied(source))
        os.utime(path, (stamp, stamp))  # compiled code is told apart by this time
        try:
            failed, ended = run_tests(self.tree, tests, self.limit_s)
        finally:
            path.write_bytes(source)
            os.utime(path, (1, 1))
        if not failed:
            return "not caught", (f"within {self.limit_s} s of " if ended else "by ") + " ".join(tests)
        if failed not in self.sound:
            self.sound[failed] = run_tests(self.tree, [failed], self.limit_s) == ("", False)
        return ("caught", failed) if self.sound[failed] else ("not met", f"{failed} fails without it, too")


class Log:
    """The outcomes of this run and of earlier ones, a row each, in a file that only grows; without a file, of none."""

    COLUMNS = ("module", "line", "start", "before", "after", "outcome", "by", "code", "tests")

    def __init__(self, path: Path | None, root: Path) -> None:
        self.path, self.root, self._there = path, root, {}
        if path and path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                self._there = {(*self._key(row), row["code"]): row for row in csv.DictReader(file)}

    @staticmethod
    def _key(row: dict[str, str]) -> tuple[str, str, str, str]:
        return row["module"], row["start"], row["before"], row["after"]

    def row(self, mutant: Mutant, tests: list[str]) -> dict[str, str]:
        """Return the row of a mutant without its outcome: of what module and tests it is."""
        code, bench = (sha256_json([sha256_file(self.root / path) for path in paths]) for paths in ([mutant.module], tests))
        values = (mutant.module, mutant.line, mutant.start, mutant.before, mutant.after, "", "", code, bench)
        return dict(zip(self.COLUMNS, map(str, values), strict=True))

    def known(self, row: dict[str, str]) -> tuple[str, str] | None:
        """Return the outcome of an earlier run, where it still holds."""
        there = self._there.get((*self._key(row), row["code"]))
        holds = there and (there["outcome"] == "caught" or there["tests"] == row["tests"])
        return (there["outcome"], there["by"]) if holds else None

    def add(self, row: dict[str, str], outcome: str, by: str) -> None:
        if self.path:
            fresh = not self.path.is_file()
            with self.path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self.COLUMNS)
                if fresh:
                    writer.writeheader()
                writer.writerow({**row, "outcome": outcome, "by": by})


def explained() -> dict[tuple[str, str, str, str], str]:
    """Return the reasons why mutants are not caught."""
    with EXPLAINED.open(newline="", encoding="utf-8") as file:
        return {(row["module"], row["line"], row["before"], row["after"]): row["why"] for row in csv.DictReader(file)}


def build_parser():
    parser = command_parser(__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: %(default)s)")
    parser.add_argument("--count", type=int, default=100, help="mutants (default: %(default)s)")
    parser.add_argument("--rooms", nargs="+", default=list(ROOMS), metavar="ROOM", help="of mmifn/ (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="PART", help="only modules whose path holds this")
    parser.add_argument("--limit-s", type=int, default=60, help="processor seconds of tests for a mutant (default: %(default)s)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="keep outcomes there, and go on from those that are there")
    parser.add_argument("--list", action="store_true", help="print the mutants and their tests, and run nothing")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    mutants, reasons, outcomes = drawn(args.rooms, args.only, args.seed, args.count), explained(), Counter()
    if args.list:
        tests = Tests(ROOT)
        print("\n".join(f"{mutant}\n    {' '.join(tests.of(mutant.module))}" for mutant in mutants))
        return 0
    for name in HEAVY:
        __import__(name)
    with tempfile.TemporaryDirectory() as folder:
        tree = make_tree(Path(folder))
        hunt = Hunt(tree, args.limit_s, Log(args.log, tree))
        for number, mutant in enumerate(mutants, 1):
            outcome, by = hunt.meet(mutant, number)
            if outcome == "not caught" and mutant.key in reasons:
                outcome, by = "explained", reasons[mutant.key]
            outcomes[outcome] += 1
            print(f"{number:3d} {outcome:10}  {mutant}\n                {by}", flush=True)
    said = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
    print(f"seed {args.seed}: {len(mutants)} mutants, {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
