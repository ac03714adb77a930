"""Video buffers as arrays: what the element takes and gives, and where its pixels lie."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.element.segmenter import Picture
from edge_runtime.gst import Gst, GstVideo, raw_format

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

PICTURES = {"RGB": ("RGB", 3), "BGR": ("BGR", 3), "RGBx": ("RGB", 4), "BGRx": ("BGR", 4)}
"""Order and channels of the formats that are taken."""
MASK = "GRAY8"
"""Format of masks: train ids, 255 where there is no class."""

_SIZE = "width=[1,2147483647],height=[1,2147483647],framerate=[0/1,2147483647/1]"
PICTURE_CAPS = f"video/x-raw,format={{{','.join(PICTURES)}}},{_SIZE}"
MASK_CAPS = f"video/x-raw,format={MASK},{_SIZE}"
EXPECTED = (
    f"expected video/x-raw of {', '.join(PICTURES)} in system memory: put videoconvert before "
    "hypersegfilter"
)
"""What is said of a stream of another format."""


def picture_of(caps: Any) -> Picture:
    """What fixed caps of one of `PICTURES` say."""
    found = raw_format(caps)
    order, channels = PICTURES[caps.get_structure(0).get_string("format")]
    return Picture(found.size, channels, order, found.pixel_aspect_ratio)


def other_side(direction: Any, caps: Any) -> Any:
    """The caps of masks that belong to caps of pictures, or the other way round.

    Args:
        direction: of the pad that has `caps`; the sink pad takes pictures.
        caps: what is to be turned into the caps of the other pad.
    """
    to_masks = direction == Gst.PadDirection.SINK
    found = Gst.Caps.new_empty()
    for index in range(caps.get_size()):
        structure = caps.get_structure(index).copy()
        for field in ("format", "colorimetry", "chroma-site"):
            structure.remove_field(field)
        structure.set_value("format", MASK if to_masks else Gst.ValueList(tuple(PICTURES)))
        found.append_structure(structure)
    return found


@contextmanager
def mapped(buffer: Any, info: Any, *, write: bool) -> Iterator[NDArray[np.uint8]]:
    """A buffer's pixels in place, valid inside the `with` block only.

    Args:
        buffer: one frame, its rows as its video meta says or else as `info` does.
        info: `GstVideo.VideoInfo` of its caps.
        write: map for reading and writing; the buffer has to be writable.

    Yields:
        (height, width, channels) uint8, or (height, width) for one channel; rows may be padded.

    Raises:
        MemoryError: the buffer cannot be mapped.
    """
    meta = GstVideo.buffer_get_video_meta(buffer)
    stride, offset = (meta.stride[0], meta.offset[0]) if meta else (info.stride[0], info.offset[0])
    channels = info.finfo.pixel_stride[0]
    flags = Gst.MapFlags.READ | (Gst.MapFlags.WRITE if write else Gst.MapFlags(0))
    done, memory = buffer.map(flags)
    if not done:
        raise MemoryError("GStreamer cannot map a video buffer")
    try:
        shape, strides = (info.height, info.width, channels), (stride, channels, 1)
        pixels: NDArray[np.uint8] = np.ndarray(
            shape, np.uint8, memory.data, offset=offset, strides=strides
        )
        yield pixels[..., 0] if channels == 1 else pixels
    finally:
        buffer.unmap(memory)
