"""What a pair of the real OIQA's size costs by each full-reference metric: processor seconds and peak memory.

    python benchmarks/fullref.py --panorama ../shared/panoramas/FILE [--width 13320] [--metrics ws_ssim vp_fsim …] [--json FILE]

The pair is made by enlarging the panorama and compressing it once gently and once strongly. Every metric runs in a process
of its own on one thread, reading both files; the peak is that process's, libraries included. Bounds: 60 s and 2 GB a pair.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BOUND_S, BOUND_GB = 60, 2.0


def make_pair(panorama: Path, width: int, folder: Path) -> tuple[Path, Path]:
    """Write the enlarged panorama with JPEG quality 95 and 15."""
    import cv2

    large = cv2.resize(cv2.imread(str(panorama)), (width, width // 2), interpolation=cv2.INTER_CUBIC)
    paths = folder / "reference.jpg", folder / "distorted.jpg"
    for path, quality in zip(paths, (95, 15), strict=True):
        cv2.imwrite(str(path), large, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return paths


def cost_of(metric: str, reference: Path, distorted: Path) -> dict[str, float]:
    """Score one pair in this process and say what it took."""
    from mmifn.core.workers import use_one_thread
    from mmifn.data.images import read_image
    from mmifn.fullref.metrics import measure

    use_one_thread()
    begin, start = time.process_time(), time.monotonic()
    first, second = (read_image(path, max_megapixels=math.inf) for path in (reference, distorted))
    read = time.process_time() - begin
    value = measure(first, second, (metric,))[metric]
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"value": value, "cpu_s": time.process_time() - begin, "read_s": read, "wall_s": time.monotonic() - start,
            "peak_gb": usage.ru_maxrss / 2 ** 20}


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panorama", type=Path, help="any panorama; it is enlarged")
    parser.add_argument("--width", type=int, default=13320, metavar="PX", help="width of the pair (default: %(default)s)")
    parser.add_argument("--metrics", nargs="+", metavar="NAME", help="default: all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    return parser


def main() -> int:
    args = build_parser().parse_args()
    if args.one:
        print(json.dumps(cost_of(args.one[0], Path(args.one[1]), Path(args.one[2]))))
        return 0
    from mmifn.fullref.metrics import METRICS

    costs = {}
    with tempfile.TemporaryDirectory() as folder:
        pair = make_pair(args.panorama, args.width, Path(folder))
        print(f"one pair of {args.width}x{args.width // 2}, one thread\n{'metric':<12}{'CPU s':>8}{'of it reading':>15}"
              f"{'peak GB':>9}  value")
        for name in args.metrics or METRICS:
            done = subprocess.run([sys.executable, __file__, "--one", name, *map(str, pair)], capture_output=True, text=True,
                                  check=True)
            costs[name] = cost = json.loads(done.stdout)
            over = " OVER THE BOUND" if cost["cpu_s"] > BOUND_S or cost["peak_gb"] > BOUND_GB else ""
            print(f"{name:<12}{cost['cpu_s']:>8.1f}{cost['read_s']:>15.1f}{cost['peak_gb']:>9.2f}  {cost['value']:.4f}{over}",
                  flush=True)
    if args.json:
        args.json.write_text(json.dumps({"width": args.width, "metrics": costs}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
