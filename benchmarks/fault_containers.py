"""Files whose insides other libraries read: pictures, clips and Parquet; see fault_readers."""

from __future__ import annotations

import importlib.util
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.fault_spoil import NAMES, Reader, row_of, spoil_bytes
from mmifn.core.files import write_text
from mmifn.data.images import read_image
from mmifn.data.placement import Sphere, read_moment
from mmifn.scoring.fleet.manifest import prepare
from mmifn.scoring.listing import WHOLE
from mmifn.scoring.parquet import ParquetResults

_KINDS_OF_PICTURE = {"jpg": {}, "png": {}, "webp": {}, "tif": {"compression": "tiff_lzw"}, "bmp": {}, "jp2": {}, "avif": {}}


def containers() -> dict[str, Reader]:
    """Return their readers by what they read; those of Parquet where pyarrow is installed."""
    found = {f"picture {kind}": Reader(_picture, read_image, spoil_bytes, f"p.{kind}") for kind in _KINDS_OF_PICTURE}
    found |= {f"clip {kind}": Reader(_clip, _moment, spoil_bytes, f"c.{kind}") for kind in ("mp4", "mkv")}
    if importlib.util.find_spec("pyarrow"):
        found |= {"results parquet": Reader(_write_results, _read_results, spoil_bytes, "r.parquet", repr),
                  "manifest parquet": Reader(_manifest, _prepare, spoil_bytes, "m.parquet")}
    return found


def _waves(width: int) -> np.ndarray:
    lon, lat = np.meshgrid(np.linspace(0, 2 * np.pi, width, endpoint=False), np.linspace(-1, 1, width // 2))
    pixels = np.stack([np.sin(k * lon) * np.cos(lat) for k in (1, 2, 3)], axis=-1)
    return ((pixels + 1) * 127).astype(np.uint8)


def _picture(path: Path) -> None:
    Image.fromarray(_waves(128)).save(path, **_KINDS_OF_PICTURE[path.suffix[1:]])


def _clip(path: Path) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(4))
        stream.width, stream.height, stream.pix_fmt = 256, 128, "yuv420p"
        frames = [av.VideoFrame.from_ndarray(_waves(256), format="rgb24")] * 3
        container.mux([packet for frame in [*frames, None] for packet in stream.encode(frame)])


def _moment(path: Path) -> list[Sphere]:
    return read_moment(path, path.name, 0.3)


def _write_results(path: Path) -> None:
    with closing(ParquetResults(path, "m")) as results:
        for name in NAMES[:5]:
            results.add(row_of(name))
        results.finish()


def _read_results(path: Path) -> list[dict[str, Any]]:
    with closing(ParquetResults(path, "m")) as results:
        return [results.row(place) for place in range(5)]


def _manifest(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_text(path.with_name("a.jpg"), "a picture")
    pq.write_table(pa.table({"id": NAMES, "path": ["a.jpg"] * len(NAMES)}), path)


def _prepare(path: Path) -> np.ndarray:
    return prepare(str(path), WHOLE, str(path.with_name("target.parquet")))
