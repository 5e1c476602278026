"""What a panorama costs: parameters, multiply-adds, time and memory of each part of a preset, beside published methods.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/complexity.py [--presets paper offline] [--device cpu|cuda] [--json FILE]

One panorama a pass, in float32: its description (128 tokens, the longest that is read), its views, the whole, and the fusion of
all three. The paper's networks have random weights here, which changes no figure. Parameters: those that an output depends on.
Multiply-adds: of convolutions, matrix products and attention, as torch counts them, and of the selective scan, as this page
counts it (`scan_flops`). Time: the least of several passes; without decoding the file and rendering its views, which stand
in a line of their own. Memory: how far one pass raises the peak (of a fresh process; on a GPU, of what torch allocates).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.vmamba import CLOCKS, memory_mb
from mmifn.cli.flags import add_device_argument, command_parser
from mmifn.core.device import announced_device, resolve_device
from mmifn.core.errors import user_main
from mmifn.encoders.efficientnet_lite import fold_norms
from mmifn.encoders.encode import beside, render_preset, resize_preset
from mmifn.encoders.encoder import Encoder
from mmifn.encoders.networks import load_erp_encoder, load_view_encoder
from mmifn.encoders.people import load_people, normalise
from mmifn.encoders.presets import COARSEST_STRIDE, MIN_SIZE_PX, PRESETS, Preset
from mmifn.encoders.text import MAX_TOKENS, load_text_encoder
from mmifn.encoders.timm_models import view_encoder
from mmifn.encoders.vmamba import build_vmamba
from mmifn.encoders.vmamba.encoder import erp_encoder
from mmifn.fusion.inputs import Dimensions, Inputs
from mmifn.fusion.model import MMIFN
from mmifn.sphere import SAMPLERS
from mmifn.training.configs import CONFIGS

CONFIG_OF = {"paper": "paper", "offline": "compact"}
PANORAMA = (2048, 4096)
# Method, parameters in millions, multiply-adds in billions, as published; on whose inputs each was counted, their papers say.
PUBLISHED = (("GAQC", 4.7, 1.5), ("VUGA", 41.2, 7.5), ("Assessor360", 88, 230), ("MTAOIQA", 93, 131))


@dataclass(frozen=True)
class Part:
    """One part of a preset: what it is, how it is run on a panorama's inputs, and how on little (with the same parameters)."""

    title: str
    run: Callable[[], list[Tensor]]
    lightly: Callable[[], list[Tensor]]
    network: nn.Module


def scan_flops(x: tuple[int, ...], proj: tuple[int, ...], weight: tuple[int, ...], bias: tuple[int, ...],
               decay: tuple[int, ...], skip: tuple[int, ...], out_shape: object = None, **_: object) -> int:
    """Count the selective scan of a map (B, H, W, D) with N states and steps of rank R, two for every multiply-add.

    Of each of four directions, pixel and channel: R for the step, one for step times input, and for each state four: step times
    decay, that times B, the state itself, and C times the state. The skip once. Exponentials are not multiply-adds.
    """
    pixels, channels = x[0] * x[1] * x[2], x[3]
    rank, states = weight[2], decay[1]
    return 2 * pixels * channels * (4 * (rank + 1 + 4 * states) + 1)


def attention_flops(query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], *_: object,
                    out_shape: object = None, **__: object) -> int:
    """Count attention as a CPU computes it, which torch leaves out: two matrix products (B, heads, L, D)."""
    batch, heads, length, width = query
    return 2 * batch * heads * length * key[2] * (width + value[3])


def multiply_adds(run: Callable[[], object]) -> int:
    """Return the multiply-adds of what run() computes."""
    ours = {torch.ops.mmifn.cross_scan: scan_flops,
            torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention_flops}
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=ours) as counter:
        run()
    return counter.get_total_flops() // 2


def active_parameters(part: Part) -> int:
    """Return how many parameters the outputs of a part depend on."""
    part.network.requires_grad_(True).zero_grad(set_to_none=True)
    sum(value.float().sum() for value in part.lightly()).backward()
    count = sum(value.numel() for value in part.network.parameters() if value.grad is not None)
    part.network.requires_grad_(False).zero_grad(set_to_none=True)
    return count


