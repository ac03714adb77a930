"""A picture and its labels, drawn together: one shape decides the pixels of both."""

from __future__ import annotations

from math import ceil, floor
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.street.texture import Bgr, Texture
    from edge_runtime.street.view import Point

_FAR_OUTSIDE = 3.0e4  # beyond this, pixel coordinates no longer survive rasterisation
_SMOOTH = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
_SHARP = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP


class Canvas:
    """Where one frame is drawn; buffers are reused from frame to frame.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        labels: (H, W) uint8 train ids.
        haze: colour that distant things fade to.
    """

    def __init__(self, height: int, width: int) -> None:
        self.size = (height, width)
        self.image = np.zeros((height, width, 3), np.uint8)
        self.labels = np.zeros((height, width), np.uint8)
        self._scratch = np.zeros((height, width, 3), np.uint8)
        self._mask = np.zeros((height, width), np.uint8)
        self._fog = np.zeros((height, width, 3), np.uint8)
        self._ids = [np.full((height, width), label, np.uint8) for label in range(8)]
        self.haze: Bgr = (0.0, 0.0, 0.0)

    def begin(self, haze: Bgr) -> None:
        """Start a frame in which distance fades to `haze`."""
        self.haze = haze
        height, width = self.size
        cv2.rectangle(self._fog, (0, 0), (width, height), haze, -1)

    def _window(self, corners: Sequence[Point]) -> tuple[int, int, int, int] | None:
        """(left, top, right, foot) of the canvas that the corners span, or None."""
        across = [corner[0] for corner in corners]
        down = [corner[1] for corner in corners]
        if max(map(abs, across)) > _FAR_OUTSIDE or max(map(abs, down)) > _FAR_OUTSIDE:
            return None
        height, width = self.size
        left, right = max(floor(min(across)), 0), min(ceil(max(across)) + 1, width)
        top, foot = max(floor(min(down)), 0), min(ceil(max(down)) + 1, height)
        return (left, top, right, foot) if left < right and top < foot else None

    def quad(
        self,
        texture: Texture,
        corners: Sequence[Point],
        label: int,
        *,
        span: tuple[float, float] = (0.0, 1.0),
        light: float = 1.0,
        clear: float = 1.0,
    ) -> None:
        """Draw a texture in perspective.

        Args:
            texture: what to draw.
            corners: pixels (across, down) of its top left, top right, bottom right, bottom left.
            label: train id of every pixel it covers.
            span: which part of the texture's width the corners stand for, 0..1.
            light: brightness factor.
            clear: share of the own colour that haze leaves, 0..1.
        """
        window = self._window(corners)
        if window is None:
            return
        left, top, right, foot = window
        tall = max(corners[3][1] - corners[0][1], corners[2][1] - corners[1][1])
        picture, shape = texture.at(tall)
        rows, columns = picture.shape[:2]
        local = np.array(corners, np.float32) - np.array((left, top), np.float32)
        start, stop = span[0] * columns - 0.5, span[1] * columns - 0.5
        source = np.array(
            [(start, -0.5), (stop, -0.5), (stop, rows - 0.5), (start, rows - 0.5)], np.float32
        )
        matrix = cv2.getPerspectiveTransform(local, source)
        width_height = (right - left, foot - top)
        part = (slice(0, foot - top), slice(0, right - left))
        drawn, mask = self._scratch[part], self._mask[part]
        cv2.warpPerspective(picture, matrix, width_height, drawn, _SMOOTH, cv2.BORDER_REPLICATE)
        if shape is None:
            mask.fill(0)
            cv2.fillConvexPoly(mask, local.round().astype(np.int32), 255)
        else:
            cv2.warpPerspective(shape, matrix, width_height, mask, _SHARP, cv2.BORDER_CONSTANT)
        cv2.addWeighted(drawn, light * clear, self._fog[part], 1.0 - clear, 0.0, drawn)
        place = (slice(top, foot), slice(left, right))
        cv2.copyTo(drawn, mask, self.image[place])
        cv2.copyTo(self._ids[label][part], mask, self.labels[place])

    def fill(
        self, colour: Bgr, corners: Sequence[Point], label: int, *, light: float, clear: float
    ) -> None:
        """Draw a convex polygon of one colour; `light` and `clear` as for `quad`."""
        if self._window(corners) is None:
            return
        points = np.array(corners).round().astype(np.int32)
        pairs = zip(colour, self.haze, strict=True)
        mixed = [min(own * light, 255.0) * clear + fog * (1.0 - clear) for own, fog in pairs]
        cv2.fillConvexPoly(self.image, points, mixed)
        cv2.fillConvexPoly(self.labels, points, label)
