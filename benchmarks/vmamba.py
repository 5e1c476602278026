"""Time and memory of VMamba with our selective scan, with sequential scans, and with none (the floor).

Prints one Markdown row per case: seconds per image (least of several runs, the scans taking turns), and how far
one run raises the peak memory of a fresh process. Ratios are between runs of one case in one call. `--clock cpu`
counts processor seconds of all threads instead, which other programs disturb less. `seam` measures what closing
an ERP's seam does instead.

  OMP_WAIT_POLICY=PASSIVE python benchmarks/vmamba.py --quick
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmifn.cli.flags import command_parser
from mmifn.core.errors import user_main
from mmifn.encoders.vmamba import VMamba, blocks, build_vmamba, wrapped_features

VARIANTS = {"T": "vmamba_tiny_s1l8", "B": "vmamba_base_s2l15", "vanilla": "vanilla_vmamba_tiny"}
SIZES = {"224": (224, 224), "erp": (512, 1024)}
SCANS = ("floor", "ours", "sequential", "lean")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Case:
    """One network, one image size, and whether the backward pass is timed too."""

    variant: str
    size: str
    backward: bool

    @property
    def name(self) -> str:
        """Return the name to select the case by, such as T-224-forward."""
        return f"{self.variant}-{self.size}-{'both' if self.backward else 'forward'}"


CASES = {case.name: case for case in (Case(v, s, b) for b in (False, True) for s in SIZES for v in VARIANTS)}
QUICK = ["T-224-forward", "T-224-both", "vanilla-224-forward", "T-erp-forward"]


def in_order(value: Tensor) -> Tensor:
    """Copy (B, H, W, 4, ...) into the scan order of each direction: (B, 4, L, ...)."""
    rows, columns = value.flatten(1, 2), value.transpose(1, 2).flatten(1, 2)
    return torch.stack([rows[:, :, 0], columns[:, :, 1], rows[:, :, 2].flip(1), columns[:, :, 3].flip(1)], 1)


def merged(y: Tensor, height: int, width: int) -> Tensor:
    """Add up the four directions of (B, 4, L, D) in image order: (B, H, W, D)."""
    rows, columns = y[:, 0] + y[:, 2].flip(1), y[:, 1] + y[:, 3].flip(1)
    return rows.unflatten(1, (height, width)) + columns.unflatten(1, (width, height)).transpose(1, 2)


def ordered_inputs(x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, n: int) -> tuple[Tensor, ...]:
    """Return u and Δ (B, 4, L, D), and B and C (B, 4, L, N), in scan order."""
    dt, b_in, c_out = proj.split([weight.shape[2], n, n], dim=-1)
    step = F.softplus(torch.einsum("bhwkr,kdr->bhwkd", dt, weight) + bias)
    u = x[:, :, :, None].expand(-1, -1, -1, 4, -1)
    return tuple(in_order(value) for value in (u, step, b_in, c_out))


def sequential_scan(x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, decay: Tensor, skip: Tensor) -> Tensor:
    """The baseline, in the form of Mamba's published reference: discretise everything, then loop over pixels."""
    n = decay.shape[1]
    u, step, b_in, c_out = ordered_inputs(x, proj, weight, bias, n)
    a = torch.exp(torch.einsum("bkld,knd->bkdln", step, decay))
    b = torch.einsum("bkld,bkln,bkld->bkdln", step, b_in, u)
    state, outputs = x.new_zeros(len(x), 4, x.shape[-1], n), []
    for t in range(u.shape[2]):
        state = a[:, :, :, t] * state + b[:, :, :, t]
        outputs.append(torch.einsum("bkdn,bkn->bkd", state, c_out[:, :, t]))
    return x * skip + merged(torch.stack(outputs, 2), *x.shape[1:3])


def lean_scan(x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, decay: Tensor, skip: Tensor) -> Tensor:
    """A stronger sequential baseline: the same loop, discretising one pixel at a time in cache."""
    n = decay.shape[1]
    u, step, b_in, c_out = ordered_inputs(x, proj, weight, bias, n)
    state, outputs = x.new_zeros(len(x), 4, n, x.shape[-1]), []
    for t in range(u.shape[2]):
        inner = (step[:, :, t] * u[:, :, t])[:, :, None] * b_in[:, :, t, :, None]
        state = torch.exp(step[:, :, t, None] * decay) * state + inner
        outputs.append((c_out[:, :, t, :, None] * state).sum(2))
    return x * skip + merged(torch.stack(outputs, 2), *x.shape[1:3])


@contextlib.contextmanager
def scan_replaced(name: str) -> Iterator[None]:
    """Run with one of SCANS; the floor returns its input and projects nothing."""
    kept = blocks.cross_scan, blocks.SS2D.scan
    if name == "floor":
        blocks.SS2D.scan = lambda self, x: x
    elif name != "ours":
        blocks.cross_scan = {"sequential": sequential_scan, "lean": lean_scan}[name]
    try:
        yield
    finally:
        blocks.cross_scan, blocks.SS2D.scan = kept


