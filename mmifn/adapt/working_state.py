"""What a training that may be killed leaves on disk every few steps, and how a later run takes it up."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmifn.core.artefact import load_torch, save_torch
from mmifn.core.errors import ArtefactError


def keep(path: Path, run: str, step: int, parts: Mapping[str, Any]) -> None:
    """Keep the states of parts (networks, optimizers) after so many steps; run: identity of all that the training depends on."""
    save_torch({"run": run, "step": step, **{name: part.state_dict() for name, part in parts.items()}}, path)


def take_up(path: Path, run: str, parts: Mapping[str, Any]) -> int | None:
    """Bring parts to where a killed run of the same identity left them; return its steps, or None where nothing can be used.

    Parts are then as they were. A file that is damaged, of another run or of other parts counts as not there.
    """
    try:
        content = load_torch(path)
    except ArtefactError:
        return None
    if not isinstance(content, dict) or content.get("run") != run or not isinstance(content.get("step"), int):
        return None
    before = {name: copy.deepcopy(part.state_dict()) for name, part in parts.items()}
    try:
        for name, part in parts.items():
            part.load_state_dict(content[name])
    except (LookupError, ValueError, TypeError, RuntimeError, AttributeError):
        for name, part in parts.items():
            part.load_state_dict(before[name])
        return None
    return content["step"]
