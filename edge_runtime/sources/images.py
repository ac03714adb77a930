"""Image files as a source: one picture per file, in natural order of their names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge_runtime.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = frozenset(
    {".bmp", ".dib", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm"}
    | {".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
"""File names with these endings are images, whatever their case."""


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
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise SourceError(
            f"cannot decode image {path} ({data.size} bytes): damaged, or no image; "
            "replace or remove it"
        )
    return image.astype(np.uint8, copy=False)
