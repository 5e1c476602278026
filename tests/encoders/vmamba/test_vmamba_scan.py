"""The selective scan against a loop over pixels, closed forms and goldens of the official code."""

import importlib.util
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT
from skips import NO_CUDA, SHARED, needs_shared

from mmifn.encoders.vmamba import linear_scan, scan, scan_portable, scan_triton
from mmifn.encoders.vmamba.scan import cross_scan

GOLDEN = SHARED / "golden" / "vmamba"
SCAN_NAMES = ("u", "delta", "A", "B", "C", "D", "bias")
NAMES = ("x", "proj", "weight", "bias", "decay", "skip")


def pixel_orders(height, width):
    rows = [(i, j) for i in range(height) for j in range(width)]
    columns = [(i, j) for j in range(width) for i in range(height)]
    return rows, columns, rows[::-1], columns[::-1]


def naive_scan(x, proj, weight, bias, decay, skip):
    """One pixel after the other, as the recurrence is written."""
    b, height, width, d = x.shape
    n, rank = decay.shape[1], weight.shape[2]
    cells = {(i, j): x[:, i, j] * skip for i in range(height) for j in range(width)}
    for k, order in enumerate(pixel_orders(height, width)):
        h = x.new_zeros(b, n, d)
        for i, j in order:
            dt, b_in, c_out = proj[:, i, j, k].split([rank, n, n], dim=-1)
            step = F.softplus(dt @ weight[k].T + bias[k])[:, None]
            h = torch.exp(step * decay[k]) * h + step * b_in[..., None] * x[:, i, j][:, None]
            cells[i, j] = cells[i, j] + (c_out[..., None] * h).sum(1)
    return torch.stack([torch.stack([cells[i, j] for j in range(width)], 1) for i in range(height)], 1)


def scan_inputs(b, height, width, d, n, rank=2, dtype=torch.float64, seed=0):
    draw = torch.Generator().manual_seed(seed)
    shapes = [(b, height, width, d), (b, height, width, 4, rank + 2 * n), (4, d, rank), (4, d), (4, n, d), (d,)]
    x, proj, weight, bias, decay, skip = (torch.randn(s, generator=draw, dtype=torch.float64) for s in shapes)
    return [v.to(dtype) for v in (x, proj, weight, bias - 2, -decay.exp(), skip)]


def test_the_reference_loop_visits_pixels_in_the_published_orders():
    numbers = [[3 * i + j for i, j in order] for order in pixel_orders(2, 3)]
    assert numbers == [[0, 1, 2, 3, 4, 5], [0, 3, 1, 4, 2, 5], [5, 4, 3, 2, 1, 0], [5, 2, 4, 1, 3, 0]]


@pytest.mark.parametrize("size", [(2, 5, 4, 3, 1), (1, 9, 31, 2, 3), (2, 1, 7, 3, 1), (1, 40, 1, 2, 2)])
@pytest.mark.parametrize("block", [1 << 20, 16])
def test_scan_and_every_gradient_equal_the_loop(size, block, monkeypatch):
    monkeypatch.setattr(scan_portable, "BLOCK_ELEMENTS", block)
    inputs = [v.requires_grad_() for v in scan_inputs(*size)]
    want, got = naive_scan(*inputs), cross_scan(*inputs)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)
    g = torch.randn(want.shape, dtype=want.dtype, generator=torch.Generator().manual_seed(1))
    for name, a, b in zip(NAMES, torch.autograd.grad(got, inputs, g), torch.autograd.grad(want, inputs, g),
                          strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}")


def test_gradcheck():
    assert torch.autograd.gradcheck(cross_scan, [v.requires_grad_() for v in scan_inputs(1, 2, 3, 2, 2)])


