"""A user's checkout of DepictQA: checked before anything is run, identified, and started."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mmifn.core.errors import UserError
from mmifn.core.files import sha256_file, sha256_json, write_text

DEFAULT_EXPERIMENT = "DQ495K"
README = "https://github.com/XPixelGroup/DepictQA"
SIDE_PX = 224  # DepictQA's own default


@dataclass(frozen=True)
class Checkout:
    """Where DepictQA lies and how it is to be run.

    folder: the checkout; python: interpreter of its environment; experiment: a folder below experiments/;
    weights: trained parameters instead of those that config.yaml names, or None; config: config.yaml as read.
    """

    folder: Path
    python: Path
    experiment: str
    weights: Path | None
    config: dict[str, Any]

    @property
    def workdir(self) -> Path:
        return self.folder / "experiments" / self.experiment

    @property
    def side_px(self) -> int:
        """Shorter side to which its configuration shrinks an image that is larger."""
        return int(self.config.get("vision_preprocess", {}).get("resize", SIDE_PX))

    @property
    def revision(self) -> str:
        """Commit of the checkout (or hash of its infer.py), and a hash of configuration and weights."""
        head = subprocess.run(["git", "-C", str(self.folder), "rev-parse", "HEAD"], capture_output=True, text=True,
                              check=False) if shutil.which("git") and (self.folder / ".git").exists() else None
        commit = head.stdout.strip() if head and head.returncode == 0 else sha256_file(self.folder / "src" / "infer.py")
        weights = self.weights or self.workdir / str(self.config.get("model", {}).get("delta_path", ""))
        settings = [self.config, sha256_file(weights) if weights.is_file() else ""]
        return f"{commit[:12]}+{sha256_json(settings)[:8]}"

    def answers(self, task: str, name: str) -> Path:
        """Return the .json that a run writes its answers to (the .jsonl lies beside it)."""
        return self.workdir / str(self.config.get("infer", {}).get("answer_dir", "answers")) / f"{task}_{name}.json"

    def start(self, meta: Path, name: str, task: str, scratch: Path, output: IO[bytes]) -> subprocess.Popen:
        """Start inference on a list of questions; its messages go to `output`."""
        config = "config.yaml"
        if self.weights:
            import yaml  # which commands that only look for a default do without

            changed = {**self.config, "model": {**self.config.get("model", {}), "delta_path": str(self.weights)}}
            write_text(scratch / "config.yaml", yaml.safe_dump(changed, sort_keys=False))
            config = str(scratch / "config.yaml")
        command = [str(self.python), "../../src/infer.py", "--cfg", config, "--meta_path", str(meta),
                   "--dataset_name", name, "--task_name", task, "--batch_size", "1"]
        ours = ("PYTHONHOME", "VIRTUAL_ENV", "PYTHONSTARTUP")
        environment = {key: value for key, value in os.environ.items() if key not in ours}
        environment |= {"PYTHONPATH": "../../src", "PYTHONUNBUFFERED": "1"}
        return subprocess.Popen(command, cwd=self.workdir, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                                stderr=subprocess.STDOUT)


def _runs(python: Path) -> str:
    """Return what is wrong with an interpreter, or ""."""
    try:
        answer = subprocess.run([str(python), "-c", "import sys; print(sys.version_info[0])"], capture_output=True,
                               text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if answer.returncode == 0 and answer.stdout.strip() == "3" else "it is not a Python 3 interpreter"


def open_checkout(folder: Path | None, python: Path | None, experiment: str = DEFAULT_EXPERIMENT,
                  weights: Path | None = None) -> Checkout:
    """Check a checkout of DepictQA; all that is wrong comes in one UserError.

    python: a path, or a command on PATH; it is the interpreter of DepictQA's own environment, not ours.
    """
    other = "\nWithout DepictQA: --source vlm (a vision-language model), or --source measured (no weights needed)."
    if folder is None or python is None:
        raise UserError("DepictQA runs from its own checkout and environment (its packages conflict with these): give "
                        f"--depictqa-dir DIR and --depictqa-python PYTHON. How to get it: {README}{other}")
    folder, wrong, config = Path(folder).expanduser().resolve(), [], {}
    if not (folder / "src" / "infer.py").is_file():
        wrong.append(f"--depictqa-dir {folder} is not a checkout of DepictQA: it has no src/infer.py; get one from {README}")
    else:
        workdir = folder / "experiments" / experiment
        choices = sorted(path.parent.name for path in folder.glob("experiments/*/config.yaml"))
        if not (workdir / "config.yaml").is_file():
            wrong.append(f"--depictqa-experiment {experiment}: {workdir} has no config.yaml; "
                         f"there are: {', '.join(choices) or 'none'}")
        else:
            config, fault = _read_config(workdir / "config.yaml")
            wrong += [fault] if fault else []
    executable = shutil.which(os.path.expanduser(str(python)))
    fault = _runs(Path(executable)) if executable else "there is no such executable"
    if fault:
        wrong.append(f"--depictqa-python {python}: {fault}; give the Python of DepictQA's environment, such as "
                     "…/envs/depictqa/bin/python")
    if weights is not None and not Path(weights).is_file():
        wrong.append(f"--depictqa-weights {weights} does not exist")
    if wrong:
        raise UserError("\n".join(wrong) + other)
    # Not resolved: a virtual environment is recognised by the path of its interpreter, which is a link.
    return Checkout(folder, Path(executable).absolute(), experiment, Path(weights).resolve() if weights else None, config)


def _read_config(path: Path) -> tuple[dict[str, Any], str]:
    import yaml

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return {}, f"{path} cannot be read ({str(error).splitlines()[0]})"
    return (config, "") if isinstance(config, dict) else ({}, f"{path} is not a table of settings")


