"""State dicts of weights files: read without running code, and taken only where every tensor fits the network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mmifn.core.artefact import load_torch
from mmifn.core.errors import ArtefactError, UnpicklingRefused, listed

ENTRIES = ("model", "state_dict")  # where training programs put the weights, in the order in which they are taken
MAX_NAMED = 8
Shape = tuple[int, ...]
Resized = tuple[str, Shape, Shape]  # key, shape in the file, shape in the network


class _Valueless(TorchFunctionMode):
    """Leaves tensors as they are where random values would be drawn into them."""

    DRAWS = frozenset({Tensor.uniform_, nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_})

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is Tensor.normal_:  # trunc_normal_ draws anew until no value is out of its bounds: what lies there may be
            return args[0].zero_()
        if function in self.DRAWS:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


@contextlib.contextmanager
def valueless() -> Iterator[None]:
    """Build networks whose every value comes from a file without drawing initial ones, which takes longer than reading them."""
    with _Valueless():
        yield


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a file: safetensors, or a torch file of tensors, maybe under "model".

    Raises UnpicklingRefused, with the command that converts the file, where reading it would mean running code;
    ArtefactError where it is missing, damaged, or holds no state dict.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix == ".npz":
        raise ArtefactError(f"{path} is in the format of another library (.npz, of JAX); wanted the same network's "
                            "model.safetensors or pytorch_model.bin, as timm publishes it on the hub")
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


def entry_of(value: Any) -> tuple[str, list[str]]:
    """Return under which entry of a file the weights are taken ("" for the file itself), and which other entries hold some."""
    if not isinstance(value, Mapping):
        return "", []
    holds = [str(key) for key, item in value.items()
             if isinstance(item, Mapping) and any(isinstance(value, Tensor) for value in item.values())]
    taken = next((key for key in ENTRIES if isinstance(value.get(key), Mapping)), "")
    return taken, [key for key in holds if key != taken]


def find_state(value: Any, path: Path) -> dict[str, Tensor]:
    """Return the state dict in what a file held: the value itself, or its "model" or "state_dict".

    Raises ArtefactError where there is none.
    """
    taken, others = entry_of(value)
    inner = value[taken] if taken else value
    if isinstance(inner, Mapping):
        state = {str(key): item for key, item in inner.items() if isinstance(item, Tensor)}
        if state:
            return state
    found = type(value).__name__
    if isinstance(value, Mapping):
        found += f" of {sorted(map(str, value))[:MAX_NAMED]}"
    also = f" ({', '.join(others)} is left alone: it is not what the network's figures are published for)" if others else ""
    raise ArtefactError(f"{path} holds no network weights: found {found}; wanted tensors by name, or such a "
                        f'dict under "model"{also}')


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Return the shape of every tensor of a state dict."""
    return {key: tuple(value.shape) for key, value in state.items()}


def refuse_misfit(source: Path | str, name: str, missing: Iterable[str], unexpected: Iterable[str],
                  resized: Iterable[Resized], remedy: str = "") -> None:
    """Raise ArtefactError, naming the keys, where any tensor of a weights file has no place, or a place has no tensor.

    A network that is loaded in part keeps random values in the rest and still gives numbers: so nothing is let pass.
    missing: in the network only; unexpected: in the file only.
    """
    rows = [f"{key}: missing" for key in sorted(missing)]
    rows += [f"{key}: not part of the network" for key in sorted(unexpected)]
    rows += [f"{key}: file {tuple(found)}, network {tuple(wanted)}" for key, found, wanted in sorted(resized)]
    if rows:
        raise ArtefactError(f"{source} does not fit {name} ({len(rows)} tensors differ):\n{listed(rows, MAX_NAMED)}"
                            + (f"\n{remedy}" if remedy else ""))


def misfits(found: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> tuple[list[str], list[str], list[Resized]]:
    """Compare shapes by key: what the file lacks, what the network lacks, and what has another size."""
    resized = [(key, found[key], wanted[key]) for key in wanted if key in found and found[key] != wanted[key]]
    return [key for key in wanted if key not in found], [key for key in found if key not in wanted], resized


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], source: Path | str, name: str, *, head: str = "",
                  remedy: str = "", assign: bool = False) -> None:
    """Load a state dict into a network in float32, or refuse it (see `refuse_misfit`).

    head: first part of the keys of a classifier that the file may lack as a whole (it is not used here); where it is there,
    its size must be the network's, since another head means other weights. assign: the network takes the tensors themselves,
    which may lie in a file mapped into memory, and no copy.
    """
    found, wanted = shapes_of(state), shapes_of(network.state_dict())
    if head and not any(key.startswith(f"{head}.") for key in found):
        own = network.state_dict()
        state = {**state, **{key: own[key] for key in wanted if key.startswith(f"{head}.")}}
        found = shapes_of(state)
    refuse_misfit(source, name, *misfits(found, wanted), remedy)
    network.load_state_dict({key: value.to(torch.float32) if value.is_floating_point() else value
                             for key, value in state.items()}, strict=True, assign=assign)
