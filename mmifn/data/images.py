"""Decode panoramas safely: any common format to (H, W, 3) uint8, or one clear message."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import TiffImageFile

from mmifn.core.defaults import MAX_MEGAPIXELS
from mmifn.core.errors import UserError
from mmifn.core.files import atomic_path
from mmifn.core.native_messages import held_back
from mmifn.data.colour import to_srgb
from mmifn.data.formats import read_heif, what_it_is

MIN_HEIGHT_PX = 32
ASPECT_TOLERANCE = 0.01
OPAQUE = 250  # alpha from which a pixel counts as opaque: rounding of an editor's is not transparency
_PAGES = 64  # of a TIFF, looked at for the largest
_PNG_END = b"IEND\xaeB`\x82"  # of every whole PNG
_ORIENTATION = 0x0112  # tag of EXIF
_FEW_BITS = 15  # largest value of the upper eight bits where 12 lie in 16
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".jp2", ".j2k", ".avif", ".tif", ".tiff", ".bmp")

Image.MAX_IMAGE_PIXELS = None  # our own limit, checked on the header, replaces Pillow's


def opaque_part(image: Image.Image) -> np.ndarray | None:
    """Return where an opened picture is not transparent, (H, W) bool, upright; None where it is opaque everywhere."""
    if not _has_alpha(image):
        return None
    alpha = np.asarray(_upright(image).convert("RGBA").getchannel("A")) >= OPAQUE
    return None if alpha.all() else alpha


def _has_alpha(image: Image.Image) -> bool:
    return "transparency" in image.info or image.mode in ("RGBA", "LA", "PA")


def _to_rgb(image: Image.Image, name: object, flatten: bool = False) -> np.ndarray:
    """Convert any mode to (H, W, 3) uint8 sRGB; 0..65535 becomes 0..255 (grey rounded, colour by its upper eight bits)."""
    if _has_alpha(image):
        image = image.convert("RGBA")
        if not flatten and np.asarray(image.getchannel("A")).min() < OPAQUE:
            raise UserError(f"{name} has transparent pixels, whose colour is unknown; flatten it onto a background first")
        image = image.convert("RGB")
    if image.mode == "F":
        raise UserError(f"{name} holds floating-point values, which have no fixed white; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image, dtype=np.float64)
        if values.min() < 0 or values.max() > 65535:
            raise UserError(f"{name} holds values outside 0..65535 (mode {image.mode}); save it with 8 or 16 bits")
        grey = (values * (255.0 / full_scale(float(values.max())))).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    image = to_srgb(image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))  # a copy of a large one costs much


def full_scale(largest: float) -> float:
    """Return the value of white in a 16-bit file whose largest value this is: 8, 10 or 12 bits may lie in 16."""
    return next(white for white in (255.0, 1023.0, 4095.0, 65535.0) if largest <= white)


def check_header(size_px: tuple[int, int], path: Path, max_megapixels: float, panorama: bool,
                 least_height: int = MIN_HEIGHT_PX) -> None:
    """Refuse sizes (width, height) that are too large, too small or, for a panorama, not 2:1."""
    width, height = size_px
    if width * height > max_megapixels * 1e6:
        raise UserError(f"{path} has {width * height / 1e6:.6g} megapixels ({width}x{height}), the limit is "
                        f"{max_megapixels:g}; raise it with --max-megapixels if you have the memory")
    if height < least_height:
        raise UserError(f"{path} is {width}x{height}; at least {2 * least_height}x{least_height} is needed")
    if panorama and abs(width - 2 * height) > ASPECT_TOLERANCE * 2 * height:
        raise UserError(f"{path} is {width}x{height} (aspect {width / height:.3f}); an equirectangular panorama is 2:1 "
                        "(an ordinary photograph: --perspective, mmifn.score_view)")


def read_size(path: Path, *, max_megapixels: float = MAX_MEGAPIXELS, panorama: bool = True) -> tuple[int, int]:
    """Return (width, height) from the header alone, checked as read_image checks it."""
    with open_picture(path) as image:
        return _checked_size(image, path, max_megapixels, panorama)


def _checked_size(image: Image.Image, path: Path, max_megapixels: float, panorama: bool) -> tuple[int, int]:
    size = upright_size(image)
    check_header(size, path, max_megapixels, panorama)
    return size


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return (width, height) as the EXIF orientation turns them."""
    width, height = image.size
    # The base class reads the orientation from the header; a PNG's own getexif would decode all pixels first.
    if Image.Image.getexif(image).get(_ORIENTATION, 1) in range(5, 9):  # 5..8 swap the axes; others than 1..8 mean nothing
        width, height = height, width
    return width, height


