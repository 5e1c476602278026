"""A model for scoring any panorama: a checkpoint with its calibration, in one safetensors file that ships.

Tensors are the parameters; the metadata of the file hold the rest as JSON, and a digest of it all: a flipped bit would give
other scores in silence. Files made before there was a digest are read without that check.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from mmifn.core.artefact import save_safetensors, sha256_tensors
from mmifn.core.errors import ArtefactError, UserError
from mmifn.core.files import sha256_json
from mmifn.core.json_text import parse_json
from mmifn.core.schema import misfits
from mmifn.scoring.interval import Calibration
from mmifn.training.checkpoint import Checkpoint, as_content, from_content, load_checkpoint

SCHEMA = "model/1"
FOLDER = Path(__file__).parent / "weights"
TUNED = {"views": "tuned view encoder/", "whole": "tuned panorama encoder/"}  # before the names of tuned weights in a file


@dataclass(frozen=True)
class Model:
    """What predict.py needs: trained weights, and how far their scores may be off (None where never calibrated).

    counts_size: whether the labels that it learnt count a small panorama's missing resolution (simulate.curves), so that
    a flawless one has the ceiling of its size.
    """

    checkpoint: Checkpoint
    calibration: Calibration | None
    counts_size: bool = False


def shipped_path(preset: str) -> Path:
    """Return the file of the model that comes with the package for a preset, refusing presets without one."""
    path = FOLDER / f"{preset}.safetensors"
    if not path.is_file():
        there = ", ".join(sorted(path.stem for path in FOLDER.glob("*.safetensors"))) or "none"
        raise UserError(f"no trained model comes with the package for the preset {preset!r} (there are: {there}); "
                        "train one (python train.py) and give it with --checkpoint")
    return path


def save_model(model: Model, path: Path) -> None:
    """Write a model atomically: parameters as tensors, everything else as JSON in the metadata."""
    content = as_content(model.checkpoint)
    state = {**content.pop("state")}
    for part in TUNED if "tuned" in content else ():
        state |= {f"{TUNED[part]}{key}": value for key, value in content["tuned"].pop(part).items()}
    calibration = None
    if model.calibration:
        calibration = dataclasses.asdict(model.calibration)
        calibration["half_width"], *widths = map(_finite, [model.calibration.half_width, *model.calibration.half_widths])
        calibration["half_widths"] = widths
    metadata = {"schema": SCHEMA, "checkpoint": json.dumps(content, sort_keys=True),
                "calibration": json.dumps(calibration, sort_keys=True), "counts_size": json.dumps(model.counts_size)}
    metadata["digest"] = _digest(metadata, state)
    save_safetensors(state, path, metadata)


def load_model(path: Path) -> Model:
    """Read a model (.safetensors), or a checkpoint of train.py, which has no calibration.

    Raises ArtefactError where it is missing, damaged or of another kind.
    """
    if Path(path).suffix != ".safetensors":
        return Model(load_checkpoint(path), None)
    hint = "\nMake it: python tools/export_model.py CHECKPOINT --calibration results/predictions.csv --out FILE.safetensors"
    if not Path(path).is_file():
        raise ArtefactError(f"{path} does not exist{hint}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no iterator)
        if metadata.get("schema") != SCHEMA:
            raise ArtefactError(f"{path} is not a model: found schema {metadata.get('schema')}, wanted {SCHEMA}{hint}")
        if metadata.get("digest", found := _digest(metadata, state)) != found:
            raise ArtefactError(f"{path} is damaged: its content is not what was written (digest {found[:16]}, wanted "
                                f"{metadata['digest'][:16]}); fetch or make it again{hint}")
        content, calibration = parse_json(metadata["checkpoint"]), parse_json(metadata["calibration"])
        if calibration:
            half_width, *widths = map(_infinite, [calibration["half_width"], *calibration.get("half_widths", ())])
            calibration |= {"half_width": half_width, "half_widths": tuple(widths)}
            calibration |= {name: tuple(calibration.get(name, ())) for name in ("edges", "moves", "factors")}
        for part, prefix in TUNED.items() if "tuned" in content else ():
            content["tuned"][part] = {key.removeprefix(prefix): state.pop(key) for key in [*state] if key.startswith(prefix)}
        model = Model(from_content({**_tuples(content), "state": state}, path, hint),
                     Calibration(**calibration) if calibration else None, parse_json(metadata.get("counts_size", "false")))
    except ArtefactError:
        raise
    except (SafetensorError, OSError, LookupError, TypeError, AttributeError, ValueError) as error:
        raise ArtefactError(f"{path} is damaged or not whole ({error}){hint}") from error
    if wrong := misfits(model):
        raise ArtefactError(f"{path} is not whole: {'; '.join(wrong[:3])}{hint}")
    return model


def _digest(metadata: dict[str, str], state: dict[str, Tensor]) -> str:
    """Return the SHA-256 of all that a file holds but this digest itself."""
    return sha256_json([{key: value for key, value in metadata.items() if key != "digest"}, sha256_tensors(state)])


def _finite(width: float) -> float | None:
    return None if math.isinf(width) else width  # JSON has no infinity


def _infinite(width: float | None) -> float:
    return math.inf if width is None else width


def _tuples(content: dict[str, Any]) -> dict[str, Any]:
    """Make tuples again of the lists in the configurations, which JSON cannot tell apart."""
    return {key: {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}
            if key in ("model", "dims", "split") else value for key, value in content.items()}
