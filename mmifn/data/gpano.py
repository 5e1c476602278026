"""What a picture says of itself by GPano, the XMP of panoramas (Google's Photo Sphere metadata): projection, crop, heading."""

from __future__ import annotations

import re
from dataclasses import dataclass

from PIL import Image

from mmifn.data.images import upright_size

_NAMESPACE = "http://ns.google.com/photos/1.0/panorama/"
_GAIN_MAPS = "http://ns.adobe.com/hdr-gain-map/1.0/"
_SHAPE_TOLERANCE = 0.02  # by which a picture may differ in shape from what its metadata tell: rounding of a reduction


@dataclass(frozen=True)
class Crop:
    """Where a picture lies on its sphere: left, top, width and height as shares of the whole (2:1), and that whole's width."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class GPano:
    """What the metadata say. projection: lower case, "" where unknown; heading_deg: compass direction of the middle."""

    projection: str = ""
    heading_deg: float | None = None
    crop: Crop | None = None
    stale: str = ""


def read_gpano(image: Image.Image) -> GPano:
    """Return what an opened picture says of itself; nothing where it says nothing that can be read."""
    text = xmp_of(image)
    prefix = re.search(rf'xmlns:([\w.-]+)\s*=\s*["\']{re.escape(_NAMESPACE)}', text)
    if not prefix:
        return GPano()
    name = re.escape(prefix[1])
    values = dict(re.findall(rf'\b{name}:(\w+)\s*=\s*["\']([^"\']*)["\']', text))
    values |= dict(re.findall(rf"<{name}:(\w+)[^>/]*>\s*([^<]*?)\s*</{name}:", text))
    sizes = [_number(values.get(key)) for key in (
        "CroppedAreaLeftPixels", "CroppedAreaTopPixels", "CroppedAreaImageWidthPixels", "CroppedAreaImageHeightPixels",
        "FullPanoWidthPixels", "FullPanoHeightPixels")]
    heading = _number(values.get("PoseHeadingDegrees"))
    known = [size for size in sizes if size is not None]
    crop, stale = _crop(known, upright_size(image)) if len(known) == len(sizes) else (None, "")
    return GPano(values.get("ProjectionType", "").strip().lower(), None if heading is None else heading % 360, crop, stale)


def is_gain_map(image: Image.Image) -> bool:
    """Tell whether a picture is the gain map of an HDR photograph alone, by what it says of itself."""
    text = xmp_of(image)
    return _GAIN_MAPS in text and "GainMapMax" in text and "Semantic" not in text


def xmp_of(image: Image.Image) -> str:
    """Return the XMP of an opened picture, "" where it has none."""
    content = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or (getattr(image, "tag_v2", None) or {}).get(700, b"")
    return content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)


def _number(text: str | None) -> float | None:
    try:
        value = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return value if abs(value) < 1e7 else None  # neither infinite nor NaN


def _crop(sizes: list[float], seen: tuple[int, int]) -> tuple[Crop | None, str]:
    """Return the crop (None where the picture is the whole sphere), or why the metadata cannot be of this picture."""
    left, top, width, height, full_width, full_height = sizes
    seen_width, seen_height = seen
    told = f"a crop of {width:g}x{height:g} at {left:g}, {top:g} of {full_width:g}x{full_height:g}"
    if min(width, height, full_width, full_height) < 1 or min(left, top) < 0 or width > full_width or top + height > full_height:
        return None, f"its GPano metadata are impossible ({told})"
    if abs(full_width / full_height / 2 - 1) > _SHAPE_TOLERANCE:
        return None, f"its GPano metadata tell of a whole that is not 2:1 ({told})"
    shape = seen_width / seen_height
    if abs(width / height / shape - 1) > _SHAPE_TOLERANCE:
        whole = abs(full_width / full_height / shape - 1) <= _SHAPE_TOLERANCE
        return None, "" if whole and (seen_width, seen_height) == (full_width, full_height) else \
            f"its GPano metadata are of a picture of another shape ({told}; this one is {seen_width}x{seen_height})"
    if width > full_width * 0.999 and height > full_height * 0.999:
        return None, ""
    return Crop(left / full_width, top / full_height, width / full_width, height / full_height), ""
