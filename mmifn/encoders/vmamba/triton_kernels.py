"""Triton kernels of one direction of the selective scan; `scan_triton` launches them.

Time t runs over the L = H * W pixels in scan order and is cut into chunks of CHUNK. A program holds one chunk
of BLOCK channels as a (CHUNK, BLOCK) tile and scans it with an associative scan, so that nothing is divided by
a product of decays. Layouts, all float32: maps (B, H, W, D); proj (B, H, W, P) with pixel stride `proj_stride`,
B and C at `b_at` and `c_at`; decay (N, D); chunk values (B, N, chunks, D).
"""



import triton
import triton.language as tl


@triton.jit
def _combine(decay_1, value_1, decay_2, value_2):
    return decay_1 * decay_2, value_1 * decay_2 + value_2


@triton.jit
def _pixel(t, height, width, COLUMNS: tl.constexpr, REVERSE: tl.constexpr):
    # Where in the row-major map the scan is at time t.
    if REVERSE:
        t = height * width - 1 - t
    if COLUMNS:
        t = (t % height) * width + t // height
    return t


@triton.jit
def _tile(batch, chunk, block, height, width, d, COLUMNS: tl.constexpr, REVERSE: tl.constexpr,
          CHUNK: tl.constexpr, BLOCK: tl.constexpr, SHIFT: tl.constexpr):
    # Pixels (CHUNK) of a chunk SHIFT steps later, whether they exist, and the tile's map offsets and mask.
    t = chunk * CHUNK + tl.arange(0, CHUNK) + SHIFT
    inside = t < height * width
    pixel = _pixel(tl.where(inside, t, 0), height, width, COLUMNS, REVERSE).to(tl.int64)
    pixel += batch.to(tl.int64) * height * width
    channel = block * BLOCK + tl.arange(0, BLOCK)
    mask = inside[:, None] & (channel < d)[None, :]
    return pixel, inside, pixel[:, None] * d + channel[None, :], mask


@triton.jit
def _row(tile, row, CHUNK: tl.constexpr):
    return tl.sum(tl.where(tl.arange(0, CHUNK)[:, None] == row, tile, 0.0), axis=0)


@triton.jit
def chunk_ends(x, delta, proj, decay, ends, decays, height, width, d, n, chunks, proj_stride, b_at,
               COLUMNS: tl.constexpr, REVERSE: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr):
    # The state each chunk ends in when it starts from zero, and the product of its decays.
    batch, chunk, block = tl.program_id(0) // chunks, tl.program_id(0) % chunks, tl.program_id(1)
    pixel, inside, at, mask = _tile(batch, chunk, block, height, width, d, COLUMNS, REVERSE, CHUNK, BLOCK, 0)
    step = tl.load(delta + at, mask, 0.0)
    step_x = step * tl.load(x + at, mask, 0.0)
    channel = block * BLOCK + tl.arange(0, BLOCK)
    for i in range(n):
        rate = tl.load(decay + i * d + channel, channel < d, 0.0)
        b = tl.load(proj + pixel * proj_stride + b_at + i, inside, 0.0)
        carried, state = tl.associative_scan((tl.exp(step * rate[None, :]), step_x * b[:, None]), 0, _combine)
        slot = ((batch * n + i) * chunks + chunk).to(tl.int64) * d + channel
        tl.store(ends + slot, _row(state, CHUNK - 1, CHUNK), channel < d)
        tl.store(decays + slot, _row(carried, CHUNK - 1, CHUNK), channel < d)


@triton.jit
def carry(ends, decays, starts, d, chunks, REVERSE: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr):
    # Scan over chunks: the true state before every chunk (after it, in REVERSE), zero at the first.
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    base = tl.program_id(0).to(tl.int64) * chunks
    state = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, chunks, CHUNK):
        order = first + tl.arange(0, CHUNK)
        chunk = chunks - 1 - order if REVERSE else order
        at = (base + chunk)[:, None] * d + channel[None, :]
        mask = (order < chunks)[:, None] & (channel < d)[None, :]
        decay, end = tl.load(decays + at, mask, 1.0), tl.load(ends + at, mask, 0.0)
        carried, scanned = tl.associative_scan((decay, end), 0, _combine)
        scanned += carried * state[None, :]
        follows = at - d if REVERSE else at + d
        tl.store(starts + follows, scanned, mask & (order < chunks - 1)[:, None])
        if first == 0:
            tl.store(starts + at, tl.zeros((CHUNK, BLOCK), tl.float32), mask & (order == 0)[:, None])
        state = _row(scanned, CHUNK - 1, CHUNK)


@triton.jit
def outputs(x, delta, proj, decay, starts, y, height, width, d, n, chunks, proj_stride, b_at, c_at,
            COLUMNS: tl.constexpr, REVERSE: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr):
    # y += the sum over states of C h.
    batch, chunk, block = tl.program_id(0) // chunks, tl.program_id(0) % chunks, tl.program_id(1)
    pixel, inside, at, mask = _tile(batch, chunk, block, height, width, d, COLUMNS, REVERSE, CHUNK, BLOCK, 0)
    step = tl.load(delta + at, mask, 0.0)
    step_x = step * tl.load(x + at, mask, 0.0)
    channel = block * BLOCK + tl.arange(0, BLOCK)
    total = tl.load(y + at, mask, 0.0)
    for i in range(n):
        rate = tl.load(decay + i * d + channel, channel < d, 0.0)
        b = tl.load(proj + pixel * proj_stride + b_at + i, inside, 0.0)
        c = tl.load(proj + pixel * proj_stride + c_at + i, inside, 0.0)
        carried, state = tl.associative_scan((tl.exp(step * rate[None, :]), step_x * b[:, None]), 0, _combine)
        slot = ((batch * n + i) * chunks + chunk).to(tl.int64) * d + channel
        start = tl.load(starts + slot, channel < d, 0.0)
        total += c[:, None] * (state + carried * start[None, :])
    tl.store(y + at, total, mask)


