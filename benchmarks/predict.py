"""Where the time of predict.py goes: decoding, views, whole, encoders, words, fusion, at 4096x2048 and 13320x6660.

    python benchmarks/predict.py --panorama PHOTO [--checkpoint FILE] [--repeats N]

The photograph is enlarged to both sizes and saved as JPEG in a temporary folder; every size runs in a process of its own.
First: from the start of the process to the first score, imports and weights included. Score: whole calls afterwards, best of
the repeats, by the clock. What a call and each of its steps take is processor time, which on a busy machine tells more; steps
come one after the other, as a share of their sum, and in a call words and whole run beside the views, on threads of their own.
Kind: whether it is a panorama at all. Beside: what people and lens steps say of the views. Peak: of the process, up to then.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from mmifn.cli.flags import command_parser
from mmifn.core.errors import UserError, user_main
from mmifn.data.images import read_image

SIZES_PX = (4096, 13320)  # widths: CVIQ's, and OIQA's largest


def timed(function: Callable[[], Any], clock: Callable[[], float] = time.process_time) -> tuple[float, Any]:
    start = clock()
    result = function()
    return clock() - start, result


def measure_here(path: Path, checkpoint: Path | None, repeats: int, started: float) -> dict[str, float]:
    """Score one file in this process, which was started at that time, then time the steps by themselves."""
    from mmifn.core.workers import one_thread
    from mmifn.data.placement import place
    from mmifn.describe.measured.describer import describe
    from mmifn.encoders.encode import beside, embed_erp, embed_views, render_preset, resize_preset
    from mmifn.encoders.text import encode_descriptions
    from mmifn.scoring.panorama import open_predictor
    from mmifn.training.fit import viewport_scores

    predictor = open_predictor("offline", checkpoint, "cpu")
    predictor.score_pixels(read_image(path))
    seconds = {"first": time.time() - started}
    seconds["score"] = min(timed(lambda: predictor.score_pixels(read_image(path)), time.perf_counter)[0] for _ in range(repeats))
    seconds["processor"] = timed(lambda: predictor.score_pixels(read_image(path)))[0]
    seconds["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** 20
    encoders, preset = predictor.encoders, predictor.preset
    seconds["decoding"], erp = timed(lambda: read_image(path))
    seconds["kind"] = timed(lambda: place(erp, "x"))[0]
    with one_thread():
        seconds["views"], views = timed(lambda: render_preset(erp, preset))
        seconds["whole"], whole = timed(lambda: resize_preset(erp, preset))
        seconds["beside"], known = timed(lambda: beside(erp, views, preset, encoders.views.device))
        seconds["encoders"] = timed(lambda: embed_views(views, known, encoders.views, "x"))[0] + timed(
            lambda: embed_erp(whole, encoders.erp, "x"))[0]
        seconds["words"], said = timed(lambda: describe(erp, 2))
        seconds["text"] = timed(lambda: encode_descriptions("", {"x": said.text}, encoders.text, show=False))[0]
        inputs = encoders.encode(erp, preset)[0]
        seconds["fusion"] = timed(lambda: viewport_scores(predictor.network, inputs, predictor.model.checkpoint.scale))[0]
    return seconds


def measure_apart(path: Path, args: argparse.Namespace) -> dict[str, float]:
    """Run measure_here in a fresh process."""
    command = [sys.executable, __file__, "--here", str(path), "--repeats", str(args.repeats), "--started", str(time.time())]
    command += ["--checkpoint", str(args.checkpoint)] if args.checkpoint else []
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def report(width: int, seconds: dict[str, float]) -> None:
    steps = {name: value for name, value in seconds.items() if name not in ("first", "score", "processor", "peak_gib")}
    total = sum(steps.values())
    print(f"{width}x{width // 2}: first {seconds['first']:.1f} s, then {seconds['score']:.2f} s each by the clock, "
          f"{seconds['processor']:.2f} s of processor time, peak {seconds['peak_gib']:.2f} GiB")
    print("  " + ", ".join(f"{name} {value:.2f} s ({100 * value / total:.0f} %)" for name, value in steps.items()), flush=True)


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    parser.add_argument("--panorama", type=Path, metavar="PHOTO", help="a 2:1 photograph to enlarge")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="model (default: the one that ships)")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="calls, of which the fastest counts")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if args.here:
        print(json.dumps(measure_here(args.here, args.checkpoint, args.repeats, args.started)))
        return 0
    if args.panorama is None:
        raise UserError("--panorama PHOTO is needed")
    photo = Image.fromarray(read_image(args.panorama))
    with tempfile.TemporaryDirectory() as folder:
        for width in SIZES_PX:
            path = Path(folder) / f"{width}.jpg"
            photo.resize((width, width // 2), Image.Resampling.BICUBIC).save(path, quality=92)
            report(width, measure_apart(path, args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