def _upright(image: Image.Image) -> Image.Image:
    """Return a picture turned as its EXIF says: itself where it stands upright, of which Pillow would make a copy."""
    return ImageOps.exif_transpose(image) if image.getexif().get(_ORIENTATION, 1) in range(2, 9) else image


@contextlib.contextmanager
def open_picture(source: Path | bytes | BinaryIO | Image.Image, name: object = "") -> Iterator[Image.Image]:
    """Open a picture, its pixels undecoded; whatever a decoder raises on a bad one, here or within, becomes a UserError.

    Of a file with several pictures the first counts, of a TIFF the largest. `name` stands in messages (default: the path).
    """
    name = name or source
    if isinstance(source, str | Path) and not Path(source).is_file():
        raise UserError(f"{source} is a folder; give one picture" if Path(source).is_dir() else f"{source} does not exist")
    reasons: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if isinstance(source, Image.Image):
                yield source
                return
            read_heif()
            with (Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image,
                  held_back(reasons) if image.format == "TIFF" else contextlib.nullcontext()):
                _to_largest_page(image)
                yield image
        except (UserError, PermissionError):
            raise
        except UnidentifiedImageError as error:
            fault = _named(source) or "is not an image that can be read, or is damaged; replace the file"
            raise UserError(f"{name} {fault}") from error
        except MemoryError as error:
            raise UserError(f"{name} does not fit into memory; lower --max-megapixels to refuse such images") from error
        except Exception as error:  # decoders raise almost anything on bad bytes: OSError, struct.error, RuntimeError…
            reason = "; ".join([str(error) or type(error).__name__, *reasons[:2]])
            raise UserError(f"{name} is truncated or damaged ({reason}); replace the file") from error


def _named(source: Path | bytes | BinaryIO | Image.Image) -> str | None:
    if isinstance(source, str | Path):
        with open(source, "rb") as file:
            return what_it_is(file)
    if isinstance(source, Image.Image):
        return None
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    stream.seek(0)
    return what_it_is(stream)


def _to_largest_page(image: Image.Image) -> None:
    """Turn a TIFF to its largest page: the first may be a thumbnail."""
    if isinstance(image, TiffImageFile) and image.n_frames > 1:
        areas = []
        for page in range(min(image.n_frames, _PAGES)):
            image.seek(page)
            areas.append(image.width * image.height)
        image.seek(areas.index(max(areas)))


def read_image(path: Path, *, max_megapixels: float = MAX_MEGAPIXELS, panorama: bool = True) -> np.ndarray:
    """Decode an image to (H, W, 3) uint8 sRGB.

    panorama: insist on 2:1 (1 % tolerance). EXIF orientation is applied; grey becomes RGB; 16-bit becomes 8-bit; other
    colour spaces become sRGB by their ICC profile; high dynamic range is tone-mapped (mmifn.data.hdr).
    Raises UserError for a missing, damaged, truncated, transparent, oversized or tiny file, and for a wrong aspect.
    """
    path = Path(path)
    with open_picture(path) as image:
        _checked_size(image, path, max_megapixels, panorama)
        return decode(image, path)


def decode(image: Image.Image, name: object, *, flatten: bool = False) -> np.ndarray:
    """Decode an opened picture to (H, W, 3) uint8 sRGB, upright; flatten: whatever colour lies under transparency is taken."""
    image.load()
    pixels = _to_rgb(_upright(image), name, flatten)
    if image.format in ("PNG", "TIFF") and pixels.max() <= _FEW_BITS and image.mode == "RGB" and (file := _file_of(image)):
        return _all_bits(file, pixels)
    return pixels


def _file_of(image: Image.Image) -> Path | None:
    name = image.filename if isinstance(image, ImageFile.ImageFile) else ""
    return Path(os.fsdecode(name)) if name else None


def _all_bits(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Return the pixels of a file that looks black: Pillow keeps the upper eight of 16 bits, where 10 or 12 may lie below."""
    import cv2

    raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if raw is None or raw.dtype != np.uint16 or raw.shape != pixels.shape:
        return pixels
    return (raw[..., ::-1] * (255.0 / full_scale(raw.max()))).round().astype(np.uint8)


def write_png(pixels: np.ndarray, path: Path, made_from: str = "") -> None:
    """Write (H, W, 3) uint8 as PNG, atomically, lightly compressed (fast); `made_from` goes into its header."""
    header = PngInfo()
    if made_from:
        header.add_text("made_from", made_from)
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", compress_level=1, pnginfo=header)


def png_made_from(path: Path) -> str | None:
    """Return what write_png noted in a PNG's header, or None where there is no such file or note, or its end is lacking."""
    try:
        with open(path, "rb") as file:
            file.seek(-len(_PNG_END), os.SEEK_END)
            if file.read() != _PNG_END:
                return None
        with open_picture(path) as image:
            return image.info.get("made_from")
    except (UserError, OSError):
        return None
