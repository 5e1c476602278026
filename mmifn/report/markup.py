"""Pieces of HTML: elements that escape what they are given, tables, and pictures inside the page."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

from PIL import Image

from mmifn.data.images import read_image
from mmifn.report.tables import Table

QUALITIES = (85, 70, 55, 40)


class Html(str):
    """Text that is markup already; any other string is escaped wherever it enters a page."""

    __slots__ = ()


def escaped(part: object) -> Html:
    """Return markup for anything: Html as it is, lists joined, other values escaped."""
    if isinstance(part, Html):
        return part
    if isinstance(part, (list, tuple)):
        return Html("".join(map(escaped, part)))
    return Html(html.escape(str(part), quote=True))


def element(tag: str, /, *parts: object, **attributes: object) -> Html:
    """Return <tag …>parts</tag>; an attribute's underscore becomes a hyphen, a trailing one goes, None leaves it out."""
    inside = "".join(f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"' for key, value in attributes.items()
                     if value is not None)
    if tag in ("img", "meta"):
        return Html(f"<{tag}{inside}>")
    return Html(f"<{tag}{inside}>{escaped(parts)}</{tag}>")


def table_html(table: Table, heading: str = "h3") -> Html:
    """Return a table with its title, and its notes, each once, as a list below it."""
    head = element("tr", [element("th", column, scope="col") for column in table.columns])
    body = [element("tr", element("th", row[0], scope="row"), [element("td", cell) for cell in row[1:]])
            for row in table.rows if row is not None]
    grid = element("table", element("thead", head), element("tbody", body))
    notes = element("ul", [element("li", note) for note in dict.fromkeys(table.notes)], class_="notes") if table.notes else ""
    return element("section", element(heading, table.title), scrolling(grid, table.title), notes, class_="result")


def scrolling(content: Html, label: str) -> Html:
    """Return content that scrolls sideways by itself where the screen is narrower, also by keyboard."""
    return element("div", content, class_="scroll", role="region", aria_label=label, tabindex="0")


def data_uri(content: bytes, kind: str) -> str:
    """Return bytes as an address that needs no request."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def shrunk_jpeg(path: Path, width_px: int, limit_bytes: int, *, panorama: bool) -> tuple[bytes, tuple[int, int]]:
    """Return a picture as JPEG of at most `width_px` and `limit_bytes`, and its size (width, height).

    What is too large even at the lowest quality is halved. Raises UserError where the file cannot be read.
    """
    image = Image.fromarray(read_image(path, panorama=panorama))
    while True:
        width = min(width_px, image.width)
        small = image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.LANCZOS, reducing_gap=3)
        for quality in QUALITIES:
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=quality, optimize=True)
            if buffer.tell() <= limit_bytes or width <= 16:
                return buffer.getvalue(), small.size
        width_px = width // 2
