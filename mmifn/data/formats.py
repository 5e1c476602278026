"""What a file is that cannot be read as a picture, by its first bytes, and the way out."""

from __future__ import annotations

import importlib.util
from typing import BinaryIO

from PIL import Image, TiffImagePlugin

import mmifn.data.hdr  # noqa: F401 (teaches Pillow .hdr and .exr)

HEIF_EXTENSIONS = (".heic", ".heif", ".hif")
VIDEO_EXTENSIONS = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_HEAD_BYTES = 512  # of a file, which tell what it is
_RASTER = "save it as JPEG or PNG"

# First bytes -> what it is and what to do about it.
_NAMES: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the picture itself; fetch it with: git lfs pull"),
    (b"%PDF", f"is a PDF document; {_RASTER}"),
    (b"PK\x03\x04", "is a ZIP archive; unpack it first"),
    (b"\x1aE\xdf\xa3", "is a video (Matroska or WebM), not a picture; give it to predict.py with a name in .mkv or .webm"),
    (b"\xff\x0a", f"is JPEG XL, which is not read; {_RASTER}"),
    (b"\0\0\0\x0cJXL ", f"is JPEG XL, which is not read; {_RASTER}"),
    (b"8BPS", f"is a Photoshop document that is not read; {_RASTER}"),
)


def read_heif() -> bool:
    """Teach Pillow HEIC where the extra for it is installed; say whether it is."""
    if importlib.util.find_spec("pillow_heif") is None:
        return False
    import pillow_heif

    if "HEIF" not in Image.OPEN:
        pillow_heif.register_heif_opener()
    return True


def what_it_is(file: BinaryIO) -> str | None:
    """Say what a file is and the way out, as the rest of a sentence; None where it is not known."""
    content = file.read(_HEAD_BYTES)
    if not content:
        return "is empty (0 bytes); replace the file"
    known = next((text for start, text in _NAMES if content.startswith(start)), None)
    if known:
        return known
    if content[4:8] == b"ftyp":
        if content[8:12] in _HEIF_BRANDS:
            return ("is a HEIC picture, which takes an extra to read: pip install 'mmifn[heif]' (or save it as JPEG)"
                    if not read_heif() else "is a damaged HEIC picture; replace the file")
        if content[8:12] not in (b"avif", b"avis"):
            return "is a video (MP4 or QuickTime), not a picture; give it to predict.py with a name in .mp4 or .mov"
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _tiff(content[:8], file)
    return _text(content)


def _tiff(header: bytes, file: BinaryIO) -> str | None:
    """Return why a TIFF that Pillow does not read is none for us, or None; header: its first bytes."""
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(header)
        file.seek(tags.next)
        tags.load(file)
        kinds, bits = tags.get(339, (1,)), tags.get(258, (1,))
    except Exception:  # damaged tags raise almost anything
        return None
    if 3 in kinds:
        return (f"is a TIFF of {bits[0]}-bit floating-point values, which have no fixed white; save it with 8 or 16 bits, or "
                "as .exr or .hdr, which are brought to 8 bits by a stated tone curve")
    return None


def _text(content: bytes) -> str | None:
    text = content.decode("utf-8", errors="replace").rstrip("\ufffd").strip()  # a character cut off at the end
    if not text or "\ufffd" in text or not all(character.isprintable() or character.isspace() for character in text):
        return None
    page = text[:200].lower().startswith(("<html", "<!doctype", "<head", "<?xml", "<svg"))
    return f"is text{' (a web page or other markup)' if page else ''}, not a picture; replace the file"