def test_constant_decay_gives_geometric_series_along_each_direction():
    # Δ = softplus(0) = ln 2 and A = -1 halve the state per pixel: h_t = 2 ln 2 (1 - 2^-(t+1)) for x = B = 1.
    height, width = 24, 40
    t = torch.arange(height * width, dtype=torch.float64)
    series = 2 * math.log(2) * (1 - 0.5 ** (t + 1))
    wanted = [series.view(height, width), series.view(width, height).T,
              series.flip(0).view(height, width), series.flip(0).view(width, height).T]
    for k in range(4):
        proj = torch.zeros(1, height, width, 4, 3, dtype=torch.float64)
        proj[..., k, 1:] = 1  # B and C of direction k alone
        ones = torch.ones(1, height, width, 1, dtype=torch.float64)
        zeros = torch.zeros(4, 1, 1, dtype=torch.float64)
        y = cross_scan(ones, proj, zeros, zeros[..., 0], zeros - 1, zeros[0, 0])
        torch.testing.assert_close(y[0, ..., 0], wanted[k], rtol=0, atol=1e-14)


@pytest.mark.parametrize("length", [1, 2, 17, 64, 301, 1000])
@pytest.mark.parametrize("reverse", [False, True])
def test_linear_scan_of_any_length(length, reverse):
    draw = torch.Generator().manual_seed(length)
    log_a, b = (torch.randn(2, length, 3, generator=draw, dtype=torch.float64) for _ in range(2))
    log_a, state = -log_a.abs(), torch.ones(2, 3, dtype=torch.float64)
    want, h = torch.empty_like(b), state
    for t in reversed(range(length)) if reverse else range(length):
        want[:, t] = h = log_a[:, t].exp() * h + b[:, t]
    sums = linear_scan.chunk_sums(log_a, 6, reverse)
    last = linear_scan.linear_scan_(log_a.exp(), b, state, reverse, sums)
    torch.testing.assert_close(b, want, rtol=0, atol=1e-13)
    torch.testing.assert_close(last, h, rtol=0, atol=1e-13)


@pytest.mark.parametrize("bias", [-12.0, 3.0, 120.0])
def test_float32_stays_accurate_under_weak_and_strong_decay(bias):
    inputs = scan_inputs(1, 32, 48, 4, 1)
    inputs[3] = inputs[3] * 0 + bias  # 120 is beyond what exp can hold in float32
    exact = cross_scan(*inputs)
    single = cross_scan(*(v.float() for v in inputs))
    assert single.dtype == torch.float32
    assert ((single - exact).abs().max() / exact.abs().max()).item() < 3e-6
    torch.testing.assert_close(exact[:, :3, :3], naive_scan(*inputs)[:, :3, :3], rtol=1e-10, atol=1e-10)


def test_autocast_keeps_the_state_in_float32():
    inputs = [v.bfloat16() for v in scan_inputs(1, 6, 5, 4, 2)]
    with torch.autocast("cpu", torch.bfloat16):
        y = cross_scan(*inputs)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, cross_scan(*(v.float() for v in inputs)), rtol=0, atol=0)


def test_without_gradients_the_operator_is_passed_by_and_gives_the_same():
    inputs = scan_inputs(1, 6, 5, 4, 2)
    with torch.inference_mode():
        got = cross_scan(*inputs)
    torch.testing.assert_close(got, cross_scan(*inputs), rtol=0, atol=0)


def test_operator_is_registered_soundly_and_opaque_to_compile():
    inputs = [v.requires_grad_() for v in scan_inputs(1, 3, 4, 2, 2)]
    torch.library.opcheck(torch.ops.mmifn.cross_scan.default, inputs,
                          test_utils=("test_schema", "test_autograd_registration", "test_faketensor"))
    compiled = torch.compile(cross_scan, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(*inputs), cross_scan(*inputs), rtol=0, atol=0)


