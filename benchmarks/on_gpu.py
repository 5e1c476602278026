"""Everything that only a GPU can show, step by step, each in a process of its own with a time limit; `on_gpu.sh` sets up first.

    python benchmarks/on_gpu.py [--out DIR] [--device auto|cuda|cpu] [--minutes 10] [--only STEP …]

Writes DIR/on_gpu.json and DIR/on_gpu.html: of every step whether it passed, failed, ran out of time or could not be run here, its
seconds by the clock and of processors, and its figures. Networks of the paper's preset have random weights, which changes no
time. On a CPU steps are small and those that compare a GPU with it are not run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from mmifn.cli.flags import command_parser
from mmifn.core.device import DEVICES, resolve_device
from mmifn.core.errors import user_main
from mmifn.core.files import write_text
from mmifn.core.version import code_version
from mmifn.report.markup import element, table_html
from mmifn.report.tables import Table

ROOT = Path(__file__).resolve().parents[1]
CUDA_TESTS = ["tests/encoders/vmamba/test_vmamba_scan.py", "tests/encoders/test_networks.py", "tests/core/test_device.py"]
IMAGES = {"cuda": 320, "cpu": 64}  # of a database as large as OIQA, and of a small one
STYLE = ("body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}table{border-collapse:collapse}"
         "td,th{padding:.2rem .8rem;border-bottom:1px solid #ccc;text-align:left}.scroll{overflow-x:auto}")


@dataclass(frozen=True)
class Step:
    """What is asked, and by which function: (device, folder) -> figures.

    limit_s: how long it may take of ten minutes; needs_cuda: only a GPU can answer.
    """

    asks: str
    run: Callable[[torch.device, Path], dict[str, Any]]
    limit_s: int
    needs_cuda: bool = False


def clocked(run: Callable[[], object], device: torch.device, repeats: int = 3) -> float:
    """Return the least time of a call in seconds; the first is not counted."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def furthest(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the largest difference, for the largest value wanted."""
    found, wanted = found.detach().double().cpu(), wanted.detach().double().cpu()
    return float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1e-12))


def tests(device: torch.device, folder: Path) -> dict[str, Any]:
    """Run the tests that look for a GPU; without one they are the ones that say so."""
    done = subprocess.run([sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", "-k", "cuda or device",
                           *CUDA_TESTS], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:])
    return {"pytest": done.stdout.strip().splitlines()[-1]}


def compared_scans(name: str, size: tuple[int, ...], n: int, device: torch.device) -> dict[str, float]:
    """Compare both scans of a map (B, H, W, D) with n states: values, gradients, and times."""
    from mmifn.encoders.vmamba import scan_portable, scan_triton

    draw, found = torch.Generator().manual_seed(0), {}
    shapes = [size, (*size[:3], 4, 6 + 2 * n), (4, size[3], 6), (4, size[3]), (4, n, size[3]), (size[3],)]
    x, proj, weight, bias, decay, skip = (torch.randn(shape, generator=draw).to(device) for shape in shapes)
    inputs, g = (x, proj, weight, bias - 2, -decay.exp(), skip), torch.randn(size, generator=draw).to(device)
    results = []
    for module, kind in ((scan_triton, "Triton"), (scan_portable, "portable")):
        y, *states = module.forward(*inputs)
        results.append([y, *module.backward(g, *inputs, *states)])
        found[f"{name}, {kind} forward, ms"] = 1e3 * clocked(partial(module.forward, *inputs), device)
        found[f"{name}, {kind} backward, ms"] = 1e3 * clocked(partial(module.backward, g, *inputs, *states), device)
    found[f"{name}, furthest"] = worst = max(furthest(*pair) for pair in zip(*results, strict=True))
    if not worst < 1e-4:
        raise RuntimeError(f"{name}: Triton and portable differ by {worst:.1e}")
    return found


def scan(device: torch.device, folder: Path) -> dict[str, Any]:
    """Compare the Triton kernels with the portable scan on the same GPU."""
    from mmifn.encoders.vmamba import scan_triton

    if not scan_triton.available():
        raise RuntimeError("Triton or a C compiler is missing")
    sizes = {"T, 224": ((8, 56, 56, 96), 1), "T, 512x1024": ((1, 128, 256, 96), 1), "vanilla, 224": ((8, 56, 56, 192), 16)}
    return {key: value for name, size in sizes.items() for key, value in compared_scans(name, *size, device).items()}


