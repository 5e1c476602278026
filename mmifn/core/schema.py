"""What values must be like, told from the annotations of a dataclass: the one check behind every reader of stored files.

A reader rebuilds a dataclass of what a file holds with `built`, or asks `misfits` of one that it has rebuilt. Annotations of
plain types, of lists, tuples and dicts of them, of tensors and of other dataclasses are understood. Numbers and tensors must
be finite, but for those of a field with the metadata {"infinite": True}, which must not be NaN.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

D = TypeVar("D")
_MOST_SHOWN = 60  # characters of a value that is not what was wanted


def shaped(axes: str, dtype: str = "floating", count: int | None = None) -> dict[str, Any]:
    """Declare in a field's metadata what its tensor, or each of `count` tensors in a list, looks like.

    axes: a letter for each, such as "N V D"; a letter stands for one size wherever it stands in the dataclass, N for the number
    of images, and * for any size; "N D | N V D": either. dtype: "floating" or "bool".
    """
    return {"axes": [choice.split() for choice in axes.split("|")], "dtype": dtype, "count": count}


def misfits(instance: Any, sizes: Mapping[str, int] | None = None) -> list[str]:
    """Return in words what of a dataclass instance is not as its fields declare; sizes: of axes that are known beforehand."""
    wrong = list(_of_dataclass(instance, type(instance), ""))
    return wrong or list(_shapes(instance, dict(sizes or {})))


def built(kind: type[D], values: Any, place: str = "") -> D:
    """Return a dataclass of a dict with the values of its fields, as a file holds them; dataclasses inside it are dicts, too.

    Values are looked at before it is built, so that whatever it does with them on its own finds what its fields declare.
    place: what its fields are told with, such as "split.". Raises ValueError, telling what does not fit, or TypeError where a
    field is missing or unknown.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{place.rstrip('.') or 'it'} is {_shown(values)}, wanted a dict")
    ready, wrong, hints = dict(values), list[str](), _hints(kind)  # type: ignore[arg-type]
    for part in dataclasses.fields(kind):  # type: ignore[arg-type]
        if part.name in ready:
            inner = [of for of in (hints[part.name], *typing.get_args(hints[part.name])) if dataclasses.is_dataclass(of)]
            if inner and isinstance(ready[part.name], Mapping):
                ready[part.name] = built(inner[0], ready[part.name], f"{place}{part.name}.")  # type: ignore[arg-type]
            wrong += _misfits(ready[part.name], hints[part.name], f"{place}{part.name}", part.metadata.get("infinite", False))
    if wrong:
        raise ValueError("; ".join(wrong[:3]))
    instance = kind(**ready)
    if wrong := list(_shapes(instance, {})):
        raise ValueError("; ".join(wrong[:3]))
    return instance


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _of_dataclass(value: Any, kind: Any, place: str) -> Iterator[str]:
    hints = _hints(kind)
    for part in dataclasses.fields(kind):
        infinite = part.metadata.get("infinite", False)
        yield from _misfits(getattr(value, part.name), hints[part.name], f"{place}{part.name}", infinite)


def _misfits(value: Any, kind: Any, place: str, infinite: bool = False) -> Iterator[str]:
    """Yield what is wrong with a value that ought to be of a kind; place: what it is called."""
    origin, of = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return
    if origin in (typing.Union, types.UnionType):
        if all(any(_misfits(value, choice, place, infinite)) for choice in of):
            yield f"{place} is {_shown(value)}"
    elif not _is(value, origin or kind):
        yield f"{place} is {_shown(value)}, wanted {getattr(origin or kind, '__name__', kind)}"
    elif kind is float and not (_finite(value) or (infinite and value in (math.inf, -math.inf))):
        yield f"{place} is {value}"
    elif _is_tensor(value):
        if value.is_floating_point() and not bool(value.isfinite().all()):
            yield f"{place} holds values that are not finite"
    elif isinstance(kind, type) and dataclasses.is_dataclass(kind):
        yield from _of_dataclass(value, kind, f"{place}.")
    elif origin is not None and of:
        yield from _inside(value, origin, of, place, infinite)


def _is(value: Any, kind: Any) -> bool:
    """Tell whether a value is of a plain type; a whole number is a float too, and a bool is no number."""
    return isinstance(value, (int, float) if kind is float else kind) and (kind is bool or not isinstance(value, bool))


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _is_tensor(value: Any) -> TypeGuard[Tensor]:
    """Tell whether a value is a tensor, without importing torch for it: where it is not loaded, nothing is one."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _inside(value: Any, origin: Any, of: tuple[Any, ...], place: str, infinite: bool) -> Iterator[str]:
    """Yield what is wrong inside a list, tuple or dict."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _misfits(key, of[0], f"a key of {place}")
            yield from _misfits(item, of[1], f"{place}[{key!r}]", infinite)
    elif origin is tuple and of[-1] is not Ellipsis:
        if len(value) != len(of):
            yield f"{place} has {len(value)} values, wanted {len(of)}"
        for i, (item, kind) in enumerate(zip(value, of, strict=False)):
            yield from _misfits(item, kind, f"{place}[{i}]", infinite)
    else:
        for i, item in enumerate(value):
            yield from _misfits(item, of[0], f"{place}[{i}]", infinite)


def _shown(value: Any) -> str:
    text = f"a {type(value).__name__}" if isinstance(value, dict | list | tuple) or _is_tensor(value) else repr(value)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "…"


def _shapes(instance: Any, sizes: dict[str, int]) -> Iterator[str]:
    """Yield which tensors are not as `shaped` declares, or do not fit each other."""
    for part in dataclasses.fields(instance):
        if "axes" not in part.metadata:
            continue
        value, count = getattr(instance, part.name), part.metadata["count"]
        if count is not None and len(value) != count:
            yield f"{part.name} has {len(value)} tensors, wanted {count}"
        for tensor in [value] if count is None else value:
            yield from _shape(part.name, tensor, part.metadata, sizes)


def _shape(name: str, tensor: Tensor, wanted: Mapping[str, Any], sizes: dict[str, int]) -> Iterator[str]:
    """Yield how a tensor differs from what `shaped` declares (wanted), noting the sizes of its axes."""
    axes = next((choice for choice in wanted["axes"] if len(choice) == tensor.ndim), None)
    if axes is None:
        yield f"{name} is {tuple(tensor.shape)}, wanted " + " or ".join(f"({', '.join(choice)})" for choice in wanted["axes"])
        return
    dtype = "floating" if tensor.is_floating_point() else "bool" if str(tensor.dtype) == "torch.bool" else "whole"
    if dtype != wanted["dtype"]:
        yield f"{name} is {tensor.dtype}, wanted {wanted['dtype']} values"
    for axis, size in zip(axes, tensor.shape, strict=True):
        if not axis.startswith("*") and sizes.setdefault(axis, size) != size:
            yield (f"{name} has {size} rows for {sizes[axis]} image names" if axis == "N" else
                   f"{name} is {tuple(tensor.shape)}, where others have {axis} = {sizes[axis]}")