@triton.jit
def chunk_ends_backward(g, delta, proj, decay, ends, decays, height, width, d, n, chunks, proj_stride, c_at,
                        COLUMNS: tl.constexpr, REVERSE: tl.constexpr, CHUNK: tl.constexpr,
                        BLOCK: tl.constexpr):
    # The gradient of the state at each chunk's first pixel when nothing comes from later chunks.
    batch, chunk, block = tl.program_id(0) // chunks, tl.program_id(0) % chunks, tl.program_id(1)
    pixel, inside, at, mask = _tile(batch, chunk, block, height, width, d, COLUMNS, REVERSE, CHUNK, BLOCK, 0)
    _, _, later, mask_later = _tile(batch, chunk, block, height, width, d, COLUMNS, REVERSE, CHUNK, BLOCK, 1)
    grad = tl.load(g + at, mask, 0.0)
    step = tl.load(delta + later, mask_later, 0.0)
    channel = block * BLOCK + tl.arange(0, BLOCK)
    for i in range(n):
        rate = tl.load(decay + i * d + channel, channel < d, 0.0)
        c = tl.load(proj + pixel * proj_stride + c_at + i, inside, 0.0)
        carried, state = tl.associative_scan((tl.exp(step * rate[None, :]), grad * c[:, None]), 0, _combine,
                                             reverse=True)
        slot = ((batch * n + i) * chunks + chunk).to(tl.int64) * d + channel
        tl.store(ends + slot, _row(state, 0, CHUNK), channel < d)
        tl.store(decays + slot, _row(carried, 0, CHUNK), channel < d)


@triton.jit
def gradients(g, x, delta, proj, decay, starts, after, grad_x, grad_delta, grad_ends, grad_decay,
              height, width, d, n, chunks, proj_stride, b_at, c_at,
              COLUMNS: tl.constexpr, REVERSE: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr):
    # grad_x += and grad_delta = (B, H, W, D); grad_ends: of B and C, (blocks, B, H, W, 2, N), to be summed over
    # blocks; grad_decay: (B, N, chunks, D), to be summed over B and chunks.
    batch, chunk, block = tl.program_id(0) // chunks, tl.program_id(0) % chunks, tl.program_id(1)
    pixel, inside, at, mask = _tile(batch, chunk, block, height, width, d, COLUMNS, REVERSE, CHUNK, BLOCK, 0)
    _, _, later, mask_later = _tile(batch, chunk, block, height, width, d, COLUMNS, REVERSE, CHUNK, BLOCK, 1)
    grad, value = tl.load(g + at, mask, 0.0), tl.load(x + at, mask, 0.0)
    step, step_later = tl.load(delta + at, mask, 0.0), tl.load(delta + later, mask_later, 0.0)
    step_x = step * value
    channel = block * BLOCK + tl.arange(0, BLOCK)
    batches = tl.num_programs(0) // chunks
    part = grad_ends + (block.to(tl.int64) * batches * height * width + pixel) * 2 * n
    through_b, through_a = tl.zeros((CHUNK, BLOCK), tl.float32), tl.zeros((CHUNK, BLOCK), tl.float32)
    for i in range(n):
        rate = tl.load(decay + i * d + channel, channel < d, 0.0)
        b = tl.load(proj + pixel * proj_stride + b_at + i, inside, 0.0)
        c = tl.load(proj + pixel * proj_stride + c_at + i, inside, 0.0)
        slot = ((batch * n + i) * chunks + chunk).to(tl.int64) * d + channel
        carried, state = tl.associative_scan((tl.exp(step * rate[None, :]), step_x * b[:, None]), 0, _combine)
        state += carried * tl.load(starts + slot, channel < d, 0.0)[None, :]
        carried, grad_state = tl.associative_scan((tl.exp(step_later * rate[None, :]), grad * c[:, None]), 0,
                                                  _combine, reverse=True)
        grad_state += carried * tl.load(after + slot, channel < d, 0.0)[None, :]
        tl.store(part + i, tl.sum(grad_state * step_x, axis=1), inside)
        tl.store(part + n + i, tl.sum(grad * state, axis=1), inside)
        through_b += grad_state * b[:, None]
        grad_log = grad_state * (state - step_x * b[:, None])  # the bracket is a_t h_{t-1}
        through_a += grad_log * rate[None, :]
        tl.store(grad_decay + slot, tl.sum(grad_log * step, axis=0), channel < d)
    tl.store(grad_x + at, tl.load(grad_x + at, mask, 0.0) + step * through_b, mask)
    tl.store(grad_delta + at, through_a + value * through_b, mask)
