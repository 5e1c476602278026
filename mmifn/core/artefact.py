"""What stages hand each other: typed caches with provenance, and torch files that never unpickle code.

This is the only module that calls torch.save and torch.load, and that writes safetensors. A cache holds plain dicts,
lists, numbers, strings and tensors, so that `weights_only=True` always reads it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import safetensors.torch
import torch
from torch import Tensor

from mmifn import __version__
from mmifn.core.errors import ArtefactError, UnpicklingRefused, listed
from mmifn.core.files import atomic_path, sha256_json
from mmifn.core.schema import misfits

T = TypeVar("T", bound="Artefact")
# What torch's restricted unpickler says of a file that wants a class or a function, not merely nonsense.
_ASKS_FOR_CODE = ("Unsupported global", "Unsupported class", "Trying to", "Can only")


def sha256_tensors(state: Mapping[str, Tensor]) -> str:
    """Return one SHA-256 over names, shapes, dtypes and bytes of a state dict."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_torch(path: Path, inert_pickle: Any = None) -> Any:
    """Read a torch file onto the CPU without ever unpickling code.

    inert_pickle: a pickle module that calls nothing a file names, in place of torch's own protection (only for
    converting foreign checkpoints).
    Raises UnpicklingRefused where the file asks for code, ArtefactError where it is missing or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise ArtefactError(f"{path} does not exist")
    try:
        _check_sums(path)
        return torch.load(path, map_location="cpu", pickle_module=inert_pickle, weights_only=inert_pickle is None)
    except pickle.UnpicklingError as error:
        if any(phrase in str(error) for phrase in _ASKS_FOR_CODE):
            raise UnpicklingRefused(f"{path} can only be read by running code that is pickled inside it") from error
        raise ArtefactError(f"{path} is damaged or is not a torch file") from error
    except (PermissionError, MemoryError):
        raise
    except Exception as error:  # on nonsense the unpickler raises almost anything: KeyError, EOFError, struct.error…
        reason = str(error).partition("\n")[0].partition(". This is an internal")[0] or type(error).__name__
        raise ArtefactError(f"{path} is damaged or only half there ({reason})") from error


def _check_sums(path: Path) -> None:
    """Compare the checksums inside a torch file, which torch.load does not do."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken:
            raise zipfile.BadZipFile(f"the checksum of {broken} is wrong")


