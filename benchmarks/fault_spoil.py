"""Ways to spoil a file by seed, and what a reader of one is."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmifn.core.files import sha256_text
from mmifn.scoring.prediction import Prediction, View

NAMES = [f"s{scene}_{level}.png" for scene in range(6) for level in range(3)]
ODD = ("NaN", "-Infinity", "1e999", "1,5", "abc", "", "null", "[]", "{}", '"x"', "-1", "0", "²", "٣", "9" * 400, "1e308", "true",
       "'", '"', "\0", "\r", "\x1b[2J", "=1+1", "../../x", "图", "[" * 3000)


@dataclass(frozen=True)
class Reader:
    """How a sound file is written and read; identity: what must be the same where a spoilt file is accepted (None: nothing)."""

    write: Callable[[Path], Any]
    read: Callable[[Path], Any]
    spoil: Callable[[bytes, random.Random], bytes]
    name: str
    identity: Callable[[Any], str] | None = None


def spoil_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, insert, repeat or blank some bytes."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 3, 20))):
        at, size = rng.randrange(len(content) + 1), rng.choice((1, 4, 64, 1000))
        way = rng.randrange(6)
        if way == 0 and at < len(content):
            content[at] ^= 1 << rng.randrange(8)
        elif way == 1:
            del content[at:]
        elif way == 2:
            content[at:at] = rng.randbytes(size)
        elif way == 3:
            del content[at:at + size]
        elif way == 4:
            content[at:at + size] = rng.choice((b"\0", b"\xff")) * len(content[at:at + size])
        else:
            content += content[:at]
    return bytes(content)


def spoil_text(data: bytes, rng: random.Random) -> bytes:
    """Put odd values in the place of cells, numbers and words, join the file to itself, or spoil its bytes."""
    way = rng.randrange(6)
    if way == 0:
        return spoil_bytes(data, rng)
    if way == 1:
        return data + data
    if way == 2:
        return data.decode("utf-8").encode(rng.choice(("utf-16", "utf-8-sig", "cp037")))
    pieces = re.split(r"([,\s:\[\]{}\"]+)", data.decode("utf-8"))
    for _ in range(rng.choice((1, 1, 2, 9))):
        pieces[rng.randrange(len(pieces))] = rng.choice(ODD)
    return "".join(pieces).encode("utf-8", "surrogatepass")


def spoil_value(value: Any, rng: random.Random) -> Any:
    """Return a value with something inside it replaced: by another type, another shape, or numbers that are not finite."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {other: item for other, item in value.items() if other != key}
        return {**value, key: spoil_value(value[key], rng)}
    if isinstance(value, list | tuple) and len(value) and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return type(value)([*value[:at], spoil_value(value[at], rng), *value[at + 1:]])
    if isinstance(value, torch.Tensor) and value.numel() and rng.random() < 0.7:
        no_number = torch.tensor(rng.choice((float("nan"), float("inf"))))
        ways = (lambda x: x[:-1] if x.ndim else x, lambda x: x[None], lambda x: x.to(torch.int32), lambda x: x.bool(),
                lambda x: torch.where(torch.rand(x.shape) < 0.3, no_number, x.float()), lambda x: x.double() * 1e30,
                lambda x: x.new_zeros(()), lambda x: x.flatten())
        return rng.choice(ways)(value)
    return rng.choice((None, float("nan"), float("inf"), -1, 10 ** 30, "x", "", [], {}, [1, "a", None], True, torch.zeros(2, 3),
                       b"x"))


def spoil_torch(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return spoil_bytes(data, rng)
    buffer = io.BytesIO()
    torch.save(spoil_value(torch.load(io.BytesIO(data), weights_only=True), rng), buffer)
    return buffer.getvalue()


def row_of(name: str) -> dict[str, Any]:
    """Return a row of results of an image that nobody scored."""
    views = tuple(View(-180.0 + 18 * i, 10.0, 40.0 + i) for i in range(20))
    said = Prediction(61.25, "good", (50.0, 72.5), 0.9, views, 40.0, 'Soft; "blurred",\nand noisy.', ("=no",), "m", 66.0,
                      ("soft",))
    return said.to_row(name, sha256_text(name), {})
