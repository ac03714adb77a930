"""Where a frame lies in the network's input, and how a mask finds its way back to the frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_runtime.artifacts import ResizeMode


@dataclass(frozen=True)
class FrameGeometry:
    """Placement of a frame inside the network input. Sizes are (height, width) in pixels."""

    frame: tuple[int, int]
    network: tuple[int, int]
    resize: ResizeMode
    even: bool = False
    """Whether `content` lies on even pixels only, as YUV models need it: two share their chroma."""

    @property
    def content(self) -> tuple[int, int, int, int]:
        """(top, left, height, width) of the frame's picture within the network input."""
        net_height, net_width = self.network
        if self.resize == "stretch":
            return 0, 0, net_height, net_width
        height, width = self.frame
        scale = min(net_height / height, net_width / width)
        # At least one pixel: a 1 x 4000 frame must still have a place to come back from.
        step = 2 if self.even else 1
        inner_height = min(max(round(height * scale / step), 1) * step, net_height)
        inner_width = min(max(round(width * scale / step), 1) * step, net_width)
        return (
            (net_height - inner_height) // (2 * step) * step,
            (net_width - inner_width) // (2 * step) * step,
            inner_height,
            inner_width,
        )

    def mask_to_frame(
        self, mask: NDArray[np.uint8], out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """A (net_height, net_width) mask as (height, width) of the frame, nearest neighbour.

        Args:
            mask: (net_height, net_width) uint8.
            out: (height, width) uint8 to be filled; None makes a new one.

        Returns:
            The mask; where it fits the frame as it is, a view of `mask`, and `out` is left alone.
        """
        import cv2

        top, left, height, width = self.content
        inner = mask[top : top + height, left : left + width]
        if inner.shape == self.frame:
            return inner
        frame_height, frame_width = self.frame
        resized = cv2.resize(
            inner, (frame_width, frame_height), dst=out, interpolation=cv2.INTER_NEAREST_EXACT
        )
        return cast("NDArray[np.uint8]", resized)
