"""Load VMamba weights: official files, safetensors or a plain state dict, from disk or the release page."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mmifn.core.errors import ArtefactError
from mmifn.core.files import sha256_file
from mmifn.encoders.published import Published, require_publisher
from mmifn.encoders.state import misfits, read_state, refuse_misfit, shapes_of
from mmifn.encoders.vmamba.config import CLASSES, VARIANTS, variant_name
from mmifn.encoders.vmamba.download import download
from mmifn.encoders.vmamba.model import VMamba, build_vmamba

CACHE_VARIABLE = "MMIFN_CACHE"
# Names in the vanilla release files, and what they are now.
RENAMES = {
    "ln_1.": "norm.", "self_attention.": "op.", "patch_embed.proj.": "patch_embed.0.",
    "patch_embed.norm.": "patch_embed.2.",
}
HEAD_RENAMES = {"norm.": "classifier.norm.", "head.": "classifier.head."}


def default_cache_dir() -> Path:
    """Return where downloaded weights are kept: $MMIFN_CACHE, or ~/.cache/mmifn."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "mmifn")


def published_vmamba(variant: str, path: Path | None = None) -> Published:
    """Return the weights of a variant on its authors' release page; path: where they are kept (default: the cache)."""
    known = VARIANTS[variant_name(variant)]
    return Published(variant, known.url, 4 * known.parameters, str(path or default_cache_dir() / known.filename),
                     "--global-weights FILE")


def load_vmamba(variant: str, weights: str | os.PathLike[str] | None = None,
                cache_dir: str | os.PathLike[str] | None = None, *, timeout_s: float = 30.0,
                num_classes: int | None = None) -> tuple[VMamba, str]:
    """Return a published variant with weights, in eval mode, and the SHA-256 of the weights file.

    variant: as for `build_vmamba`. weights: a .pth, .pt or .safetensors file; None takes the release file
    from `cache_dir` (by default `default_cache_dir()`), downloading it if it is not there. num_classes: how many
    the classifier must have (by default as many as the file's). Nothing in a file is ever executed.
    Raises UserError: unknown variant; a file that is missing, damaged, of another variant, or readable only
    by unpickling; a download that fails.
    """
    name = variant_name(variant)
    if weights is None:
        path = Path(cache_dir or default_cache_dir()) / VARIANTS[name].filename
        if not path.is_file():
            require_publisher(published_vmamba(name, path))
        path = download(VARIANTS[name].url, path, min_bytes=2 * VARIANTS[name].parameters, timeout_s=timeout_s)
    else:
        path = Path(weights)
    state = official_state(read_state(path))
    head = state.get("classifier.head.weight")
    with torch.device("meta"):
        own = len(head) if head is not None and head.ndim == 2 else CLASSES
        model = build_vmamba(name, num_classes=num_classes or own)
    check_fit(state, model, name, path)
    model.load_state_dict({key: value.to(torch.float32) for key, value in state.items()}, assign=True)
    return model.eval(), sha256_file(path)


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


def fitting_variants(state: Mapping[str, Tensor]) -> list[str]:
    """Return the variants that a state dict (as of `official_state`) fits, whatever its number of classes."""
    def body(value: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
        return {key: shape for key, shape in shapes_of(value).items() if not key.startswith("classifier.head.")}

    fits = []
    for name in VARIANTS:
        with torch.device("meta"):
            if body(build_vmamba(name).state_dict()) == body(state):
                fits.append(name)
    return fits


def check_fit(state: Mapping[str, Tensor], model: VMamba, name: str, path: Path) -> None:
    """Raise ArtefactError, naming the variant that fits if there is one, where `state` is not for `model`."""
    found, wanted = shapes_of(state), shapes_of(model.state_dict())
    if found == wanted:
        return
    fits = fitting_variants(state)
    if fits and fits != [name]:
        raise ArtefactError(f"{path} is not a checkpoint of {name}, but of {fits[0]}: ask for that variant")
    refuse_misfit(path, name if fits else f"{name}, nor any other variant", *misfits(found, wanted),
                  remedy="Wanted: the file that its authors publish, unchanged (tools/convert_checkpoint.py keeps all tensors).")