@needs_shared("golden", "vmamba")
@pytest.mark.parametrize("name", ["scan_n1", "scan_n16"])
def test_selective_scan_golden(name):
    """Official selective scan: group k of three channels has its own B and C; run as direction 0 of a 1 x 23 map."""
    file = np.load(GOLDEN / "golden_units.npz")
    data = {key: torch.from_numpy(file[f"{name}/{key}"]).requires_grad_() for key in SCAN_NAMES}
    length, n = data["u"].shape[-1], data["A"].shape[1]
    outputs = []
    for k in range(4):
        own = slice(3 * k, 3 * k + 3)
        ends = [data["delta"][:, own], data["B"][:, k], data["C"][:, k]]
        first = torch.cat([v.transpose(1, 2) for v in ends], -1).view(2, 1, length, 1, -1)
        proj = torch.cat([first, torch.zeros(2, 1, length, 3, 3 + 2 * n, dtype=torch.float64)], dim=3)
        eye = torch.eye(3, dtype=torch.float64).expand(4, 3, 3)
        y = cross_scan(data["u"][:, own].transpose(1, 2)[:, None], proj, eye, data["bias"][own].expand(4, 3),
                       data["A"][own].T.expand(4, n, 3), data["D"][own])
        outputs.append(y[:, 0].transpose(1, 2))
    y = torch.cat(outputs, 1)
    np.testing.assert_allclose(y.detach(), file[f"{name}/y"], rtol=0, atol=1e-10)
    (y * torch.from_numpy(file[f"{name}/w"])).sum().backward()
    for key, value in data.items():
        np.testing.assert_allclose(value.grad, file[f"{name}/grad/{key}"], rtol=1e-9, atol=1e-10, err_msg=key)


INTERPRETED = """
import torch
from mmifn.encoders.vmamba import scan_portable, scan_triton
from encoders.vmamba.test_vmamba_scan import NAMES, scan_inputs
scan_triton.CHUNK, scan_triton.BLOCK = 4, 4
inputs = scan_inputs(2, 2, 5, 5, 2, dtype=torch.float32)
exact = [v.double() for v in inputs]
want, *want_states = scan_portable.forward(*exact)
got, *states = scan_triton.forward(*inputs)
assert [tuple(s.shape) for s in states] == scan_triton.states_shapes(inputs[0], inputs[4])
torch.testing.assert_close(got.double(), want, rtol=0, atol=3e-6)
g = torch.randn(want.shape, generator=torch.Generator().manual_seed(1))
pairs = zip(NAMES, scan_triton.backward(g, *inputs, *states),
            scan_portable.backward(g.double(), *exact, *want_states), strict=True)
for name, a, b in pairs:
    assert ((a - b).abs().max() / b.abs().max()).item() < 3e-6, name
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_triton_kernels_equal_the_portable_scan_in_the_interpreter():
    env = os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": "",
                        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", INTERPRETED], env=env, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_CUDA)
@pytest.mark.parametrize("size", [(2, 14, 17, 40, 1), (1, 30, 64, 96, 16)])
def test_cuda_equals_the_portable_scan(size):
    assert scan_triton.available(), "torch's CUDA builds bring Triton; it needs gcc or clang"
    inputs = [v.requires_grad_() for v in scan_inputs(*size, rank=6)]
    fast = [v.detach().float().cuda().requires_grad_() for v in inputs]
    want, got = cross_scan(*inputs), cross_scan(*fast)
    g = torch.randn(want.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    pairs = [("y", got, want), *zip(NAMES, torch.autograd.grad(got, fast, g.float().cuda()),
                                    torch.autograd.grad(want, inputs, g), strict=True)]
    for name, a, b in pairs:
        assert ((a.cpu() - b).abs().max() / b.abs().max()).item() < 2e-5, name


def test_without_a_compiler_the_portable_scan_is_used_and_it_is_said_once(monkeypatch, capsys):
    class Cuda:
        is_cuda, dtype = True, torch.float32

    monkeypatch.setattr(scan_triton, "INSTALLED", True)
    monkeypatch.delenv("CC", raising=False)
    for found, backend, words in ((None, scan_portable, 1), ("/usr/bin/gcc", scan_triton, 0)):
        scan_triton.available.cache_clear()
        monkeypatch.setattr(scan_triton.shutil, "which", lambda name, found=found: found)
        assert scan._backend(Cuda()) is scan._backend(Cuda()) is backend
        assert capsys.readouterr().err.count("apt-get install gcc libc6-dev") == words
    scan_triton.available.cache_clear()
