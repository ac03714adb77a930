"""The picture with its mask in colours, a legend, and a tag on what is not a fresh result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge_runtime.result import FrameMasks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.labels import LabelSet
    from edge_runtime.result import Result

ALPHA = 0.5
"""Weight of the colours against the picture."""
FONT = cv2.FONT_HERSHEY_SIMPLEX
WHITE, RED, BLACK = (255, 255, 255), (0, 0, 200), (0, 0, 0)
LEGEND_MIN_SIZE = (96, 160)
"""(height, width) below which there is no room for a legend."""
TAGS = {"stale": "STALE", "no-signal": "NO SIGNAL"}


class Overlay:
    """Draws results of one source. Not for several threads: the canvas is reused.

    Args:
        labels: names and palette of the classes.
    """

    def __init__(self, labels: LabelSet) -> None:
        self._names = labels.names
        self._table = labels.lookup_table(bgr=True)
        self._masks = FrameMasks()
        self._canvas = self._colours = np.zeros((0, 0, 3), np.uint8)

    def draw(self, result: Result) -> NDArray[np.uint8]:
        """The frame's picture, its own mask over it if it has one.

        Args:
            result: with a picture, unless its state is ``no-signal``.

        Returns:
            (height, width, 3) uint8 BGR at the size of the frame, overwritten by the next call.
        """
        height, width = result.geometry.frame
        if self._canvas.shape[:2] != (height, width):
            self._canvas = np.zeros((height, width, 3), np.uint8)
            self._colours = np.zeros((height, width, 3), np.uint8)
        canvas = self._canvas
        mask = self._masks.of(result)
        if result.picture is None:
            canvas[:] = 0
        elif mask is None:
            np.copyto(canvas, result.picture)
        else:
            colours = cv2.applyColorMap(mask, self._table[:, None, :], dst=self._colours)
            cv2.addWeighted(result.picture, 1 - ALPHA, colours, ALPHA, 0, dst=canvas)
        if result.mask is not None:
            self._draw_legend(canvas, result.mask)
        tag = TAGS.get(result.state) or ("LATE" if result.late else None)
        if tag is not None:
            _draw_tag(canvas, tag)
        return canvas

    def _draw_legend(self, canvas: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
        """A strip along the lower edge: square and name of each class that is present."""
        height, width = canvas.shape[:2]
        if height < LEGEND_MIN_SIZE[0] or width < LEGEND_MIN_SIZE[1]:
            return
        scale = height / 1200
        side = max(round(24 * scale), 6)
        left, top = side // 2, height - side - side // 2
        cv2.rectangle(canvas, (0, top - side // 2), (width, height), BLACK, cv2.FILLED)
        counts = cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel()
        for index in np.flatnonzero(counts[: len(self._names)]):
            (text_width, _), _ = cv2.getTextSize(self._names[index], FONT, scale, 1)
            if left + side + text_width + side > width:
                break
            colour = tuple(map(int, self._table[index]))
            corner = (left + side, top + side)
            cv2.rectangle(canvas, (left, top), corner, colour, cv2.FILLED)
            place = (left + side + side // 3, top + side - side // 6)
            cv2.putText(canvas, self._names[index], place, FONT, scale, WHITE, 1, cv2.LINE_AA)
            left += 2 * side + text_width


def _draw_tag(canvas: NDArray[np.uint8], tag: str) -> None:
    """White on red in the upper left corner."""
    height = canvas.shape[0]
    scale = max(height / 360, 0.3)
    thickness = max(round(2 * scale), 1)
    (text_width, text_height), base = cv2.getTextSize(tag, FONT, scale, thickness)
    margin = text_height // 2
    right, bottom = text_width + 2 * margin, text_height + base + 2 * margin
    cv2.rectangle(canvas, (0, 0), (right, bottom), RED, cv2.FILLED)
    cv2.putText(canvas, tag, (margin, margin + text_height), FONT, scale, WHITE, thickness)
