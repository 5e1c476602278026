"""One HTML page to look around in scored panoramas: no server, no network, every picture and script inside the file.

The 3D library is three.js, as the installed package trimesh brings it for its own viewer (both MIT); it is read from
there when a page is written.
"""

from __future__ import annotations

import base64
import html
import io
import json
import re
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from mmifn.core.errors import UserError
from mmifn.core.files import write_text
from mmifn.core.packages import package_file
from mmifn.data.placement import Sphere
from mmifn.scoring.prediction import Prediction
from mmifn.scoring.quality_map import colour_range, colours, quality_field, reduced, view_pictures
from mmifn.scoring.words import looking, rank

TEMPLATE = Path(__file__).with_name("viewer.html")
_THUMBNAIL_PX = 200
_MAP_PX = 128  # rows of the map
_NO_QUALITY = np.uint8(72)  # grey level of the map where a panorama has no content
_QUALITY = 88  # of the JPEGs in the page, which are for looking at only


@dataclass(frozen=True)
class Panel:
    """All that the page shows of one panorama, ready for JSON."""

    content: dict[str, Any]


def page_width(images: int) -> int:
    """Return how wide panoramas are in a page of so many: few at the size that every phone can show, many smaller."""
    return 4096 if images == 1 else 2048 if images <= 10 else 1024


def make_panel(sphere: Sphere, prediction: Prediction, label: str, width: int) -> Panel:
    """Prepare one panorama for the page."""
    erp = sphere.shown
    low, high = colour_range(prediction)
    field = colours(quality_field(prediction.viewports, prediction.fov_deg, _MAP_PX), low, high)
    if sphere.covered is not None:
        seen = cv2.resize(sphere.covered.astype(np.uint8), (2 * _MAP_PX, _MAP_PX), interpolation=cv2.INTER_AREA)
        field = np.where(seen[..., None], field, _NO_QUALITY)
    order = prediction.worst(len(prediction.viewports))
    words = dict(zip(prediction.worst(), prediction.worst_words, strict=False))  # rows of earlier versions have none
    views = [{"lon": prediction.viewports[i].lon_deg, "lat": prediction.viewports[i].lat_deg,
              "score": prediction.viewports[i].score, "where": looking(prediction.viewports[i], prediction.heading_deg),
              "words": words.get(i, ""),
              "picture": _data_uri(picture, "JPEG")}
             for i, picture in zip(order, view_pictures(erp, prediction, order, _THUMBNAIL_PX), strict=True)]
    return Panel({"name": label, "score": prediction.score, "quality": rank(prediction), "level": prediction.level,
                  "interval": prediction.interval,
                  "description": prediction.description, "fov": prediction.fov_deg,
                  "warnings": prediction.warnings, "panorama": _data_uri(reduced(erp, width), "JPEG"),
                  "map": _data_uri(field, "PNG"), "range": [low, high], "views": views})


def write_page(panels: list[Panel], path: Path) -> None:
    """Write the page of some panoramas, atomically."""
    data = json.dumps([panel.content for panel in panels], ensure_ascii=False).replace("<", "\\u003c")  # no tag ends it
    title = panels[0].content["name"] if len(panels) == 1 else f"{len(panels)} panoramas"
    parts = {"title": html.escape(title), "library": three_js(), "data": data}
    text = TEMPLATE.read_text(encoding="utf-8")
    write_text(path, re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], text))


def _data_uri(pixels: np.ndarray, kind: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"quality": _QUALITY} if kind == "JPEG" else {}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


@cache
def three_js() -> str:
    """Return three.js (which defines THREE) with its licence notice, from the installed package trimesh."""
    source = package_file("trimesh", "resources/templates/viewer.zip")
    try:
        with zipfile.ZipFile(source) as archive:
            page = archive.read("viewer.html.template").decode("utf-8")
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError) as error:
        raise UserError(f"{source} does not hold the viewer that is expected; install the version in constraints.txt") from error
    library = re.search(r"/\*\*\s+\* @license[^/]*Three\.js Authors[^/]*\*/\s*!function\([^\n]*\}\)\);?$", page, re.MULTILINE)
    if not library:
        raise UserError(f"{source} holds no three.js that can be told from the rest; install trimesh in the version in "
                        "constraints.txt")
    return library[0]
