"""Where pictures go before a network sees them: fitted into its input, zoomed, cut into windows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from edge_runtime.geometry import FrameGeometry


def place(image: NDArray[np.uint8], geometry: FrameGeometry) -> NDArray[np.uint8]:
    """A picture scaled into the network input; black where letterboxing leaves room.

    Args:
        image: (H, W, 3) uint8, (H, W) being ``geometry.frame``.
        geometry: where it goes.

    Returns:
        (height, width, 3) uint8 of ``geometry.network``.
    """
    top, left, height, width = geometry.content
    image = resized(image, (height, width))
    if (height, width) == geometry.network:
        return image
    frame = np.zeros((*geometry.network, 3), np.uint8)
    frame[top : top + height, left : left + width] = image
    return frame


def zoom(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """An (H, W, 3) uint8 picture at `scale` times its size, at least one pixel each way."""
    height, width = image.shape[:2]
    return resized(image, (max(round(height * scale), 1), max(round(width * scale), 1)))


def resized(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """An (H, W, 3) uint8 picture at (height, width); means of areas where it shrinks."""
    height, width = size
    if image.shape[:2] == size:
        return image
    shrinking = image.shape[0] >= height and image.shape[1] >= width
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    # OpenCV takes no views with negative strides, such as mirror images.
    source = np.ascontiguousarray(image)
    return np.asarray(cv2.resize(source, (width, height), interpolation=method), np.uint8)


def window_starts(
    size: tuple[int, int], window: tuple[int, int], overlap: float
) -> Iterator[tuple[int, int]]:
    """(top, left) of windows that cover a picture; the last ones end at its border.

    Args:
        size: (height, width) of the picture.
        window: (height, width); a larger one than the picture starts at 0.
        overlap: least share of a window, 0 to below 1, that its neighbour covers too.
    """
    rows = _starts(size[0], window[0], overlap)
    columns = _starts(size[1], window[1], overlap)
    return ((top, left) for top in rows for left in columns)


def _starts(length: int, window: int, overlap: float) -> list[int]:
    room = max(length - window, 0)
    # Spread evenly, which costs no more windows than a fixed step with a last one moved back.
    count = math.ceil(room / max(math.floor(window * (1 - overlap)), 1)) + 1
    return [round(room * i / (count - 1)) for i in range(count)] if count > 1 else [0]
