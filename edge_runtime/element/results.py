"""What applications get beside the picture: a structure for each frame, and the mask as a meta.

PyGObject hands out a copy of a meta's structure, so what is set there in Python is lost. The
structure is therefore filled through GStreamer's C functions; a boxed object's hash is its address.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from gi.repository import GObject

from edge_runtime.element import META
from edge_runtime.gst import Gst

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESULT = "hyperseg-result"
"""Name of the structure in messages and signals."""


@dataclass(frozen=True)
class FrameResult:
    """What is known of one frame."""

    unique_id: int
    index: int
    """Number of the frame since the element was started, from 0."""
    pts: int
    """As in the buffer, `Gst.CLOCK_TIME_NONE` included."""
    state: str
    """``ok``: its own mask; ``stale``: none; ``reused``: that of the frame at `mask_pts`."""
    model: str
    classes: int
    mask: NDArray[np.uint8] | None = None
    """(h, w) uint8 train ids at the network's scale, covering the frame."""
    mask_pts: int = Gst.CLOCK_TIME_NONE
    latency_ns: int | None = None

    def structure(self) -> Any:
        """Everything but the mask itself, as a `Gst.Structure`."""
        found = Gst.Structure.new_empty(RESULT)
        _set(found, "unique-id", GObject.TYPE_UINT, self.unique_id)
        _set(found, "index", GObject.TYPE_UINT64, self.index)
        _set(found, "pts", GObject.TYPE_UINT64, self.pts)
        found.set_value("state", self.state)
        found.set_value("model", self.model)
        if self.mask is not None:
            _set(found, "mask-pts", GObject.TYPE_UINT64, self.mask_pts)
            ratios = class_ratios(self.mask, self.classes)
            found.set_value("ratios", Gst.ValueArray(tuple(map(float, ratios))))
        if self.latency_ns is not None:
            found.set_value("latency-ms", self.latency_ns * 1e-6)
        return found


def class_ratios(mask: NDArray[np.uint8], classes: int) -> NDArray[np.float64]:
    """(classes,) share of the mask's pixels, 0..1, in the order of train ids."""
    counts = cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel()
    return counts[:classes].astype(np.float64) / mask.size


def attach(buffer: Any, result: FrameResult, structure: Any) -> None:
    """Give a writable buffer the meta `META`: the fields of `structure`, and ``mask``, a sample.

    Args:
        buffer: writable.
        result: of its frame.
        structure: of `result`.
    """
    if result.mask is not None:
        structure = structure.copy()
        structure.set_value("mask", _sample(result.mask))
    library = _library()
    meta = library.gst_buffer_add_custom_meta(hash(buffer), META.encode())
    if not meta:
        raise RuntimeError(f"GStreamer did not add the meta {META!r} to a buffer")
    target = library.gst_custom_meta_get_structure(meta)
    for number in range(structure.n_fields()):
        name = structure.nth_field_name(number).encode()
        value = library.gst_structure_get_value(hash(structure), name)
        library.gst_structure_set_value(target, name, value)


@dataclass(frozen=True)
class AttachedMask:
    """What `read_mask` found on a buffer."""

    fields: Any
    """`Gst.Structure`: ``state``, ``index``, ``pts``, ``mask-pts``, ``ratios``, ``unique-id``."""
    mask: NDArray[np.uint8] | None
    """(h, w) uint8 train ids that cover the frame; yours to keep. None: the frame has none."""


def read_mask(buffer: Any) -> AttachedMask | None:
    """The mask that travels with a buffer behind the element; None without the meta."""
    if not metas_supported() or (meta := buffer.get_custom_meta(META)) is None:
        return None
    fields = meta.get_structure()
    sample = fields.get_value("mask")
    if sample is None:
        return AttachedMask(fields, None)
    shape = sample.get_caps().get_structure(0)
    height, width = shape.get_value("height"), shape.get_value("width")
    data = sample.get_buffer().extract_dup(0, height * _stride(width))
    return AttachedMask(fields, np.frombuffer(data, np.uint8).reshape(height, -1)[:, :width])


@lru_cache(maxsize=1)
def metas_supported() -> bool:
    """Whether this GStreamer has custom metas (1.20); makes ours known to it."""
    if not hasattr(Gst.Meta, "register_custom"):
        return False
    if Gst.Meta.get_info(META) is None:
        # Without tags a meta concerns neither size nor colours: converters and scalers keep it.
        Gst.Meta.register_custom(META, [], None, None)
    return True


def _set(structure: Any, name: str, kind: Any, value: int) -> None:
    structure.set_value(name, GObject.Value(kind, value))


def _sample(mask: NDArray[np.uint8]) -> Any:
    height, width = mask.shape
    caps = Gst.Caps.from_string(f"video/x-raw,format=GRAY8,width={width},height={height}")
    rows = np.pad(mask, ((0, 0), (0, _stride(width) - width)))
    return Gst.Sample.new(Gst.Buffer.new_wrapped(rows.tobytes()), caps, None, None)


def _stride(width: int) -> int:
    """Bytes of a row of GRAY8, as GStreamer takes them to be where nothing else is said."""
    return (width + 3) // 4 * 4


@lru_cache(maxsize=1)
def _library() -> Any:
    """The C library that the bindings have loaded already."""
    library, address = ctypes.CDLL("libgstreamer-1.0.so.0"), ctypes.c_void_p
    for name, result, arguments in (
        ("gst_buffer_add_custom_meta", address, [address, ctypes.c_char_p]),
        ("gst_custom_meta_get_structure", address, [address]),
        ("gst_structure_get_value", address, [address, ctypes.c_char_p]),
        ("gst_structure_set_value", None, [address, ctypes.c_char_p, address]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
