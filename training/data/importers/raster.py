"""Shapes to pixels: polygons by the pixel-centre rule, and COCO's run lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


def fill_polygon(points: ArrayLike, height: int, width: int) -> NDArray[np.bool_]:
    """The pixels whose centres lie inside a polygon (even-odd rule).

    Args:
        points: (N, 2) x and y; pixel (column, row) covers column..column + 1, row..row + 1.
        height: of the mask, in pixels.
        width: of the mask, in pixels.

    Returns:
        (height, width) bool.
    """
    start = np.asarray(points, np.float64).reshape(-1, 2)
    end = np.roll(start, -1, axis=0)
    # toggles[r, c]: an edge crosses the centre line of row r just left of the centre of column c.
    toggles = np.zeros((height, width + 1), np.uint8)
    for (x0, y0), (x1, y1) in zip(start, end, strict=True):
        low, high = sorted((y0, y1))
        # Rows whose centres lie in [low, high): a corner on a centre line counts once.
        first, last = np.clip(np.ceil((low - 0.5, high - 0.5)), 0, height).astype(int)
        if first >= last:
            continue
        centres = np.arange(first, last) + 0.5
        crossing = x0 + (centres - y0) * ((x1 - x0) / (y1 - y0))
        columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(int)
        toggles[np.arange(first, last), columns] ^= 1
    inside: NDArray[np.bool_] = np.bitwise_xor.accumulate(toggles, axis=1)[:, :width].astype(bool)
    return inside


def fill_circle(
    centre: tuple[float, float], radius: float, height: int, width: int
) -> NDArray[np.bool_]:
    """The pixels whose centres lie in a circle around (x, y): (height, width) bool."""
    x = np.arange(width) + 0.5 - centre[0]
    y = np.arange(height)[:, None] + 0.5 - centre[1]
    inside: NDArray[np.bool_] = x**2 + y**2 <= radius**2
    return inside


def decode_rle(counts: Sequence[int] | str, height: int, width: int) -> NDArray[np.bool_]:
    """COCO's run lengths, plain or compressed: (height, width) bool.

    Runs of 0 and 1 alternate, beginning with 0, down the columns.

    Raises:
        ValueError: the runs do not fill the mask exactly, or the text is malformed.
    """
    runs = np.asarray(_expand(counts) if isinstance(counts, str) else counts, np.int64)
    if (runs < 0).any() or runs.sum() != height * width:
        raise ValueError(
            f"run lengths add up to {runs.sum()}, not to {height}x{width} = {height * width}"
        )
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def _expand(text: str) -> list[int]:
    """Run lengths from COCO's text: 5 bits a character, from the third on as differences."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"compressed run lengths hold the character {character!r}")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("compressed run lengths end within a number")
    return counts
