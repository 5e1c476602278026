"""The selective scan of a map in four directions, in plain torch operations, with its own backward pass.

The backward pass keeps only the inputs and one state per block, and computes everything else again. Maps are
never copied, flipped or transposed: a direction is a view, worked on a block of lines at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mmifn.encoders.vmamba.linear_scan import Workspace, chunk_sums, linear_scan_

# Elements of a working buffer: a few of them stay in a 32 MB cache, and larger ones would only add memory.
BLOCK_ELEMENTS = 1 << 20
EXP_SAFE = 80.0  # exp overflows float32 at 88.7


def softplus_(z: Tensor) -> Tensor:
    """Turn z into log(1 + exp(z)) in place; several times faster than torch's own on a CPU."""
    if z.amax() > EXP_SAFE:
        return z.copy_(torch.maximum(z.clamp(max=EXP_SAFE).exp_().log1p_(), z))
    return z.exp_().log1p_()


def lines_per_block(x: Tensor, states: int) -> int:
    """Return how many lines of x (B, S, T, D) make a block, when each element has `states` states."""
    batch, lines, length, d = x.shape
    return min(lines, max(1, BLOCK_ELEMENTS // (batch * length * d * states)))


@dataclass(frozen=True)
class Direction:
    """One of the four scans: S lines (rows or columns) of T pixels, one after the other.

    x: (B, S, T, D); proj: (B, S, T, R + 2N), split into dt, B and C; weight: (D, R); bias: (D);
    decay: A (N, D), negative; reverse: run from the last pixel to the first.
    """

    x: Tensor
    proj: Tensor
    weight: Tensor
    bias: Tensor
    decay: Tensor
    reverse: bool

    def blocks(self) -> list[slice]:
        """Return the slices of lines that are worked on at a time, in scan order."""
        size, lines = lines_per_block(self.x, len(self.decay)), self.x.shape[1]
        parts = [slice(start, min(start + size, lines)) for start in range(0, lines, size)]
        return parts[::-1] if self.reverse else parts

    def split(self, part: slice) -> tuple[Tensor, ...]:
        """Return a block's dt (B * positions, R), and B and C as (N, B, lines, T, 1)."""
        n = len(self.decay)
        dt, *ends = self.proj[:, part].split([self.weight.shape[1], n, n], dim=-1)
        return dt.flatten(0, 2), *(value.permute(3, 0, 1, 2).unsqueeze(-1) for value in ends)

    def step_sizes(self, part: slice, dt: Tensor, space: Workspace) -> Tensor:
        """Return Δ = softplus(W dt + bias) of a block, (B, lines, T, D)."""
        z = space.take("delta", len(dt), self.weight.shape[0])
        torch.addmm(self.bias, dt, self.weight.t(), out=z)
        return softplus_(z).view(self.x[:, part].shape)


def scan_direction_(y: Tensor, seq: Direction, space: Workspace) -> Tensor:
    """Add one direction's scan to `y` (B, S, T, D); return the states before blocks, (blocks, N * B, D)."""
    n, d = seq.decay.shape
    batch = len(y)
    state = y.new_zeros(n * batch, d)
    starts = []
    for part in seq.blocks():
        starts.append(state)
        dt, b_in, c_out = seq.split(part)
        delta = seq.step_sizes(part, dt, space)
        decay = seq.decay.view(n, 1, 1, d)
        sums = (chunk_sums(delta.flatten(1, 2), n * batch * d, seq.reverse) * decay).flatten(0, 1)
        a = torch.mul(delta, decay.unsqueeze(1), out=space.take("a", n, *delta.shape)).exp_()
        delta.mul_(seq.x[:, part])
        b = delta.mul_(b_in[0])[None] if n == 1 else torch.mul(delta, b_in, out=space.take("b", n, *delta.shape))
        joined = (value.view(n * batch, -1, d) for value in (a, b))
        state = linear_scan_(*joined, state, seq.reverse, sums).clone()
        for c, h in zip(c_out, b, strict=True):
            y[:, part].addcmul_(h, c)
    return torch.stack(starts)


@dataclass(frozen=True)
class Gradients:
    """What one direction's backward pass fills; the shapes are those of the same fields of Direction."""

    x: Tensor
    proj: Tensor
    weight: Tensor
    bias: Tensor
    decay: Tensor


def backward_direction_(grads: Gradients, g: Tensor, seq: Direction, starts: Tensor,
                        space: Workspace) -> None:
    """Add to `grads` what g (B, S, T, D), the gradient of the scan's output, gives; `grads.proj` is set."""
    carry = torch.zeros_like(starts[0])
    for part, start in reversed(list(zip(seq.blocks(), starts, strict=True))):
        carry = _backward_block_(grads, g[:, part], seq, part, (start, carry), space)


def _backward_block_(grads: Gradients, g: Tensor, seq: Direction, part: slice, ends: tuple[Tensor, Tensor],
                     space: Workspace) -> Tensor:
    """Do one block; return what the block before it needs.

    ends: the state before the block, and exp(ΔA) times the gradient of the state at the first pixel after it.
    """
    n, d = seq.decay.shape
    batch, length = len(g), g.shape[1] * g.shape[2]
    dt, b_in, c_out = seq.split(part)
    delta = seq.step_sizes(part, dt, space)
    # One more place at either end: the state before the block, and a decay of 1 after it.
    log_a, a, h = (space.take(name, n * batch, length + 2, d) for name in ("log_a", "a", "b"))
    body, before, after = slice(1, length + 1), slice(0, length), slice(2, length + 2)
    if seq.reverse:
        before, after = after, before
    torch.mul(delta.flatten(1, 2), seq.decay.view(n, 1, 1, d), out=_by_state(log_a, n)[:, :, body])
    log_a[:, 0] = log_a[:, -1] = 0
    torch.exp(log_a, out=a)
    delta_x = torch.mul(delta, seq.x[:, part], out=space.take("delta_x", *delta.shape))
    torch.mul(delta_x.flatten(1, 2), b_in.flatten(2, 3), out=_by_state(h, n)[:, :, body])
    _scan_(log_a[:, body], a[:, body], h[:, body], ends[0], seq.reverse)
    h[:, -1 if seq.reverse else 0] = ends[0]
    state = torch.mul(g, c_out, out=space.take("state", n, *g.shape))
    joined = state.view(n * batch, length, d)
    _scan_(log_a[:, after], a[:, after], joined, ends[1], not seq.reverse)
    first = length - 1 if seq.reverse else 0
    carry = a[:, first + 1] * joined[:, first]
    grad_b = _dot(state, delta_x, space)
    grad_c = _dot(_by_state(h, n)[:, :, body].unflatten(2, g.shape[1:3]), g, space)
    grad_log_a = a[:, body].mul_(h[:, before]).mul_(joined).view(n, batch, length, d)
    grad_dt = _inputs_backward_(grads, seq, part, (dt, delta, b_in), state, grad_log_a)
    torch.cat([grad_dt, grad_b, grad_c], dim=-1, out=grads.proj[:, part])
    return carry


def _by_state(value: Tensor, n: int) -> Tensor:
    return value.unflatten(0, (n, -1))


def _scan_(log_a: Tensor, a: Tensor, b: Tensor, state: Tensor, reverse: bool) -> Tensor:
    return linear_scan_(a, b, state, reverse, chunk_sums(log_a, b.shape[0] * b.shape[2], reverse))


def _dot(a: Tensor, b: Tensor, space: Workspace) -> Tensor:
    """Return the sum over D of a·b: (N, B, S, T, D), (B, S, T, D) -> (B, S, T, N)."""
    return torch.mul(a, b, out=space.take("product", *a.shape)).sum(-1).permute(1, 2, 3, 0)


def _inputs_backward_(grads: Gradients, seq: Direction, part: slice, inputs: tuple[Tensor, Tensor, Tensor],
                      state: Tensor, grad_log_a: Tensor) -> Tensor:
    """Carry the gradients of state and log-decay to x, A, W and bias; return that of dt, (B, lines, T, R)."""
    dt, delta, b_in = inputs
    rate = delta.flatten(1, 2)
    grads.decay.add_(torch.stack([(grad * rate).sum((0, 1)) for grad in grad_log_a]))
    state.mul_(b_in)
    through_b = state[0] if len(state) == 1 else state.sum(0)
    grads.x[:, part].addcmul_(delta, through_b)
    grad_delta = through_b.mul_(seq.x[:, part])
    for decay, grad in zip(seq.decay, grad_log_a, strict=True):
        grad_delta.addcmul_(grad.view(delta.shape), decay)
    minus_grad_z = delta.neg_().expm1_().mul_(grad_delta).flatten(0, 2)  # softplus' = 1 - exp(-softplus)
    grads.weight.addmm_(minus_grad_z.t(), dt, alpha=-1)
    grads.bias.sub_(minus_grad_z.sum(0))
    return (minus_grad_z @ -seq.weight).view(*delta.shape[:3], -1)


def _directions(x: Tensor, proj: Tensor, *shared: Tensor) -> Iterator[tuple[int, Direction]]:
    """Yield the four directions and their numbers: rows, columns, rows reversed, columns reversed."""
    for k in range(4):
        views = (lines(value, k) for value in (x, proj[..., k, :]))
        yield k, Direction(*views, *(value[k] for value in shared), reverse=k >= 2)


def lines(x: Tensor, k: int) -> Tensor:
    """View a map (B, H, W, ...) as the lines of direction k: its rows, or (B, W, H, ...), its columns."""
    return x.transpose(1, 2) if k % 2 else x


def forward(x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, decay: Tensor,
            skip: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scan a map in four directions and add them up; shapes as in `scan.cross_scan`.

    Returns y (B, H, W, D), and for `backward` the states before each block of rows and of columns.
    """
    y, space = x * skip, Workspace(x)
    states = [scan_direction_(lines(y, k), seq, space)
              for k, seq in _directions(x, proj, weight, bias, decay)]
    return y, torch.stack(states[0::2]), torch.stack(states[1::2])


def states_shapes(x: Tensor, decay: Tensor) -> list[tuple[int, ...]]:
    """Return the shapes of `forward`'s states: (2 directions, blocks, N * B, D)."""
    n = decay.shape[1]
    counts = [-(-view.shape[1] // lines_per_block(view, n)) for view in (lines(x, 0), lines(x, 1))]
    return [(2, count, n * len(x), x.shape[-1]) for count in counts]


def backward(g: Tensor, x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, decay: Tensor, skip: Tensor,
             *states: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of all six inputs of `forward`, given g, that of its y, and its states."""
    space = Workspace(x)
    grads = [g * skip, torch.empty_like(proj), *(torch.zeros_like(value) for value in (weight, bias, decay))]
    for k, seq in _directions(x, proj, weight, bias, decay):
        views = (lines(grads[0], k), lines(grads[1][..., k, :], k), *(value[k] for value in grads[2:]))
        backward_direction_(Gradients(*views), lines(g, k), seq, states[k % 2][k // 2], space)
    return *grads, (g * x).sum((0, 1, 2))
