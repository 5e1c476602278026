"""Find the images of a download, tell whole files from broken ones, and place them in the workspace."""

from __future__ import annotations

import errno
import shutil
from collections import Counter
from pathlib import Path

from mmifn.core.defaults import MAX_MEGAPIXELS
from mmifn.core.errors import UserError
from mmifn.core.files import atomic_path
from mmifn.data.images import EXTENSIONS, read_size
from mmifn.data.importers.database import Database

_JPEG_END, _PNG_END = b"\xff\xd9", b"IEND\xaeB`\x82"


def find_images(database: Database, source: Path) -> tuple[dict[str, Path], list[str], list[str]]:
    """Return files by key, surplus files, and problems (two files of one key), looking through all subfolders."""
    files: dict[str, Path] = {}
    surplus, problems = [], []
    for path in sorted(source.rglob("*")):
        if path.suffix.lower() not in EXTENSIONS or not path.is_file():
            continue
        key, shown = database.key(path), str(path.relative_to(source))
        if key is None:
            surplus.append(shown)
        elif key in files:
            problems.append(f"{shown} and {files[key].relative_to(source)} are both {key}")
        else:
            files[key] = path
    return files, surplus, problems


def check_image(path: Path, max_megapixels: float = MAX_MEGAPIXELS) -> tuple[tuple[int, int] | None, str | None]:
    """Return (width, height) and None, or what is wrong: unreadable, not 2:1, or cut off before its end."""
    try:
        size = read_size(path, max_megapixels=max_megapixels)
    except UserError as error:
        return None, str(error).splitlines()[0]
    end = _PNG_END if path.suffix.lower() == ".png" else _JPEG_END if path.suffix.lower() in (".jpg", ".jpeg") else b""
    with open(path, "rb") as file:
        head = file.read(2)
        file.seek(max(0, path.stat().st_size - 4096))
        tail = file.read()
    end = _JPEG_END if head == b"\xff\xd8" else end  # some .png of the downloads are JPEG inside, and the reverse
    end = _PNG_END if head == b"\x89P" else end
    if end not in tail:
        return None, f"{path} is cut off before its end; download it again"
    return size, None


def resolutions(sizes: list[tuple[int, int]]) -> str:
    """Return "WxH (count), …", the most frequent first."""
    return ", ".join(f"{w}x{h} ({count})" for (w, h), count in Counter(sizes).most_common())


def place(source: Path, target: Path, copy: bool) -> None:
    """Link or copy a file in one atomic step, leaving alone what is there already."""
    if copy:
        whole = target.is_file() and not target.is_symlink() and target.stat().st_size == source.stat().st_size
        if not whole:
            with atomic_path(target, through_link=False) as temporary:
                shutil.copyfile(source, temporary)
        return
    if target.is_symlink() and target.exists() and target.samefile(source):
        return
    try:
        with atomic_path(target, through_link=False) as temporary:
            temporary.unlink()
            temporary.symlink_to(source.resolve())
    except (OSError, NotImplementedError) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        raise UserError(f"{target}: this disk or system allows no links ({error}); use --copy") from error
