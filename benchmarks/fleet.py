"""How fast many panoramas are scored: predict.py with one and two workers, a fleet with one and two actors, and the bare minimum.

    python benchmarks/fleet.py --panorama PHOTO [--images N] [--width PX] [--repeats N] [--processes N …]
    python benchmarks/fleet.py --engine [--images N] [--repeats N] [--processes N …]
    python benchmarks/fleet.py --panorama PHOTO --rate
    python benchmarks/fleet.py --done 100000

N copies of the photograph, each cut open at another longitude, lie in a temporary folder. Every run is a process of its own,
timed from its start to its end with all that it loads; the runs take turns, and the fastest of each counts. Processor time is
that of all its processes, looked at once a second (on Linux), which tells more on a busy machine; what a process computes in its
last second is missed. Decoding and encoders alone: the same images in this process, one thread, without words, fusion, hashes
and files.
--engine: the same runs over files that hold no picture. Each is opened, refused and gets its row, so that what a fleet takes more
than predict.py is what the engine costs, start and end included, whatever a picture costs.
--rate: the processor time of one panorama of 4096x2048, saved as JPEG, from file to row; the first with all that it loads.
--done: what it costs predict.py to go on where so many images have been scored: their files hold one byte, their rows are made
up, and one run per kind of file of results finds that nothing is left to do. Time and memory are those of the process that
hands out the work; a worker of its own, which holds the model, is beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from mmifn.cli.flags import command_parser
from mmifn.core.errors import UserError, user_main

ROOT = Path(__file__).resolve().parents[1]


def make_images(photo: Path, folder: Path, count: int, width: int) -> None:
    """Write the copies."""
    from mmifn.data.images import read_image

    picture = Image.fromarray(read_image(photo)).resize((width, width // 2), Image.Resampling.LANCZOS)
    (folder / "pictures").mkdir()
    for i in range(count):
        turned = np.roll(np.asarray(picture), i * width // count, axis=1)
        Image.fromarray(turned).save(folder / "pictures" / f"{i}.jpg", quality=92)


def make_blanks(folder: Path, count: int) -> None:
    """Write files that are named as pictures and hold none."""
    (folder / "pictures").mkdir()
    for i in range(count):
        (folder / "pictures" / f"{i}.jpg").write_bytes(f"no picture {i}".encode())


def command(name: str, processes: int, folder: Path, out: Path) -> list[str]:
    """Return the command line of a run."""
    if name == "predict.py":
        return [str(ROOT / name), str(folder / "pictures"), "--parquet", f"{out}.parquet", "--workers", str(processes),
                "--device", "cpu"]
    return [str(ROOT / name), str(folder / "manifest.csv"), "--out", str(out), "--actors", str(processes), "--block-rows", "20"]


def processor_times(mark: str) -> Iterator[tuple[str, float]]:
    """Yield (process, seconds computed so far) of all running processes that have a mark in their environment."""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (place / "environ").read_bytes():
                fields = (place / "stat").read_text().rpartition(")")[2].split()
                yield f"{place.name} {fields[19]}", (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(argv: list[str], folder: Path, code: int) -> tuple[float, float]:
    """Run Python with arguments, which ends with that code; return its seconds, and those that all its processes computed."""
    mark, started = f"MMIFN_BENCHMARK={uuid.uuid4().hex}", time.monotonic()
    with subprocess.Popen([sys.executable, *argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
                          env=os.environ | dict([mark.split("=")])) as process:
        times: dict[str, float] = {}
        while process.poll() is None:
            times.update(processor_times(mark))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)
    if process.returncode != code:
        raise UserError(f"{' '.join(argv)} ended with {process.returncode}; run it to see why")
    return time.monotonic() - started, sum(times.values())


def encoders_alone(folder: Path, count: int) -> float:
    """Return the seconds for one panorama of decoding, views and networks, over some of them."""
    from mmifn.core.workers import one_thread
    from mmifn.data.images import read_image
    from mmifn.encoders.encode import beside, embed_erp, embed_views, render_preset, resize_preset
    from mmifn.scoring.panorama import open_predictor

    predictor = open_predictor("offline", None, "cpu")
    encoders, preset = predictor.encoders, predictor.preset
    paths = sorted((folder / "pictures").iterdir())[:count]

    def encode(path: Path) -> None:
        erp = read_image(path)
        views = render_preset(erp, preset)
        embed_views(views, beside(erp, views, preset, encoders.views.device), encoders.views, "x")
        embed_erp(resize_preset(erp, preset), encoders.erp, "x")

    with one_thread():
        encode(paths[0])
        started = time.perf_counter()
        for path in paths:
            encode(path)
        return (time.perf_counter() - started) / len(paths)


def going_on(done: int) -> None:
    """Print what it costs to find out that so many images are scored."""
    from mmifn.core.files import stamp_of
    from mmifn.scoring.files import Task, identity_of
    from mmifn.scoring.parquet import ParquetResults
    from mmifn.scoring.prediction import Prediction, View, columns
    from mmifn.scoring.results import ResultFile

    identity = identity_of(Task(device="cpu"), workers=2)
    words = "Clear loss of texture to compression, most visible to the left, with smooth patches between the edges it has. "
    views = tuple(View(18.0 * i, 10.8, 60.0 + i) for i in range(20))
    said = Prediction(61.2345, "good", (50.1, 72.4), 0.9, views, 40.0, 2 * words, (), identity, 66.0, (words,) * 3)
    row = said.to_row("", "0" * 64, {})
    with tempfile.TemporaryDirectory() as place:
        pictures = Path(place) / "pictures"
        names = [f"{i // 1000:03d}/{i:06d}.jpg" for i in range(done)]
        kinds = {"json": ResultFile(Path(place) / "r.json", identity),
                 "csv": ResultFile(Path(place) / "r.csv", identity, columns()),
                 "parquet": ParquetResults(Path(place) / "parts", identity)}
        for name in names:
            (pictures / name).parent.mkdir(parents=True, exist_ok=True)
            (pictures / name).write_bytes(b"x")
            stamp = stamp_of(pictures / name)
            for file in kinds.values():
                file.add(row | {"image": name, "image_bytes": stamp.bytes, "image_modified_us": stamp.modified_us})
        for kind, file in kinds.items():
            file.finish()
            file.close()
            out = file.path
            argv = [str(pictures), f"--{kind}", str(out), "--workers", "2", "--device", "cpu"]
            script = (f"import resource, time, predict; started = time.monotonic(); predict.main({argv!r}); "
                      "used = resource.getrusage(resource.RUSAGE_SELF); print(f'{time.monotonic() - started:.1f} s, of them "
                      "{used.ru_utime + used.ru_stime:.1f} s computed, {used.ru_maxrss / 1024:.0f} MB')")
            ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT)
            size = sum(path.stat().st_size for path in ([out] if out.is_file() else out.iterdir()))
            print(f"{done:,} images done, {kind} of {size / 2**20:.0f} MiB: {ran.stdout.splitlines()[-1]}", flush=True)


def rate(photo: Path) -> None:
    """Print the processor time of a panorama of 4096x2048, four times."""
    from mmifn.core.workers import one_thread
    from mmifn.data.images import read_image
    from mmifn.scoring.files import ImageJob, Task, score_job

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "4096.jpg"
        Image.fromarray(read_image(photo)).resize((4096, 2048), Image.Resampling.LANCZOS).save(path, quality=92)
        for _ in range(4):
            started = time.process_time()
            with one_thread():
                result = score_job(ImageJob(path, path.name, Task(device="cpu")))
            seconds, size = time.process_time() - started, path.stat().st_size
            print(f"{seconds:.2f} core-seconds, {size / 1e6:.1f} MB {result.error}", flush=True)
        print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB at most")


def compare(args: argparse.Namespace) -> None:
    """Time predict.py and a fleet side by side, and print the best of each."""
    runs = [(name, processes) for processes in args.processes for name in ("predict.py", "score_fleet.py")]
    found: dict[tuple[str, int], list[tuple[float, float]]] = {run: [] for run in runs}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if args.engine:
            make_blanks(folder, args.images)
        else:
            make_images(args.panorama, folder, args.images, args.width)
        (folder / "manifest.csv").write_text("id,path\n" + "".join(f"{i},pictures/{i}.jpg\n" for i in range(args.images)))
        for repeat in range(args.repeats):
            for name, processes in runs:
                line = command(name, processes, folder, folder / f"{name}-{processes}-{repeat}")
                found[name, processes].append(measured(line, folder, int(args.engine)))  # 1: some could not be scored
                clock, computed = found[name, processes][-1]
                print(f"{name} {processes}: {clock:.1f} s, {computed:.1f} core-seconds", file=sys.stderr, flush=True)
        alone = 0.0 if args.engine else encoders_alone(folder, min(10, args.images))
    best = {run: [min(times) for times in zip(*measurements, strict=True)] for run, measurements in found.items()}
    for (name, processes), (clock, computed) in best.items():
        base = best["predict.py", processes]
        print(f"{name}, {processes}: {clock:.1f} s ({clock / base[0]:.2f} of predict.py), "
              f"{args.images / clock:.2f} images a second, {computed:.1f} core-seconds ({computed / base[1]:.2f})")
    if alone:
        print(f"decoding and encoders alone, one thread: {1 / alone:.2f} images a second")


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    parser.add_argument("--panorama", type=Path, metavar="PHOTO", help="a 2:1 photograph")
    parser.add_argument("--engine", action="store_true", help="measure what the engine costs beside the pictures instead")
    parser.add_argument("--rate", action="store_true", help="measure one panorama's processor time instead")
    parser.add_argument("--done", type=int, metavar="N", help="measure going on instead")
    parser.add_argument("--images", type=int, default=200, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--width", type=int, default=1024, metavar="PX", help="(default: %(default)s)")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], metavar="N", help="(default: 1 2)")
    parser.add_argument("--repeats", type=int, default=2, metavar="N", help="(default: %(default)s)")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if args.done:
        going_on(args.done)
        return 0
    if args.engine:
        compare(args)
        return 0
    if args.panorama is None or not args.panorama.is_file():
        raise UserError(f"--panorama {args.panorama or 'PHOTO'} does not exist")
    if args.rate:
        rate(args.panorama)
        return 0
    compare(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
