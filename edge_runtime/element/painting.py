"""Draws a mask over a picture in the picture's own memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import cv2

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_runtime.element.segmenter import Picture
    from edge_runtime.labels import LabelSet


class Painter:
    """Blends the colours of classes into pictures of one format.

    Args:
        labels: palette of the classes.
        picture: format of the pictures.
    """

    def __init__(self, labels: LabelSet, picture: Picture) -> None:
        self._table = labels.lookup_table(bgr=picture.order == "BGR")[:, None, :]
        self._wide = picture.channels == 4

    def paint(self, pixels: NDArray[np.uint8], mask: NDArray[np.uint8], opacity: float) -> None:
        """Draw over a picture in place.

        Args:
            pixels: (height, width, channels) uint8 of the format given above.
            mask: (h, w) uint8 train ids that cover the picture.
            opacity: weight of the colours, 0..1.
        """
        colours = cv2.applyColorMap(fit(mask, pixels.shape[:2]), self._table)
        if self._wide:
            colours = cv2.cvtColor(colours, cv2.COLOR_BGR2BGRA)
        cv2.addWeighted(pixels, 1 - opacity, colours, opacity, 0, dst=pixels)


def fit(mask: NDArray[np.uint8], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """A mask at another (height, width), by nearest neighbour; ids are never mixed."""
    if mask.shape == size:
        return mask
    width_height = size[1], size[0]
    resized = cv2.resize(mask, width_height, interpolation=cv2.INTER_NEAREST_EXACT)
    return cast("NDArray[np.uint8]", resized)