def save_torch(value: Any, path: Path, durable: bool = False) -> None:
    """Write tensors and plain containers in one atomic step; durable: see atomic_path."""
    with atomic_path(path, durable=durable) as temporary:
        try:
            with open(temporary, "wb") as file:
                torch.save(value, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # torch hides a full disk behind an error of its own
                full = error.__context__
                raise OSError(full.errno, full.strerror, str(path)) from error
            raise


def save_safetensors(state: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors in one atomic step; the library's own writer hides a full disk behind an error of its own."""
    content = safetensors.torch.save({key: value.detach().contiguous() for key, value in state.items()}, metadata)
    with atomic_path(path, durable=True) as temporary:
        temporary.write_bytes(content)


@dataclass(frozen=True)
class Provenance:
    """Where a cache comes from.

    encoder: name of the network or method; weights_sha256: of its parameters ("" where it has none);
    preprocess: every setting that changes the values; inputs: upstream name -> SHA-256; version: of this package;
    computed: on what device and in which precision, in words ("" where that cannot matter). It is told, and is no part of any
    identity: all features are computed in float32, and devices differ by rounding alone.
    """

    encoder: str
    weights_sha256: str
    preprocess: dict[str, Any]
    inputs: dict[str, str]
    version: str = __version__
    computed: str = ""

    def method_digest(self) -> str:
        """Identify how values were made, whatever they were made from (16 hex digits)."""
        return sha256_json([self.encoder, self.weights_sha256, self.preprocess])[:16]


@dataclass(frozen=True)
class Artefact:
    """Base of every cache: a subclass adds its tensors, a SCHEMA, and the stage that makes it (STAGE)."""

    SCHEMA: ClassVar[str] = ""
    STAGE: ClassVar[str] = ""

    dataset: str
    names: list[str]
    made_by: Provenance

    def __post_init__(self) -> None:
        wrong = misfits(self, {"N": len(self.names)}) if isinstance(self.names, list) else ["names is no list"]
        if not wrong and len(set(self.names)) != len(self.names):
            wrong = ["image names are not unique"]
        if not wrong and (unknown := [key for key in self.inputs() if key not in self.made_by.inputs]):
            wrong = [f"made_by.inputs lacks {unknown[0]!r}"]
        if wrong:
            raise ArtefactError(f"{self.SCHEMA}: {'; '.join(wrong[:3])}")

    def inputs(self) -> list[str]:
        """Return the names that made_by.inputs must tell the origin of: those of the images."""
        return self.names

    def digest(self) -> str:
        """Identify content and origin in 64 hex digits."""
        tensors: dict[str, Tensor] = {}
        for part in dataclasses.fields(self):
            value = getattr(self, part.name)
            for i, tensor in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(tensor, Tensor):
                    tensors[f"{part.name}.{i}"] = tensor
        made_by = dataclasses.asdict(self.made_by)
        del made_by["computed"]
        return sha256_json([self.SCHEMA, self.dataset, self.names, made_by, sha256_tensors(tensors)])


def save(artefact: Artefact, path: Path) -> None:
    """Write an artefact atomically, replacing what was there."""
    content = {part.name: getattr(artefact, part.name) for part in dataclasses.fields(artefact)}
    content["made_by"] = dataclasses.asdict(artefact.made_by)
    save_torch({"schema": artefact.SCHEMA, **content}, path)


def load(path: Path, kind: type[T], *, dataset: str | None = None, remake: str | None = None) -> T:
    """Read an artefact of one kind, refusing anything else.

    dataset: the database it must belong to; remake: the command to name in a refusal (default: its stage).
    Raises ArtefactError with what was found, wanted, and the command that rebuilds it.
    """
    remake = remake or f"python {kind.STAGE}" + (f" --dataset {dataset}" if dataset else "")
    hint = f"\nRebuild it: {remake}"
    try:
        content = load_torch(path)
    except ArtefactError as error:
        raise ArtefactError(f"{error}{hint}") from error
    if not isinstance(content, dict) or content.get("schema") != kind.SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else type(content).__name__
        raise ArtefactError(f"{path} is not what this stage reads:\n  schema  found {found}, wanted {kind.SCHEMA}{hint}")
    fields = {part.name for part in dataclasses.fields(kind)}
    if set(content) - {"schema"} != fields:
        wrong = listed(sorted(map(str, fields ^ (set(content) - {"schema"}))))
        raise ArtefactError(f"{path} has missing or unknown fields:\n{wrong}{hint}")
    if dataset is not None and content["dataset"] != dataset:
        raise ArtefactError(f"{path} was made for dataset {content['dataset']}, not for {dataset}{hint}")
    content.pop("schema")
    try:
        return kind(**{**content, "made_by": Provenance(**content["made_by"])})
    except (TypeError, ArtefactError) as error:
        raise ArtefactError(f"{path} is not whole: {error}{hint}") from error


def require_names(artefact: Artefact, names: list[str], path: Path) -> list[int]:
    """Return the row of every name, or refuse, counting what is missing (rows join by name, never by position)."""
    rows = {name: i for i, name in enumerate(artefact.names)}
    missing = [name for name in names if name not in rows]
    if missing:
        raise ArtefactError(f"{path} lacks {len(missing)} of {len(names)} images of {artefact.dataset}:\n{listed(missing)}\n"
                            f"Complete it: python {artefact.STAGE} --dataset {artefact.dataset}")
    return [rows[name] for name in names]
