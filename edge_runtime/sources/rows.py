"""Frames for models that take YUV: the bytes of GStreamer's NV12 and YUY2 buffers, as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.gst import GstVideo, view_bytes
from edge_runtime.yuv import black_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.copies import Copies
    from edge_runtime.pixels import Matrix, Range, YuvFormat

RANGES: dict[Range, int] = {"full": 1, "limited": 2}
MATRICES: dict[Matrix, int] = {"bt709": 3, "bt601": 4}
"""GStreamer's numbers in a colorimetry of ``range:matrix:transfer:primaries``."""


def needs_rgb(yuv: YuvFormat, caps: Any) -> bool:
    """Whether frames must become RGB on their way to be right.

    GStreamer (1.22 at least) leaves YUV and grey as they are if nothing but the range is to change.

    Args:
        yuv: what the model takes.
        caps: of the source's frames.
    """
    found = GstVideo.VideoInfo.new_from_caps(caps)
    return not found.finfo.flags & GstVideo.VideoFormatFlags.RGB and (
        int(found.colorimetry.range) != RANGES[yuv.range]
    )


def colorimetry(yuv: YuvFormat, caps: Any) -> str:
    """The colours to ask GStreamer for, so that it converts none that fit already.

    Args:
        yuv: what the model takes: range and matrix.
        caps: of the source's frames: transfer function and primaries stay as they are.
    """
    found = GstVideo.VideoInfo.new_from_caps(caps).colorimetry
    return (
        f"{RANGES[yuv.range]}:{MATRICES[yuv.matrix]}:{int(found.transfer)}:{int(found.primaries)}"
    )


def views(buffer: Any, yuv: YuvFormat, size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Read-only views of a buffer's planes; the map lasts as long as any of them.

    Args:
        buffer: NV12 or YUY2, its rows padded as GStreamer likes.
        yuv: which of the two.
        size: (height, width) in pixels, both even.

    Returns:
        One array as `YuvFormat.rows` says where its bytes follow each other without padding, and of
        YUY2; else Y (H, W) and U, V by turns (H/2, W).
    """
    height, width = size
    data = view_bytes(buffer)
    meta = GstVideo.buffer_get_video_meta(buffer)
    length = yuv.rows(size)[1]
    stride = meta.stride[0] if meta is not None else (length + 3) // 4 * 4
    start = meta.offset[0] if meta is not None else 0
    if yuv.pixels == "yuy2":
        return [_plane(data, start, stride, (height, length))]
    second = meta.offset[1] if meta is not None else stride * height
    second_stride = meta.stride[1] if meta is not None else stride
    if stride == second_stride and second == start + stride * height:
        both = _plane(data, start, stride, yuv.rows(size))
        return [both] if stride == width else [both[:height], both[height:]]
    return [
        _plane(data, start, stride, (height, width)),
        _plane(data, second, second_stride, (height // 2, width)),
    ]


def _plane(
    data: NDArray[np.uint8], start: int, stride: int, shape: tuple[int, int]
) -> NDArray[np.uint8]:
    return np.ndarray(shape, np.uint8, data, offset=start, strides=(stride, 1))


class RowsCanvas:
    """Lays frames into the input of a model that takes YUV.

    Args:
        yuv: what it takes.
        network: (height, width) of its input.
    """

    def __init__(self, yuv: YuvFormat, network: tuple[int, int]) -> None:
        self._yuv, self._network = yuv, network
        self._canvas = black_frame(yuv, network)
        self._laid: tuple[int, int, int, int] | None = None

    def lay(
        self, buffer: Any, place: tuple[int, int, int, int], copies: Copies
    ) -> NDArray[np.uint8]:
        """The network's input of a frame.

        Args:
            buffer: the scaled frame.
            place: (top, left, height, width) of its picture in the input, all even.
            copies: counts what is done.

        Returns:
            As `YuvFormat.rows` says: the buffer's own bytes where the picture fills the input and
            no row is padded; else a copy, overwritten by the next.
        """
        top, left, height, width = place
        parts = views(buffer, self._yuv, (height, width))
        copies.host_pixel_maps += 1
        if len(parts) == 1 and (height, width) == self._network:
            return parts[0]
        if place != self._laid:
            self._canvas[...] = black_frame(self._yuv, self._network)
            self._laid = place
        start = left if self._yuv.pixels == "nv12" else left * 2
        if len(parts) == 1 and self._yuv.pixels == "nv12":
            parts = [parts[0][:height], parts[0][height:]]
        for part, first in zip(parts, (top, self._network[0] + top // 2), strict=False):
            self._canvas[first : first + part.shape[0], start : start + part.shape[1]] = part
            copies.copied(part.nbytes)
        return self._canvas
