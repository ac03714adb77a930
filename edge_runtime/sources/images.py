"""Image files as a source: one picture per file, in natural order of their names."""

from __future__ import annotations

import re
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge_runtime.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = frozenset(
    {".bmp", ".dib", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm"}
    | {".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
"""File names with these endings are images, whatever their case."""


_PNG = b"\x89PNG\r\n\x1a\n"


def is_image(path: Path) -> bool:
    """Whether a file's name says that it is an image."""
    return path.suffix.lower() in SUFFIXES


def natural_key(path: Path) -> tuple[tuple[int, int | str], ...]:
    """Sorting key by which ``frame9`` comes before ``frame10``."""
    pieces = re.split(r"(\d+)", path.name.casefold())
    return tuple((0, int(p)) if p.isdecimal() else (1, p) for p in pieces if p)


def images_in(folder: Path) -> tuple[Path, ...]:
    """The images of a folder, without its sub-folders and hidden files.

    Raises:
        SourceError: the folder cannot be listed or holds no image.
    """
    try:
        files = [path for path in folder.iterdir() if is_image(path) and path.is_file()]
    except OSError as error:
        raise SourceError(f"cannot list {folder}: {error.strerror}") from None
    images = tuple(sorted((p for p in files if not p.name.startswith(".")), key=natural_key))
    if not images:
        raise SourceError(
            f"{folder} holds no image; expected files ending in {' '.join(sorted(SUFFIXES))}"
        )
    return images


def names_of(paths: tuple[Path, ...]) -> tuple[str, ...]:
    """A name for each image: without its suffix, or with it where ``a.png`` meets ``a.jpg``."""
    stems = tuple(path.stem for path in paths)
    return stems if len(set(stems)) == len(stems) else tuple(path.name for path in paths)


class ImageFiles:
    """Pictures read from files as they are needed."""

    fps: float | None = None

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self._paths = paths

    def picture(self, index: int) -> NDArray[np.uint8] | None:
        """Image `index` as (H, W, 3) uint8 BGR: greyscale, 16-bit and alpha are brought to it.

        Raises:
            SourceError: the file cannot be read or is no image.
        """
        return read_image(self._paths[index]) if index < len(self._paths) else None


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image file as (H, W, 3) uint8 BGR, turned as its EXIF orientation says.

    Raises:
        SourceError: the file cannot be read or is no image.
    """
    import cv2
    import numpy as np

    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise SourceError(f"cannot read image {path}: {error.strerror}") from None
    image = None
    try:
        with _silent_opencv():
            if not _is_broken_png(data.data):
                image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:
        pass
    if image is None:
        raise SourceError(
            f"cannot decode image {path} ({data.size} bytes): damaged, or no image; "
            "replace or remove it"
        )
    return image.astype(np.uint8, copy=False)


@contextmanager
def _silent_opencv() -> Iterator[None]:
    # What it logs about a damaged image would stand beside the one line that we say about it.
    from cv2.utils import logging

    level = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)


def _is_broken_png(data: memoryview) -> bool:
    """Whether a PNG is cut short or a chunk that it cannot do without is damaged.

    libpng would find that too, but writes to stderr what it finds and cannot be told not to.
    """
    if data[:8] != _PNG:
        return False
    place = 8
    while (after := place + 12) <= len(data):
        kind = bytes(data[place + 4 : place + 8])
        after += int.from_bytes(data[place : place + 4], "big")
        body, checksum = data[place + 4 : after - 4], data[after - 4 : after]
        # A capital letter marks what is needed for decoding.
        needed = kind[:1].isupper()
        if needed and zlib.crc32(body) != int.from_bytes(checksum, "big"):
            return True
        if kind == b"IEND":
            return False
        place = after
    return True