def run(model: VMamba, image: Tensor, backward: bool) -> None:
    """Do what is timed: the logits of one image, and maybe all gradients."""
    with torch.set_grad_enabled(backward):
        logits = model(image)
    if backward:
        model.zero_grad(set_to_none=True)
        logits.square().sum().backward()


def prepare(case: Case) -> tuple[VMamba, Tensor]:
    """Return a network with random weights and an image."""
    torch.manual_seed(0)
    return build_vmamba(VARIANTS[case.variant]).eval(), torch.rand(1, 3, *SIZES[case.size])


def seconds(case: Case, scans: list[str], repeats: int, clock: Callable[[], float]) -> dict[str, float]:
    """Return the least time of each scan, in turns; the sequential ones run twice at most."""
    model, image = prepare(case)
    best = dict.fromkeys(scans, float("inf"))
    for turn in range(repeats + 1):  # the first is a warm-up
        for name in scans:
            if name in SCANS[2:] and turn not in (1, 2):
                continue
            with scan_replaced(name):
                start = clock()
                run(model, image, case.backward)
                best[name] = min(best[name], clock() - start if turn else float("inf"))
    return best


def peak_mb(case: Case, scan: str) -> float:
    """Return how far one run raises the peak memory of a fresh process, in MB."""
    code = f"from benchmarks.vmamba import *; print(measure_peak(CASES[{case.name!r}], {scan!r}))"
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    return float(done.stdout)


def measure_peak(case: Case, scan: str) -> float:
    """Do what `peak_mb` asks for, in its process."""
    model, image = prepare(case)
    run(model, image[..., :64, :64], case.backward)  # code and library buffers, but no feature maps
    Path("/proc/self/clear_refs").write_text("5")  # start the peak anew (Linux)
    before = memory_mb("VmRSS")
    with scan_replaced(scan):
        run(model, image, case.backward)
    return memory_mb("VmHWM") - before


def memory_mb(field: str) -> float:
    """Return a field of this process's memory status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def report(case: Case, repeats: int, slow: bool, clock: Callable[[], float]) -> None:
    """Measure one case and print its row."""
    sequential = slow or (case.size == "224" and not case.backward)
    times = seconds(case, list(SCANS if sequential else SCANS[:2]), repeats, clock)
    memory = {name: peak_mb(case, name) for name in SCANS[:2]}
    ours = times["ours"]
    cells = [f"{times['floor']:.3f}", f"{ours:.3f}", f"{ours / times['floor']:.2f}"]
    for name in SCANS[2:]:
        cells.append(f"{times[name]:.2f} ({times[name] / ours:.1f}x)" if sequential else "–")
    cells += [f"{memory['floor']:.0f}", f"{memory['ours']:.0f}", f"{memory['ours'] / memory['floor']:.2f}"]
    print(f"| {case.name} | {' | '.join(cells)} |", flush=True)


@torch.no_grad()
def report_seam() -> None:
    """Print the error at the seam's columns against the turned image, and the step across, open and closed."""
    torch.manual_seed(0)
    model = build_vmamba(VARIANTS["T"]).eval()
    lon, lat = torch.linspace(-torch.pi, torch.pi, 513)[:-1], torch.linspace(1.57, -1.57, 256)[:, None]
    waves = [torch.sin(k * lon + k) * lat.cos() + torch.cos(5 * lat) * torch.sin(lon * (k + 2)) for k in (1, 2, 3)]
    erp = torch.stack(waves)[None] + 0.3 * torch.randn(1, 3, 256, 512)
    turned = model.forward_features(erp.roll(256, -1))
    maps_of = {pad: wrapped_features(model, erp, pad) for pad in (0, 32, 64, 128)}
    print("| stage | pad, px | error at the seam | step across the seam / step elsewhere |\n|---|---|---|---|")
    for i, truth in enumerate(turned):
        truth = truth.roll(-truth.shape[-1] // 2, -1)
        for pad, maps in maps_of.items():
            error = (maps[i] - truth)[..., [0, -1]].square().mean().sqrt() / truth.std()
            across = (maps[i][..., 0] - maps[i][..., -1]).square().mean().sqrt()
            print(f"| {i + 1} | {pad} | {error:.3f} | {across / maps[i].diff(dim=-1).square().mean().sqrt():.2f} |")


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    parser.add_argument("--cases", nargs="+", choices=[*CASES, "seam"], help="default: all")
    parser.add_argument("--quick", action="store_true", help=f"only {', '.join(QUICK)}, with fewer repeats")
    parser.add_argument("--repeats", type=int, default=None, help="timed runs of each; default 7, quick 3")
    parser.add_argument("--sequential", action="store_true", help="time the sequential scans in the slow cases too")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    parser.add_argument("--threads", type=int, default=None)
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    names = args.cases or (QUICK if args.quick else list(CASES))
    if names != ["seam"]:
        print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
        print("| case | floor, s | ours, s | ours / floor | sequential, s | lean sequential, s | floor, MB | ours, MB "
              "| ours / floor |\n|---|---|---|---|---|---|---|---|---|")
    for name in names:
        if name == "seam":
            report_seam()
        else:
            report(CASES[name], args.repeats or (3 if args.quick else 7), args.sequential, CLOCKS[args.clock])
    return 0


if __name__ == "__main__":
    sys.exit(main())
