"""Which code made a result: the package's version, and the commit where it runs from a checkout."""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from pathlib import Path

from mmifn import __version__

COMMIT_VARIABLE = "MMIFN_COMMIT"


@lru_cache(maxsize=1)
def code_version() -> str:
    """Return such as "mmifn 0.1.0, commit 1a2b3c4d5e"; "with local changes" where tracked files differ from the commit.

    Without a checkout, in a container image, the commit is the one that the image was built from ($MMIFN_COMMIT).
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        built = os.environ.get(COMMIT_VARIABLE, "")[:10]
        return f"mmifn {__version__}" + (f", commit {built}" if built else "")
    commit, changes = _git(root, "rev-parse", "--short=10", "HEAD"), _git(root, "status", "--porcelain", "--untracked-files=no")
    if not commit:
        return f"mmifn {__version__}"
    return f"mmifn {__version__}, commit {commit}" + (" with local changes" if changes else "")


def _git(root: Path, *args: str) -> str:
    """Return what git prints; empty where there is no git, or it fails."""
    try:
        done = subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