def _paper_encoders(preset: Preset, device: torch.device) -> tuple[nn.Module, Encoder, Encoder]:
    """Return the networks of the paper with random weights."""
    import timm
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    text = BertModel(BertConfig(), add_pooling_layer=False).eval().to(device)  # its defaults are those of bert-base-uncased
    views = view_encoder(preset.viewport, timm.create_model(preset.viewport, num_classes=0), device)
    return text, views, erp_encoder(preset.global_, build_vmamba(preset.global_), "", device, preset.grid, preset.wrap_px)


def _encoders(preset: Preset, device: torch.device) -> tuple[nn.Module, Encoder, Encoder]:
    if preset == PRESETS["paper"]:
        return _paper_encoders(preset, device)
    return (load_text_encoder(preset.text, device).network, load_view_encoder(preset.viewport, device),
            load_erp_encoder(preset, device))


def parts_of(name: str, device: torch.device) -> dict[str, Part]:
    """Return the parts of a preset, each with inputs of the size of one panorama."""
    preset = PRESETS[name]
    text, views, whole = _encoders(preset, device)
    count = len(SAMPLERS[preset.sampler]())
    generator = torch.Generator().manual_seed(0)
    pictures = [torch.rand(count, 3, side, side, generator=generator) for side in preset.sizes_px]
    erp = torch.rand(1, 3, preset.erp_height_px, 2 * preset.erp_height_px, generator=generator)
    ids = torch.randint(0, 1000, (1, MAX_TOKENS), generator=generator).to(device)

    def words(ids: Tensor) -> Tensor:
        return text(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state

    little = erp[..., :COARSEST_STRIDE * preset.grid[0], :COARSEST_STRIDE * preset.grid[1]]
    with torch.no_grad():  # what the fusion reads costs it the same whatever it was made of
        tokens = words(ids[:, :4]).cpu().repeat(1, MAX_TOKENS // 4, 1)
        corners = [each[..., :MIN_SIZE_PX, :MIN_SIZE_PX] for each in pictures]
        known = beside(np.zeros((2 * MIN_SIZE_PX, 4 * MIN_SIZE_PX, 3), np.uint8), corners, preset, device)
        seen = torch.cat([*(views(each[:1]).cpu().expand(count, -1) for each in pictures), known], dim=1)
        levels = [level.cpu() for level in whole(little)]
    inputs = Inputs.of(tokens, torch.ones(1, MAX_TOKENS, dtype=torch.bool), tokens[:, 0], seen[None], levels).to(device)
    dims = Dimensions(tokens.shape[2], seen.shape[1], tuple(level.shape[2] for level in levels), count)
    config = CONFIG_OF[name]
    network = MMIFN(CONFIGS[config].model, dims).eval().to(device)
    sides = " and ".join(f"{count} of {side}²" for side in preset.sizes_px)
    height = preset.erp_height_px
    judged = {}
    if preset.with_people:
        people = load_people()[0].to(device, memory_format=torch.channels_last)
        judged["people"] = Part(f"views, by what people said: {count} of {preset.sizes_px[0]}²",
                                lambda: [people(normalise(pictures[0].to(device)))],
                                lambda: [people(normalise(pictures[0][:1].to(device)))], people)
    return {
        **judged,
        "text": Part(f"text: {preset.text}, {MAX_TOKENS} tokens", lambda: [words(ids)], lambda: [words(ids)], text),
        "views": Part(f"views: {preset.viewport}, {sides}", lambda: [views.differentiable(each) for each in pictures],
                      lambda: [views.differentiable(pictures[0][:1])], views.network),
        "whole": Part(f"whole: {preset.global_}, {height}x{2 * height}", lambda: whole.differentiable(erp),
                      lambda: whole.differentiable(little), whole.network),
        "fusion": Part(f"GFF, LFF, AFM: `{config}`", lambda: [network(inputs)], lambda: [network(inputs)], network)}


def seconds(run: Callable[[], object], device: torch.device, repeats: int, clock: Callable[[], float]) -> float:
    """Return the least time of a pass; the first is not counted."""
    best = float("inf")
    for turn in range(repeats + 1):
        start = clock()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, clock() - start if turn else best)
    return best


def peak_of_one(preset: str, part: str, device: torch.device) -> float:
    """Return in MB how far one pass of a part raises the peak memory of this process."""
    measured = parts_of(preset, device)[part]
    fold_norms(measured.network)
    run = measured.run
    with torch.no_grad():
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            run()
            return (torch.cuda.max_memory_allocated() - before) / 2 ** 20
        Path("/proc/self/clear_refs").write_text("5")  # start the peak anew (Linux)
        before = memory_mb("VmRSS")
        run()
        return memory_mb("VmHWM") - before


def peak_mb(preset: str, part: str, device: torch.device) -> float:
    """Return the same, measured in a fresh process."""
    done = subprocess.run([sys.executable, __file__, "--one", preset, part, "--device", device.type], cwd=Path(__file__).parent,
                          capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def measure(preset: str, device: torch.device, repeats: int, clock: Callable[[], float]) -> list[dict[str, object]]:
    """Return the figures of every part of a preset and of the whole."""
    rows = []
    for name, part in parts_of(preset, device).items():
        counted = {"parameters": active_parameters(part), "multiply_adds": multiply_adds(part.run)}
        fold_norms(part.network)  # as scoring does; what is folded is counted no more
        with torch.no_grad():
            took = seconds(part.run, device, repeats, clock)
        rows.append({"part": part.title, **counted, "seconds": took, "mb": peak_mb(preset, name, device)})
    totals = {key: sum(row[key] for row in rows) for key in ("parameters", "multiply_adds", "seconds")}
    return [*rows, {"part": "together", **totals, "mb": max(row["mb"] for row in rows)}]


def rendering_seconds(preset: str, repeats: int, clock: Callable[[], float]) -> float:
    """Return the time to render the views of a panorama of 4096x2048 and to reduce it, always on the CPU."""
    erp = np.random.default_rng(0).integers(0, 256, (*PANORAMA, 3), dtype=np.uint8)
    return seconds(lambda: (render_preset(erp, PRESETS[preset]), resize_preset(erp, PRESETS[preset])), torch.device("cpu"),
                   repeats, clock)


def lines_of(preset: str, rows: list[dict[str, object]], rendering: float) -> list[str]:
    """Return the rows of a preset's table in Markdown."""
    lines = [f"| preset `{preset}` | parameters, M | multiply-adds, G | s | MB |", "|---|---|---|---|---|"]
    lines += [f"| {row['part']} | {row['parameters'] / 1e6:.2f} | {row['multiply_adds'] / 1e9:.2f} | {row['seconds']:.3f} | "
              f"{row['mb']:.0f} |" for row in rows]
    return [*lines, f"| rendering of a {PANORAMA[1]}x{PANORAMA[0]} panorama, CPU | | | {rendering:.3f} | |"]


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    add_device_argument(parser)
    parser.add_argument("--presets", nargs="+", choices=sorted(CONFIG_OF), default=list(CONFIG_OF))
    parser.add_argument("--repeats", type=int, default=3, help="timed passes of each part (default: %(default)s)")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall",
                        help="cpu counts processor seconds of all threads, which other programs disturb less")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if args.one:
        print(peak_of_one(*args.one, resolve_device(args.device)))
        return 0
    device, clock = announced_device(args.device), CLOCKS[args.clock]
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"
    print(f"one panorama, float32, {where}, torch {torch.__version__}, {args.clock} clock\n")
    found = {}
    for preset in args.presets:
        found[preset] = {"parts": measure(preset, device, args.repeats, clock),
                         "rendering": rendering_seconds(preset, args.repeats, clock)}
        print("\n".join(lines_of(preset, found[preset]["parts"], found[preset]["rendering"])) + "\n", flush=True)
    print("| as published | parameters, M | multiply-adds, G |\n|---|---|---|")
    print("\n".join(f"| {method} | {parameters:g} | {adds:g} |" for method, parameters, adds in PUBLISHED))
    if args.json:
        args.json.write_text(json.dumps({"device": where, "presets": found}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
