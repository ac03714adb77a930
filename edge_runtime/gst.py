"""GStreamer building blocks: the one place where the bindings are loaded and asked what they offer.

Importing this module initialises GStreamer, so it is imported only where frames are about to flow.

Raises:
    DependencyError: on import, if GStreamer or its Python bindings are missing.
"""

from __future__ import annotations

import ctypes
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.errors import DependencyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REMEDY = (
    "apt-get install python3-gi python3-gst-1.0 gir1.2-gst-plugins-base-1.0 "
    "gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad "
    "gstreamer1.0-libav, and make the virtual environment with the distribution's own python3: "
    "python3 -m venv --system-site-packages"
)

# GStreamer links libunwind. Where libstdc++ is first loaded behind it, by a plugin, C++ exceptions
# are unwound by the wrong library, and the next one, such as onnxruntime's about a damaged model,
# aborts the process. The compiler's own unwinder, loaded for all, comes first in the search.
with suppress(OSError):  # a C library without it has no such mix-up either
    ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)

try:
    import gi

    for _name in ("Gst", "GstApp", "GstPbutils", "GstVideo"):
        gi.require_version(_name, "1.0")
    from gi.repository import GLib, Gst, GstApp, GstPbutils, GstVideo

    Gst.init_check(None)
    GstPbutils.pb_utils_init()
except (ImportError, ValueError, AttributeError) as _error:
    raise DependencyError(
        f"GStreamer's Python bindings do not load ({_error}); {_REMEDY}"
    ) from None

__all__ = ["GLib", "Gst", "GstApp", "GstPbutils", "GstVideo"]

ELEMENT_PACKAGES = {
    "avdec_h264": "gstreamer1.0-libav",
    "clocksync": "libgstreamer1.0-0",
    "decodebin": "gstreamer1.0-plugins-base",
    "rtspsrc": "gstreamer1.0-plugins-good",
    "uridecodebin": "gstreamer1.0-plugins-base",
    "v4l2src": "gstreamer1.0-plugins-good",
    "videoconvert": "gstreamer1.0-plugins-base",
    "videoscale": "gstreamer1.0-plugins-base",
    "videotestsrc": "gstreamer1.0-plugins-base",
}
"""Which Debian or Ubuntu package holds an element."""


def has_element(name: str) -> bool:
    """Whether an element of this name is installed."""
    return Gst.ElementFactory.find(name) is not None


def has_property(element: str, name: str) -> bool:
    """Whether an element of this name is installed and has a property of that name."""
    factory = Gst.ElementFactory.find(element)
    made = None if factory is None else factory.create(None)
    return made is not None and made.find_property(name) is not None


def set_if_present(element: Any, name: str, value: object) -> bool:
    """Set a property that not every GStreamer version has; False where it does not exist.

    An enumeration may be given by the nick of its value, such as ``downstream``, and caps as text.
    """
    found = element.find_property(name)
    if found is None:
        return False
    if isinstance(value, str) and found.value_type.name != "gchararray":
        Gst.util_set_object_arg(element, name, value)
    else:
        element.set_property(name, value)
    return True


def bound_appsink(sink: Any, max_buffers: int, *, newest: bool) -> None:
    """Give an appsink a bounded queue.

    Args:
        sink: the appsink.
        max_buffers: how many frames wait in it at most.
        newest: True drops the oldest when full; False makes the stream wait.
    """
    sink.set_property("max-buffers", max_buffers)
    # `drop` is deprecated for `leaky-type` from GStreamer 1.28 on.
    if not set_if_present(sink, "leaky-type", "downstream" if newest else "none"):
        sink.set_property("drop", newest)


@dataclass(frozen=True)
class RawFormat:
    """What raw video caps say."""

    size: tuple[int, int]
    """(height, width) in pixels."""
    fps: float | None
    """None where the caps name no constant rate."""
    pixel_aspect_ratio: tuple[int, int]
    """(numerator, denominator): width of one pixel over its height."""


def raw_format(caps: Any) -> RawFormat:
    """What fixed raw video caps say."""
    info = GstVideo.VideoInfo.new_from_caps(caps)
    return RawFormat(
        size=(info.height, info.width),
        fps=info.fps_n / info.fps_d if info.fps_n > 0 and info.fps_d > 0 else None,
        pixel_aspect_ratio=(info.par_n, info.par_d) if info.par_n > 0 < info.par_d else (1, 1),
    )


def view_pixels(buffer: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A read-only view of a mapped RGB or BGR buffer; the map lasts as long as any view of it.

    Args:
        buffer: a buffer with three bytes a pixel, its rows padded as GStreamer likes.
        size: (height, width) in pixels.

    Returns:
        (height, width, 3) uint8, not contiguous where rows are padded.
    """
    height, width = size
    meta = GstVideo.buffer_get_video_meta(buffer)
    stride = meta.stride[0] if meta is not None else (width * 3 + 3) // 4 * 4
    offset = meta.offset[0] if meta is not None else 0
    return np.ndarray(
        (height, width, 3), np.uint8, view_bytes(buffer), offset=offset, strides=(stride, 3, 1)
    )


def view_bytes(buffer: Any) -> NDArray[np.uint8]:
    """A read-only flat view of a buffer; it stays mapped as long as any view of it lasts."""
    mapped, memory = buffer.map(Gst.MapFlags.READ)
    if not mapped:
        raise MemoryError("GStreamer cannot map a video buffer for reading")
    pixels: NDArray[np.uint8] = np.ndarray(len(memory.data), np.uint8, memory.data)
    weakref.finalize(pixels, _unmap, buffer, memory).atexit = False
    return pixels


def _unmap(buffer: Any, memory: Any) -> None:
    buffer.unmap(memory)
