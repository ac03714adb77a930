"""From the values of a label file to train ids.

A label file stores class ids (palette or grey; a palette's colours are only for viewing) or, as
RGB, colours. Both become *codes*: the id itself, or 0xRRGGBB. A `LabelMap` is one table over codes.
Files are read with PIL: OpenCV would expand a palette to colours.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from edge_runtime.labels import IGNORE_INDEX
from training.data.problems import DataError, Problem
from training.data.remedies import code_name, remedy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_runtime.labels import LabelSet

Colour = tuple[int, int, int]

DECODING_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, OverflowError, EOFError, LookupError, struct.error,
    zlib.error, Image.DecompressionBombError,
)  # fmt: skip
"""What PIL raises for damaged files, as found by damaging some at random."""

_ID_MODES = ("P", "L", "1", "I;16", "I")
_COLOUR_MODES = ("RGB", "RGBA", "P")
_LOSSY = ("JPEG", "MPO", "WEBP")
_TURNED = range(2, 9)
"""EXIF orientations that are not upright; some cameras write 0, which means nothing."""


class Codes(NamedTuple):
    """What a label file stores."""

    values: NDArray[np.integer]
    """(H, W) codes: ids 0..65535, or 0xRRGGBB."""
    coloured: bool
    """The codes are colours."""


def pack_colour(colour: Colour) -> int:
    """The code of an RGB colour."""
    red, green, blue = colour
    return red << 16 | green << 8 | blue


class LabelMap:
    """Stored ids, and colours if declared, to train ids.

    Args:
        labels: the classes.
        ids: stored id (0..65535) -> train id; 255 is ignored.
        colours: RGB colour -> train id; None if masks of colours are refused.
        other: train id of all codes that are not listed; None refuses them.
        expand_palette: a palette file's colours count, not its ids.
    """

    def __init__(
        self,
        labels: LabelSet,
        ids: Mapping[int, int],
        colours: Mapping[Colour, int] | None = None,
        *,
        other: int | None = None,
        expand_palette: bool = False,
    ) -> None:
        self.labels, self.expand_palette = labels, expand_palette
        self._ids = _table(1 << 16, dict(ids), other)
        self._colours: NDArray[np.uint16] | None = None
        if colours is not None:
            packed = {pack_colour(colour): train_id for colour, train_id in colours.items()}
            self._colours = _table(1 << 24, packed, other)
        self.known_ids = tuple(sorted(ids))

    @property
    def reads_colours(self) -> bool:
        """Masks that store colours are understood."""
        return self._colours is not None

    def read(self, path: Path) -> NDArray[np.uint8]:
        """The (H, W) uint8 train ids of a label file; 255 is ignored.

        Raises:
            DataError: the file is unreadable, of an unusable format, or holds an unknown code.
        """
        codes, coloured = read_codes(path, expand_palette=self.expand_palette)
        found = self._table_for(path, coloured)[codes]
        if not found.all():
            unknown, counts = np.unique(codes[found == 0], return_counts=True)
            listed = dict(zip(unknown.tolist(), counts.tolist(), strict=True))
            raise DataError(self.unknown_problem(path, listed, coloured))
        train_ids: NDArray[np.uint8] = (found - 1).astype(np.uint8)
        return train_ids

    def show(self, path: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """(H, W) train ids for viewing, unknown ones ignored, and where those are.

        Raises:
            DataError: the file is unreadable or of an unusable format.
        """
        codes, coloured = read_codes(path, expand_palette=self.expand_palette)
        found = self._table_for(path, coloured)[codes]
        unknown = found == 0
        found[unknown] = IGNORE_INDEX + 1
        return (found - 1).astype(np.uint8), unknown

    def train_id(self, stored: int) -> int:
        """The train id of a stored id; -1 if it is unknown."""
        return int(self._ids[stored]) - 1

    def train_ids(self, path: Path, codes: NDArray[np.int64], coloured: bool) -> NDArray[np.int64]:
        """(N,) train ids of codes of one file; -1 where unknown.

        Raises:
            DataError: the file stores colours, and none are declared.
        """
        return self._table_for(path, coloured)[codes].astype(np.int64) - 1

    def unknown_problem(self, path: Path, unknown: Mapping[int, int], coloured: bool) -> Problem:
        """The finding about codes (with pixel counts) that are not in the map."""
        ids = tuple((code_name(code, coloured), count) for code, count in unknown.items())
        listed = ", ".join(f"{name} ({count} px)" for name, count in ids[:5])
        more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
        expected = "the declared colours" if coloured else ", ".join(ranges(self.known_ids))
        return Problem(
            "unknown ids",
            f"{path} holds {'colours' if coloured else 'ids'} {listed}{more}; "
            f"{self.labels.name} stores {expected}: "
            f"{remedy(unknown, coloured=coloured, classes=len(self.labels))}",
            file=str(path),
            ids=ids,
        )

    def _table_for(self, path: Path, coloured: bool) -> NDArray[np.uint16]:
        if not coloured:
            return self._ids
        if self._colours is None:
            raise DataError(
                Problem(
                    "unusable label format",
                    f"{path} is stored as RGB; a label is a palette or 8-bit grey PNG whose pixel "
                    "values are class ids: convert colours to ids first, or use folder:DIR with a "
                    "meta.json that lists the colours",
                    file=str(path),
                )
            )
        return self._colours


def _table(size: int, train_ids: dict[int, int], other: int | None) -> NDArray[np.uint16]:
    """Train id + 1 by code; 0 is unknown."""
    # zeros() costs no memory for pages that are never touched: most of the 2**24 colours.
    table = np.zeros(size, np.uint16) if other is None else np.full(size, other + 1, np.uint16)
    for code, train_id in train_ids.items():
        table[code] = train_id + 1
    return table


def read_codes(path: Path, *, expand_palette: bool = False) -> Codes:
    """What a label file stores.

    Raises:
        DataError: the file is unreadable, lossy, or neither single-channel nor RGB.
    """
    try:
        with Image.open(path) as picture:
            mode = picture.mode
            if picture.format in _LOSSY:
                raise DataError(_lossy(path, picture.format or ""))
            if mode in _ID_MODES and not (mode == "P" and expand_palette):
                return Codes(_as_ids(np.asarray(picture)), False)
            if mode in _COLOUR_MODES:
                rgb = np.asarray(picture.convert("RGB"), np.uint32)
                return Codes(rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2], True)
    except DECODING_ERRORS as error:
        raise DataError(unreadable(path, error)) from error
    raise DataError(
        Problem(
            "unusable label format",
            f"{path} is stored as {mode}; a label is a palette, grey or RGB PNG: save it as one",
            file=str(path),
        )
    )


def _as_ids(values: NDArray[Any]) -> NDArray[np.integer]:
    """Stored values as unsigned integers; bilevel pictures hold booleans, some 16-bit ones int32.

    Raises:
        ValueError: an id is negative or beyond 65535.
    """
    if values.dtype.kind == "u":
        return values
    if values.size and not 0 <= values.min() <= values.max() <= 0xFFFF:
        raise ValueError(f"it holds ids from {values.min()} to {values.max()}, not 0..65535")
    return values.astype(np.uint16)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """An image as (H, W, 3) uint8 RGB.

    Raises:
        DataError: it is unreadable, has more than 8 bits a channel, or is marked as turned: who
            shows such an image and who stores a mask for it may mean different pixels.
    """
    try:
        with Image.open(path) as picture:
            if picture.mode.startswith(("I", "F")):
                raise DataError(
                    Problem(
                        "unreadable file",
                        f"{path} has more than 8 bits a channel ({picture.mode}); a camera frame "
                        "has 8: scale it to 8 bits first",
                        file=str(path),
                    )
                )
            pixels = np.asarray(picture.convert("RGB"), np.uint8)
            if (mark := orientation(picture)) != 1:
                raise DataError(_turned(path, mark))
            return pixels
    except DECODING_ERRORS as error:
        raise DataError(unreadable(path, error)) from error


def orientation(picture: Image.Image) -> int:
    """What a loaded picture's EXIF says is still to be turned: 2..8, or 1 if nothing.

    PIL itself turns TIFF files as it loads them, and no other.
    """
    try:
        mark = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except DECODING_ERRORS:
        return 1  # what nobody can read turns the picture nowhere
    return int(mark) if mark in _TURNED else 1


def _turned(path: Path, mark: int) -> Problem:
    return Problem(
        "turned image",
        f"{path} is marked as turned (EXIF orientation {mark}): its pixels are stored one way and "
        "shown another, also by `hyperseg run`; `hyperseg data import` writes the data set without "
        "such marks, and its --orientation says which way round the masks are",
        file=str(path),
    )


def unreadable(path: Path, error: Exception) -> Problem:
    """The finding about a file that PIL could not decode."""
    return Problem(
        "unreadable file",
        f"cannot read {path}: {error}; restore the file or drop its pair; `train` and `eval` leave "
        "it out with --skip-unreadable",
        file=str(path),
    )


def _lossy(path: Path, kind: str) -> Problem:
    return Problem(
        "unusable label format",
        f"{path} is a {kind} file, whose compression changes ids along every edge; save labels "
        "as PNG from the original annotation",
        file=str(path),
    )


def ranges(ids: tuple[int, ...]) -> list[str]:
    """Sorted ids as ranges: 0, 1, 2, 255 -> "0..2", "255"."""
    values = np.array(ids, np.int64)
    runs = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1) if len(values) else []
    return [str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs]


def identity_map(classes: int) -> dict[int, int]:
    """Train ids stored as they are, 255 ignored."""
    return {i: i for i in range(classes)} | {IGNORE_INDEX: IGNORE_INDEX}
