"""Where a frame lies in the network's input, told to GStreamer once the frame's size is known.

GStreamer scales to exactly the rectangle that `FrameGeometry` names and the black borders are ours.
Its own letterboxing rounds differently from version to version, and the mask must find its way back
to the pixel.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.geometry import FrameGeometry
from edge_runtime.gst import Gst, RawFormat, raw_format, view_pixels
from edge_runtime.sources.rows import RowsCanvas, colorimetry, needs_rgb
from edge_runtime.sources.tail import DETOUR, FIT, SQUARE, SQUARE_SCALE, fit_caps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.copies import Copies
    from edge_runtime.video import SourceRequest


class NetworkPlacement:
    """Follows the size of the stream on its way in, and lays frames into the network's input."""

    def __init__(self, request: SourceRequest, *, surfaces: bool = False) -> None:
        self.size = (0, 0)
        """(height, width) of the frames now passing, as the tee sees them."""
        self.network = request.network
        self._request = request
        self._fit = fit_caps(request, surfaces=surfaces)
        self._rows = None if request.yuv is None else RowsCanvas(request.yuv, request.network)
        self._canvas: NDArray[np.uint8] | None = None
        """Made for the first picture that does not fill the input; a YUV model's has its own."""
        self._laid: tuple[int, int, int, int] | None = None
        self.content = lru_cache(maxsize=64)(self._content)
        """(top, left, height, width) by frame size."""

    def _content(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        request = self._request
        even = request.yuv is not None
        return FrameGeometry(size, request.network, request.resize, even=even).content

    def follow(self, pipeline: Any) -> tuple[Any, Any]:
        """The (pad, probe callback) that keeps the pipeline's filters fitting to the frames."""
        square, fit = pipeline.get_by_name(SQUARE), pipeline.get_by_name(FIT)

        def on_event(event: Any) -> None:
            if event.type == Gst.EventType.CAPS:
                caps, start = event.parse_caps(), self._fit
                found = raw_format(caps)
                self.size = found.size if square is None else _square_size(found)
                if square is not None:
                    square.set_property("caps", _caps("video/x-raw", *self.size))
                _, _, height, width = self.content(self.size)
                if (yuv := self._request.yuv) is not None:
                    start += f",colorimetry=(string){colorimetry(yuv, caps)}"
                if yuv is not None and (detour := pipeline.get_by_name(DETOUR)) is not None:
                    kind = "video/x-raw,format=RGBx" if needs_rgb(yuv, caps) else "video/x-raw"
                    detour.set_property("caps", Gst.Caps.from_string(kind))
                fit.set_property("caps", _caps(start, height, width))

        return pipeline.get_by_name(SQUARE_SCALE).get_static_pad("sink"), on_event

    def lay(self, buffer: Any, size: tuple[int, int], copies: Copies) -> NDArray[np.uint8]:
        """The network's input of a frame.

        Args:
            buffer: the scaled frame.
            size: (height, width) of the frame before scaling.
            copies: counts what is done.

        Returns:
            (network height, network width, 3) uint8, or the bytes that a YUV model takes. A
            letterboxed one is overwritten by the next.
        """
        place = self.content(size)
        if self._rows is not None:
            return self._rows.lay(buffer, place, copies)
        top, left, height, width = place
        pixels = view_pixels(buffer, (height, width))
        copies.host_pixel_maps += 1
        if (height, width) == self._request.network:
            return pixels
        if self._canvas is None or place != self._laid:
            self._canvas = np.zeros((*self.network, 3), np.uint8)
            self._laid = place
        self._canvas[top : top + height, left : left + width] = pixels
        copies.copied(pixels.nbytes)
        return self._canvas


def _square_size(found: RawFormat) -> tuple[int, int]:
    """The size with square pixels: the height stays, the width follows."""
    height, width = found.size
    across, down = found.pixel_aspect_ratio
    return height, max(round(width * across / down), 1)


def _caps(start: str, height: int, width: int) -> Any:
    return Gst.Caps.from_string(f"{start},height={height},width={width},pixel-aspect-ratio=1/1")