def script(name: str, *argv: str) -> float:
    """Run a script in this process and return its seconds. Raises RuntimeError where it does not end with 0."""
    import importlib

    start = time.perf_counter()
    if code := importlib.import_module(name).main(list(argv)):
        raise RuntimeError(f"{name}.py {' '.join(argv)} ended with {code}")
    return time.perf_counter() - start


def scripts(device: torch.device, folder: Path) -> dict[str, Any]:
    """Run every script that takes --device on two tiny databases, and tune encoders on one."""
    root, where = ["--root", str(folder / "work")], ["--device", device.type]
    training = ["--config", "compact", "--epochs", "2", "--branch-epochs", "1", *where]
    runs = [*training, "--splits", "1", "--workers", "1"]
    small = {"viewport_encoder": ["--size-px", "32", "32", "--no-png"], "global_feature_extractor": ["--erp-height-px", "128"]}
    small = small if device.type == "cpu" else {name: [] for name in small}
    found = {}
    for like in ("OIQA", "CVIQ"):
        found[f"simulate {like}, s"] = script("simulate_dataset", *root, "--like", like, "--panoramas", "synthetic", "--scenes",
                                              "3", "--height", "128", "--levels", "1,3", "--workers", "1")
        script("generate_text", *root, "--dataset", like, "--preset", "offline", "--workers", "1")
    found["text_encoder, s"] = script("text_encoder", *root, "--preset", "offline", *where)
    for like in ("OIQA", "CVIQ"):
        for name in ("viewport_encoder", "global_feature_extractor"):
            found[f"{name} {like}, s"] = script(name, *root, "--dataset", like, "--preset", "offline", *where, *small[name])
    for name in ("gff_module", "lff_module", "train"):
        found[f"{name}, s"] = script(name, *root, "--dataset", "OIQA", *training)
    found["evaluate, s"] = script("evaluate", *root, *runs, "--without-full-reference", "--without-statistics")
    for name in ("cross_eval", "ablation_study"):
        found[f"{name}, s"] = script(name, *root, *runs)
    found["train --tune-encoders lora, s"] = script("train", *root, "--dataset", "OIQA", *training, "--tune-encoders", "lora",
                                                    "--tune-epochs", "1")
    return found


def checkpoint(device: torch.device, folder: Path) -> dict[str, Any]:
    """Score the checkpoint that the step before made (with tuned encoders) on GPU and CPU."""
    figures = {}
    for where in ("cuda", "cpu"):
        script("evaluate", "--root", str(folder / "work"), "--checkpoint", str(folder / "work/checkpoints/mmifn_best.pth"),
               "--device", where)
        table = (folder / "work/results/checkpoint_results.csv").read_text(encoding="utf-8")
        figures[where] = [row.split(",") for row in table.splitlines() if row.startswith(("OIQA ", "CVIQ "))]
    apart = max(abs(float(a) - float(b)) for gpu, cpu in zip(*figures.values(), strict=True)
                for a, b in zip(gpu[1:], cpu[1:], strict=True) if a != b)  # dashes where there are too few images
    if apart > 0.02:
        raise RuntimeError(f"the same checkpoint gives figures {apart} apart")
    return {"rows": len(figures["cpu"]), "furthest figure": apart}


def precision(device: torch.device, folder: Path) -> dict[str, Any]:
    """Compare features of GPU and CPU, and the fusion in mixed precision with itself in float32."""
    from benchmarks.complexity import parts_of

    found = {}
    for preset in ("offline", "paper"):
        gpu, cpu = parts_of(preset, device), parts_of(preset, torch.device("cpu"))
        with torch.no_grad():
            for name in ("views", "whole"):
                pairs = zip(gpu[name].lightly(), cpu[name].lightly(), strict=True)
                found[f"{preset}, {name}: GPU and CPU, furthest"] = worst = max(furthest(*pair) for pair in pairs)
                if not worst < 1e-3:
                    raise RuntimeError(f"{preset}, {name}: features of GPU and CPU differ by {worst:.1e}")
            [exact] = gpu["fusion"].run()
            with torch.autocast("cuda"):
                [mixed] = gpu["fusion"].run()
            found[f"{preset}, fusion: float16 autocast and float32, furthest"] = furthest(mixed, exact)
    return found


