"""Load VMamba weights: official files, safetensors or a plain state dict, from disk or the release page."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mmifn.core.artefact import load_torch
from mmifn.core.errors import ArtefactError, UnpicklingRefused, listed
from mmifn.core.files import sha256_file
from mmifn.encoders.vmamba.config import VARIANTS, variant_name
from mmifn.encoders.vmamba.download import download
from mmifn.encoders.vmamba.model import VMamba, build_vmamba

CACHE_VARIABLE = "MMIFN_CACHE"
# Names in the vanilla release files, and what they are now.
RENAMES = {
    "ln_1.": "norm.", "self_attention.": "op.", "patch_embed.proj.": "patch_embed.0.",
    "patch_embed.norm.": "patch_embed.2.",
}
HEAD_RENAMES = {"norm.": "classifier.norm.", "head.": "classifier.head."}
MAX_NAMED = 8


def default_cache_dir() -> Path:
    """Return where downloaded weights are kept: $MMIFN_CACHE, or ~/.cache/mmifn."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "mmifn")


def load_vmamba(variant: str, weights: str | os.PathLike[str] | None = None,
                cache_dir: str | os.PathLike[str] | None = None, *, timeout_s: float = 30.0,
                ) -> tuple[VMamba, str]:
    """Return a published variant with weights, in eval mode, and the SHA-256 of the weights file.

    variant: as for `build_vmamba`. weights: a .pth, .pt or .safetensors file; None takes the release file
    from `cache_dir` (by default `default_cache_dir()`), downloading it if it is not there. The size of the
    classifier is the file's. Nothing in a file is ever executed.
    Raises UserError: unknown variant; a file that is missing, damaged, of another variant, or readable only
    by unpickling; a download that fails.
    """
    name = variant_name(variant)
    if weights is None:
        path = download(VARIANTS[name].url, Path(cache_dir or default_cache_dir()) / VARIANTS[name].filename,
                        min_bytes=2 * VARIANTS[name].parameters, timeout_s=timeout_s)
    else:
        path = Path(weights)
    state = official_state(read_state(path))
    head = state.get("classifier.head.weight")
    with torch.device("meta"):
        model = build_vmamba(name, num_classes=len(head) if head is not None and head.ndim == 2 else 1000)
    check_fit(state, model, name, path)
    model.load_state_dict({key: value.to(torch.float32) for key, value in state.items()}, assign=True)
    return model.eval(), sha256_file(path)


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a file: safetensors, or a torch file of tensors, maybe under "model".

    Raises UnpicklingRefused, with the command that converts the file, where reading it would mean running code;
    ArtefactError where it is missing, damaged, or holds no state dict.
    """
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        value = load_torch(path)
    except UnpicklingRefused as error:
        target = path.with_suffix(".safetensors")
        raise UnpicklingRefused(
            f"{path} holds more than tensors (maybe a pickled configuration); reading that could run code.\n"
            f"Convert it once, if you trust where it came from:\n"
            f"  python tools/convert_checkpoint.py {path} {target} --allow-unpickling\n"
            f"and give {target} as the weights.") from error
    return find_state(value, path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ArtefactError(f"{path} does not exist")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ArtefactError(f"{path} is damaged or is not a safetensors file ({error})") from error


def find_state(value: Any, path: Path) -> dict[str, Tensor]:
    """Return the state dict in what a file held: the value itself, or its "model" or "state_dict".

    Raises ArtefactError where there is none.
    """
    for key in ("model", "state_dict"):
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping):
            value = value[key]
            break
    if isinstance(value, Mapping):
        state = {str(key): item for key, item in value.items() if isinstance(item, Tensor)}
        if state:
            return state
    found = type(value).__name__
    if isinstance(value, Mapping):
        found += f" of {sorted(map(str, value))[:MAX_NAMED]}"
    raise ArtefactError(f"{path} holds no network weights: found {found}; wanted tensors by name, or such a "
                        'dict under "model"')


def official_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring names and shapes to those of `VMamba`: vanilla names, linears saved as 1x1 convolutions."""
    named = {}
    for key, value in state.items():
        key = key.removeprefix("module.")
        for old, new in RENAMES.items():
            key = key.replace(old, new)
        for old, new in HEAD_RENAMES.items():
            if key.startswith(old):
                key = new + key.removeprefix(old)
        pointwise = value.ndim == 4 and value.shape[2:] == (1, 1)
        named[key] = value[:, :, 0, 0] if pointwise else value
    return named


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}


def fitting_variants(state: Mapping[str, Tensor]) -> list[str]:
    """Return the variants that a state dict (as of `official_state`) fits, whatever its number of classes."""
    def body(value: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
        return {key: shape for key, shape in _shapes(value).items() if not key.startswith("classifier.head.")}

    fits = []
    for name in VARIANTS:
        with torch.device("meta"):
            if body(build_vmamba(name).state_dict()) == body(state):
                fits.append(name)
    return fits


def check_fit(state: Mapping[str, Tensor], model: VMamba, name: str, path: Path) -> None:
    """Raise ArtefactError, naming the variant that fits if there is one, where `state` is not for `model`."""
    found, wanted = _shapes(state), _shapes(model.state_dict())
    if found == wanted:
        return
    fits = fitting_variants(state)
    if fits and fits != [name]:
        raise ArtefactError(f"{path} is not a checkpoint of {name}, but of {fits[0]}: ask for that variant")
    rows = [f"{key}: missing" for key in wanted if key not in found]
    rows += [f"{key}: not part of the network" for key in found if key not in wanted]
    rows += [f"{key}: file {found[key]}, network {wanted[key]}" for key in wanted
             if key in found and found[key] != wanted[key]]
    raise ArtefactError(f"{path} does not fit {name}, nor any other variant ({len(found)} tensors found, "
                        f"{len(wanted)} wanted):\n{listed(rows, MAX_NAMED)}")
