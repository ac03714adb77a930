"""Class ids as PNG with the label set's palette: every viewer shows colours, the ids stay exact.

Pixels of an indexed PNG are indices into its palette, stored as those of a grey PNG are. So one
turns into the other by its header alone, and OpenCV, which only writes grey, does the work.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_END = len(SIGNATURE) + 12 + 13
"""Where the first chunk, always IHDR with 13 bytes, ends."""
GREY, INDEXED = 0, 3
"""Colour types of PNG."""
COLOUR_TYPE_AT = 9
"""Place of the colour type in IHDR."""


def encode_ids(mask: NDArray[np.uint8], table: NDArray[np.uint8]) -> bytes:
    """An indexed PNG.

    Args:
        mask: (height, width) uint8 ids.
        table: (256, 3) uint8 RGB by id, as of `LabelSet.lookup_table`.
    """
    _, encoded = cv2.imencode(".png", mask)
    grey = encoded.tobytes()
    return _header(grey, INDEXED) + _chunk(b"PLTE", table.tobytes()) + grey[HEADER_END:]


def decode_ids(png: bytes) -> NDArray[np.uint8]:
    """The ids of a PNG of `encode_ids`, (height, width) uint8.

    Pillow reads them too: ``np.asarray(Image.open(...))``. OpenCV alone would give the colours.

    Raises:
        ValueError: not such a PNG.
    """
    palette_end = HEADER_END + 12 + 3 * 256
    if not png.startswith(SIGNATURE) or png[HEADER_END + 4 : HEADER_END + 8] != b"PLTE":
        raise ValueError("not an indexed PNG with 256 colours")
    grey = np.frombuffer(_header(png, GREY) + png[palette_end:], np.uint8)
    mask = cv2.imdecode(grey, cv2.IMREAD_UNCHANGED)
    if mask is None or mask.ndim != 2:
        raise ValueError("not a whole indexed PNG")
    return mask.astype(np.uint8, copy=False)


def _header(png: bytes, colour_type: int) -> bytes:
    """Signature and IHDR of `png` with another colour type."""
    fields = bytearray(png[len(SIGNATURE) + 8 : HEADER_END - 4])
    fields[COLOUR_TYPE_AT] = colour_type
    return SIGNATURE + _chunk(b"IHDR", bytes(fields))


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
