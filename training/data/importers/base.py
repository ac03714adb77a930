"""What every reader gives, and what readers share."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.labels import IGNORE_INDEX
from training.data.layouts import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.data.label_map import Colour
    from training.data.pairs import Split

BACKGROUND = "background"
SPLIT_NAMES: dict[str, Split] = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""How other tools call the splits."""


Side = Annotated[int, msgspec.Meta(ge=1, le=65535)]
"""Height or width of an image in an annotation file."""


@dataclass(frozen=True)
class Item:
    """One labelled image."""

    name: str
    """Relative name without suffix, with ``/`` between folders."""
    image: Path | bytes
    """The image file, or its content."""
    mask: Callable[[], NDArray[np.integer]]
    """Draws the (H, W) mask of codes; see `code_of`."""
    split: Split | None = None
    """Where the source puts it, if it does."""
    upright: bool = False
    """The mask is of the image as it is shown, turned as EXIF says; not of its stored pixels."""
    size: tuple[int, int] | None = None
    """(height, width) that the source says the mask has, by which nothing is drawn until the image
    is known to be as large; None where it is drawn already."""


@dataclass(frozen=True)
class Imported:
    """A data set as a reader found it."""

    classes: tuple[str, ...]
    items: list[Item]
    palette: tuple[Colour, ...] = ()
    """One RGB colour a class; empty gives each one of the usual colours."""
    license: str = ""
    left_out: Counter[str] = field(default_factory=Counter)
    """What could not be used, such as "line shapes", and how often; readers and masks add to it."""


@dataclass(frozen=True)
class ReadOptions:
    """How annotations become masks."""

    images: Path | None = None
    """Folder of the images, where the annotations do not lie beside them."""
    unlabelled: Literal["background", "ignore"] = "background"
    """What pixels without annotation become."""
    order: Literal["area", "file"] | None = None
    """``area`` draws larger shapes first, so that small ones stay visible; ``file`` draws in the
    order of the file, so that later ones are on top. None is the format's usual order."""
    crowd: Literal["class", "ignore"] = "class"
    """What COCO's crowd regions become."""
    orientation: Literal["upright", "stored"] | None = None
    """Which way round the masks of images are that EXIF marks as turned. None is the format's
    usual way: annotation tools show images upright, masks in files are of the stored pixels."""


def code_of(index: int) -> int:
    """What a mask holds for a class: its index, or 1 more from 255 on, as 255 is ignored.

    A source may have more classes than a data set can: what is written is chosen later.
    """
    return index + (index >= IGNORE_INDEX)


def blank_mask(height: int, width: int, options: ReadOptions) -> NDArray[np.int32]:
    """The (height, width) int32 mask of an image without annotation; the background is class 0."""
    fill = 0 if options.unlabelled == "background" else IGNORE_INDEX
    return np.full((height, width), fill, np.int32)


def decode_json(content: bytes, kind: Any, place: Path) -> Any:
    """JSON of a given type.

    Raises:
        SourceError: it is malformed, saying where.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(f"{place} cannot be imported: {error}") from error


def read_bytes(place: Path) -> bytes:
    """A file's content.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        return place.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read {place}: {error.strerror}") from error


def find_image(name: str, folders: Sequence[Path]) -> Path:
    """The first existing file `name`, or `name` with an image suffix, in some folders.

    Suffixes may be written as ``.jpg``, ``.JPG`` or ``.Jpg``.

    Raises:
        SourceError: there is none.
    """
    for folder in folders:
        for spelled in _spellings(name):
            if (folder / spelled).is_file():
                return folder / spelled
    places = ", ".join(str(folder) for folder in dict.fromkeys(folders))
    raise SourceError(f"the image {name} is in none of {places}; name its folder with --images")


def _spellings(name: str) -> Iterator[str]:
    yield name
    stem, dot, end = name.rpartition(".")
    own = [(stem, dot + end)] if f"{dot}{end}".lower() in IMAGE_SUFFIXES else []
    for start, suffix in (*own, *((name, suffix) for suffix in sorted(IMAGE_SUFFIXES))):
        yield from (start + suffix.lower(), start + suffix.upper(), start + suffix.title())


def usual_palette(classes: Iterable[str]) -> tuple[Colour, ...]:
    """PASCAL VOC's colours, of which the background takes the first (black)."""
    colours, number = [], 1
    for name in classes:
        if name == BACKGROUND:
            colours.append((0, 0, 0))
        else:
            colours.append(_voc_colour(number))
            number += 1
    return tuple(colours)


def _voc_colour(number: int) -> Colour:
    """VOC's n-th colour: the bits of n, dealt to the high bits of R, G and B in turn."""
    red, green, blue = (
        sum(((number >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(8))
        for channel in range(3)
    )
    return red, green, blue