def panorama(height: int) -> np.ndarray:
    """Return a panorama (height, 2 height, 3) uint8 that the package draws; height: a multiple of 256."""
    from mmifn.simulate.rendered.panorama import render_scene

    return render_scene("plaza_01", 256).repeat(height // 256, axis=0).repeat(height // 256, axis=1)


def speed(device: torch.device, folder: Path) -> dict[str, Any]:
    """Measure predict.py, and the encoders of both presets on batches as stages 3 and 4 make them."""
    from benchmarks.complexity import parts_of
    from mmifn.scoring.panorama import open_predictor

    height = 2048 if device.type == "cuda" else 256
    erp, predictor = panorama(height), open_predictor("offline", None, device.type)
    found = {f"predict, images of {2 * height}x{height} a second": 1 / clocked(lambda: predictor.score_pixels(erp), device, 2)}
    for preset in ("offline", "paper") if device.type == "cuda" else ("offline",):
        parts = parts_of(preset, device)
        with torch.no_grad():
            for name in ("views", "whole"):
                run = parts[name].run
                found[f"{preset}, {name}: panoramas a second"] = 1 / clocked(run, device)
    return found


def split(device: torch.device, folder: Path) -> dict[str, Any]:
    """Time epochs of the paper's configuration on made-up features of a database of OIQA's size; on a CPU a small one."""
    from mmifn.data.manifest import Manifest
    from mmifn.fusion.inputs import Database, Inputs
    from mmifn.training.configs import CONFIGS, Config
    from mmifn.training.fit import fit_branch, fit_joint
    from mmifn.training.trial import Trial

    count, config = IMAGES[device.type], CONFIGS["paper" if device.type == "cuda" else "compact"]
    draw = torch.Generator().manual_seed(0)
    tokens = torch.randn(count, 64, 768, generator=draw)
    levels = [torch.randn(count, 32, width, generator=draw) for width in (192, 384, 768)]
    inputs = Inputs.of(tokens, torch.ones(count, 64, dtype=torch.bool), tokens.mean(dim=1),
                       torch.randn(count, 20, 768, generator=draw), levels)
    names, scenes = [f"{i}.png" for i in range(count)], [f"s{i % 16}" for i in range(count)]
    mos = inputs.views.mean(dim=(1, 2)).double().numpy()
    manifest = Manifest("made up", names, 50 + 10 * mos / mos.std(), ["none"] * count, scenes, None, [0] * count, "simulated")
    one = Config(config.model, replace(config.train, epochs=1, branch_epochs=1))
    trial = Trial.drawn(Database(manifest, inputs, {}, "", {}), "reference", one, 0)
    gff, lff = (clocked(partial(fit_branch, name, trial, device), device, 1) for name in ("gff", "lff"))
    joint = clocked(partial(fit_joint, trial, device), device, 1)
    whole = config.train.branch_epochs * (gff + lff) + config.train.epochs * joint
    return {"GFF, s an epoch": gff, "LFF, s an epoch": lff, "joint, s an epoch": joint,
            f"one split of {count} images, all epochs, s (extrapolated)": whole}


def complexity(device: torch.device, folder: Path) -> dict[str, Any]:
    """Run benchmarks/complexity.py."""
    path, presets = folder / "complexity.json", ["paper", "offline"] if device.type == "cuda" else ["offline"]
    subprocess.run([sys.executable, str(ROOT / "benchmarks/complexity.py"), "--device", device.type, "--repeats", "1",
                    "--presets", *presets, "--json", str(path)], check=True, stdout=subprocess.DEVNULL)
    measured = json.loads(path.read_text(encoding="utf-8"))["presets"]
    return {f"{preset}, {row['part']}: {unit}": row[key] for preset, part in measured.items() for row in part["parts"]
            for key, unit in (("seconds", "s"), ("mb", "MB"))}


STEPS = {
    "tests": Step("the tests that look for a GPU", tests, 90),
    "scan": Step("Triton's scan against the portable one, forward, backward, speed", scan, 60, needs_cuda=True),
    "scripts": Step("every script with --device, on tiny databases", scripts, 200),
    "checkpoint": Step("a checkpoint of the GPU, scored on both", checkpoint, 60, needs_cuda=True),
    "precision": Step("features of GPU and CPU; mixed precision and float32", precision, 60, needs_cuda=True),
    "speed": Step("images a second of predict.py and of the encoders", speed, 60),
    "split": Step("one split of the paper's configuration", split, 60),
    "complexity": Step("time and memory of every part", complexity, 90),
}


def finish(argv: list[str], limit_s: float) -> tuple[int, str]:
    """Run a command and return its exit code and what it said on stderr.

    Raises subprocess.TimeoutExpired where it takes longer; it has then ended, and so have the processes that it started.
    """
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
                          env={**os.environ, "HF_HUB_OFFLINE": "1"}) as process:
        try:
            _, said = process.communicate(timeout=limit_s)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, said


