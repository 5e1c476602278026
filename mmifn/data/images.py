"""Decode panoramas safely: any common format to (H, W, 3) uint8, or one clear message."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from mmifn.core.errors import UserError
from mmifn.core.files import atomic_path

MAX_MEGAPIXELS = 200.0
MIN_HEIGHT_PX = 32
ASPECT_TOLERANCE = 0.01
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".jp2", ".j2k", ".avif", ".tif", ".tiff", ".bmp")

Image.MAX_IMAGE_PIXELS = None  # our own limit, checked on the header, replaces Pillow's


def _to_rgb(image: Image.Image, path: Path) -> np.ndarray:
    """Convert any mode to (H, W, 3) uint8; 0..65535 becomes 0..255 (grey rounded, colour by its upper eight bits)."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] < 255:
            raise UserError(f"{path} has transparent pixels, whose colour is unknown; flatten it onto a background first")
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        if values.min() < 0 or values.max() > 65535 or image.mode == "F":
            raise UserError(f"{path} holds values outside 0..65535 (mode {image.mode}); save it with 8 or 16 bits")
        grey = (values / 257.0).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))  # a copy of a large one costs much


def check_header(size_px: tuple[int, int], path: Path, max_megapixels: float, panorama: bool) -> None:
    """Refuse sizes (width, height) that are too large, too small or, for a panorama, not 2:1."""
    width, height = size_px
    if width * height > max_megapixels * 1e6:
        raise UserError(f"{path} has {width * height / 1e6:.6g} megapixels ({width}x{height}), the limit is "
                        f"{max_megapixels:g}; raise it with --max-megapixels if you have the memory")
    if height < MIN_HEIGHT_PX:
        raise UserError(f"{path} is {width}x{height}; at least {2 * MIN_HEIGHT_PX}x{MIN_HEIGHT_PX} is needed")
    if panorama and abs(width - 2 * height) > ASPECT_TOLERANCE * 2 * height:
        raise UserError(f"{path} is {width}x{height} (aspect {width / height:.3f}); an equirectangular panorama is 2:1")


def read_size(path: Path, *, max_megapixels: float = MAX_MEGAPIXELS, panorama: bool = True) -> tuple[int, int]:
    """Return (width, height) from the header alone, checked as read_image checks it."""
    with _decoding(path), Image.open(path) as image:
        return _checked_size(image, path, max_megapixels, panorama)


def _checked_size(image: Image.Image, path: Path, max_megapixels: float, panorama: bool) -> tuple[int, int]:
    width, height = image.size
    # The base class reads the orientation from the header; a PNG's own getexif would decode all pixels first.
    if Image.Image.getexif(image).get(0x0112, 1) >= 5:  # orientations 5..8 swap the axes
        width, height = height, width
    check_header((width, height), path, max_megapixels, panorama)
    return width, height


@contextlib.contextmanager
def _decoding(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises on a bad file into a UserError."""
    if not Path(path).is_file():
        raise UserError(f"{path} does not exist")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (UserError, PermissionError):
            raise
        except UnidentifiedImageError as error:
            raise UserError(f"{path} is not an image that can be read, or is damaged; replace the file") from error
        except MemoryError as error:
            raise UserError(f"{path} does not fit into memory; lower --max-megapixels to refuse such images") from error
        except Exception as error:  # decoders raise almost anything on bad bytes: OSError, struct.error, RuntimeError…
            raise UserError(f"{path} is truncated or damaged ({error or type(error).__name__}); replace the file") from error


def read_image(path: Path, *, max_megapixels: float = MAX_MEGAPIXELS, panorama: bool = True) -> np.ndarray:
    """Decode an image to (H, W, 3) uint8 RGB.

    panorama: insist on 2:1 (1 % tolerance). EXIF orientation is applied; grey becomes RGB; 16-bit becomes 8-bit.
    Raises UserError for a missing, damaged, truncated, transparent, oversized or tiny file, and for a wrong aspect.
    """
    path = Path(path)
    with _decoding(path), Image.open(path) as image:
        _checked_size(image, path, max_megapixels, panorama)
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return _to_rgb(image, path)


def write_png(pixels: np.ndarray, path: Path, made_from: str = "") -> None:
    """Write (H, W, 3) uint8 as PNG, atomically, lightly compressed (fast); `made_from` goes into its header."""
    header = PngInfo()
    if made_from:
        header.add_text("made_from", made_from)
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", compress_level=1, pnginfo=header)


def png_made_from(path: Path) -> str | None:
    """Return what write_png noted in a PNG's header, or None where there is no such file or note."""
    try:
        with _decoding(path), Image.open(path) as image:
            return image.info.get("made_from")
    except UserError:
        return None
