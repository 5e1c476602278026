"""A first-order linear recurrence over long sequences, in a few large torch operations.

h_t = a_t h_{t-1} + b_t is cut into chunks. Pass 1 walks all chunks at once for their end states, these are
scanned in turn (by the same function), and pass 2 walks all chunks again from their true start.
Nothing is ever divided by a product of decays, so strong decay costs no accuracy.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

GRAIN = 32768  # elements; torch runs smaller operations on one thread
LOG_FLOOR = -80.0  # exp(-80) is still a normal float32; denormals would slow the scan tenfold


class Workspace:
    """Scratch memory that one call reuses for all its blocks: fresh pages cost more than the arithmetic."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """Return an uninitialised, contiguous tensor in the place of the last one of that name."""
        count = math.prod(shape)
        if name not in self._buffers or self._buffers[name].numel() < count:
            self._buffers[name] = self._like.new_empty(count)
        return self._buffers[name][:count].view(shape)


def chunk_length(length: int, width: int) -> int:
    """Choose the chunk for `length` steps over `width` elements: `length` itself where cutting does not pay.

    A scan costs two passes of `chunk` operations and one over the chunks: the fewest are at sqrt(length / 2).
    Operations beyond torch's grain run on several threads; for ones this small that costs more than it gains.
    """
    best = max(math.isqrt(length // 2), -(-length * width // GRAIN))
    if best < 2 or 3 * best > length:
        return length
    return min(range(best, best + best // 2 + 1), key=lambda chunk: length % chunk)


def _parts(length: int, chunk: int, reverse: bool) -> tuple[slice, slice]:
    """Cut a sequence into what is left over from whole chunks, which is run first, and the chunks."""
    odd = length % chunk
    if reverse:
        return slice(length - odd, length), slice(0, length - odd)
    return slice(odd), slice(odd, length)


def chunk_sums(log_a: Tensor, width: int, reverse: bool) -> Tensor:
    """Sum (..., T, D) over the chunks that `linear_scan_` will cut: (..., chunks, D); chunks may be 0."""
    length = log_a.shape[-2]
    chunk = chunk_length(length, width)
    if chunk == length:
        return log_a[..., :0, :]
    return log_a[..., _parts(length, chunk, reverse)[1], :].unflatten(-2, (-1, chunk)).sum(-2)


def _steps(a: tuple[Tensor, ...], b: tuple[Tensor, ...], state: Tensor) -> Tensor:
    for a_t, b_t in zip(a, b, strict=True):
        state = torch.addcmul(b_t, a_t, state, out=b_t)
    return state


def linear_scan_(a: Tensor, b: Tensor, state: Tensor, reverse: bool, log_sums: Tensor) -> Tensor:
    """Turn `b` into all states h_t = a_t h_{t-1} + b_t in place; return the last (maybe a view of it).

    a, b: (M, T, D); state: (M, D), h before the first step; reverse: run from T-1 to 0;
    log_sums: (M, chunks, D), `chunk_sums` of log a at width M * D.
    """
    order = -1 if reverse else 1
    width, length = b.shape[0] * b.shape[2], b.shape[1]
    chunk = chunk_length(length, width)
    if chunk == length:
        return _steps(a.unbind(1)[::order], b.unbind(1)[::order], state)
    first, rest = _parts(length, chunk, reverse)
    state = _steps(a[:, first].unbind(1)[::order], b[:, first].unbind(1)[::order], state)
    decays = a[:, rest].unflatten(1, (-1, chunk)).unbind(2)[::order]
    values = b[:, rest].unflatten(1, (-1, chunk)).unbind(2)[::order]
    end = torch.addcmul(values[1], decays[1], values[0])
    for a_t, b_t in zip(decays[2:], values[2:], strict=True):
        torch.addcmul(b_t, a_t, end, out=end)
    total = log_sums.clamp(min=LOG_FLOOR)
    last = linear_scan_(total.exp(), end, state, reverse, chunk_sums(total, width, reverse))
    joined = [end[:, 1:], state[:, None]] if reverse else [state[:, None], end[:, :-1]]
    _steps(decays, values, torch.cat(joined, dim=1))
    return last