def run_step(name: str, device: torch.device, folder: Path, limit_s: float) -> dict[str, Any]:
    """Run a step in a process of its own and say how it went."""
    step, answer, start = STEPS[name], folder / f".{name}.json", time.monotonic()
    if step.needs_cuda and device.type != "cuda":
        return {"state": "not run: no CUDA device", "seconds": 0.0, "cpu_seconds": 0.0, "figures": {}}
    if limit_s < 1:
        return {"state": "not run: no time left", "seconds": 0.0, "cpu_seconds": 0.0, "figures": {}}
    spent = _children_s()
    argv = [sys.executable, __file__, "--step", name, "--device", device.type, "--out", str(folder)]
    try:
        code, said = finish(argv, limit_s)
        state = "passed" if code == 0 else f"FAILED: {(said.strip().splitlines() or ['?'])[-1][:500]}"
    except subprocess.TimeoutExpired:
        state = f"stopped after {limit_s:.0f} s"
    figures = json.loads(answer.read_text(encoding="utf-8")) if state == "passed" else {}
    answer.unlink(missing_ok=True)
    return {"state": state, "seconds": time.monotonic() - start, "cpu_seconds": _children_s() - spent, "figures": figures}


def _children_s() -> float:
    """Return the processor seconds of all processes that this one started and waited for, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def page_of(report: dict[str, Any]) -> str:
    """Return the report as one page."""
    table = Table("Steps", ["step", "what is asked", "outcome", "s", "processor s"])
    table.rows = [[name, STEPS[name].asks, step["state"], f"{step['seconds']:.0f}", f"{step['cpu_seconds']:.0f}"]
                  for name, step in report["steps"].items()]
    figures = Table("Figures", ["step", "figure", "value"])
    figures.rows = [[name, key, f"{value:.4g}" if isinstance(value, float) else str(value)]
                    for name, step in report["steps"].items() for key, value in step["figures"].items()]
    head = element("head", element("meta", charset="utf-8"), element("title", "MMIFN on a GPU"), element("style", STYLE))
    facts = element("p", "; ".join(f"{key}: {value}" for key, value in report["machine"].items()))
    body = element("body", element("h1", "MMIFN on this machine"), facts, table_html(table), table_html(figures))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    parser.add_argument("--out", type=Path, default=Path("on_gpu"), metavar="DIR", help="where to write (default: %(default)s)")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--minutes", type=float, default=10, help="for everything together (default: %(default)g)")
    parser.add_argument("--only", nargs="+", choices=list(STEPS), default=list(STEPS), metavar="STEP",
                        help=f"some of: {', '.join(STEPS)}")
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    device, folder = resolve_device(args.device), args.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if args.step:
        write_text(folder / f".{args.step}.json", json.dumps(STEPS[args.step].run(device, folder)))
        return 0
    gpu = torch.cuda.get_device_name() if device.type == "cuda" else "none"
    machine = {"GPU": gpu, "CPU": f"{platform.machine()}, {os.cpu_count()} cores", "torch": torch.__version__,
               "CUDA": torch.version.cuda or "none", "Python": platform.python_version(), "code": code_version()}
    report: dict[str, Any] = {"machine": machine, "steps": {}}
    end = time.monotonic() + 60 * args.minutes
    for name in args.only:
        limit_s = min(STEPS[name].limit_s * args.minutes / 10, end - time.monotonic())
        report["steps"][name] = step = run_step(name, device, folder, limit_s)
        print(f"{name:<12} {step['seconds']:6.1f} s, {step['cpu_seconds']:6.1f} of processors  {step['state']}", flush=True)
        write_text(folder / "on_gpu.json", json.dumps(report, indent=1) + "\n")
        write_text(folder / "on_gpu.html", page_of(report))
    print(f"{folder / 'on_gpu.json'}, {folder / 'on_gpu.html'}")
    return int(any(step["state"].startswith(("FAILED", "stopped")) for step in report["steps"].values()))


if __name__ == "__main__":
    sys.exit(main())
