"""NVIDIA's `NvBufSurface`, which a mapped NVMM buffer holds instead of pixels.

As in published copies of ``nvbufsurface.h``, on 64 bits. The versions found differ only behind what
is read here. That JetPack 7 adds nothing before it is an assumption. There is no version number
inside, so every value is checked against what was negotiated before any address is used.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import TypeVar

from edge_runtime.nvmm.base import BridgeError

PLANES = 4
PADDING = 4
SIZES = (64, 72)
"""Bytes of `NvBufSurface`: as published, and with one more field at its end (unverified)."""
MEM_CUDA_DEVICE = 2
"""NVBUF_MEM_CUDA_DEVICE: `data_pointer` is an address on the device (Thor)."""
MEM_SURFACE_ARRAY = 4
"""NVBUF_MEM_SURFACE_ARRAY: `fd` is a dmabuf, reached through an EGL image (Orin)."""
FORMAT_RGBA = 19
"""NVBUF_COLOR_FORMAT_RGBA."""
LAYOUT_PITCH = 0
"""NVBUF_LAYOUT_PITCH: rows one after the other."""
PITCH_LIMIT = 4096
"""Bytes by which a row may be padded at most."""


class NvBufSurface(ctypes.Structure):
    """The batch; its first 32 bytes."""

    _fields_ = (
        ("gpu_id", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
        ("num_filled", ctypes.c_uint32),
        ("is_contiguous", ctypes.c_bool),
        ("mem_type", ctypes.c_uint32),
        ("surface_list", ctypes.c_uint64),
    )


class PlaneParams(ctypes.Structure):
    """`NvBufSurfacePlaneParams`."""

    _fields_ = (
        ("num_planes", ctypes.c_uint32),
        ("width", ctypes.c_uint32 * PLANES),
        ("height", ctypes.c_uint32 * PLANES),
        ("pitch", ctypes.c_uint32 * PLANES),
        ("offset", ctypes.c_uint32 * PLANES),
        ("psize", ctypes.c_uint32 * PLANES),
        ("bytes_per_pixel", ctypes.c_uint32 * PLANES),
        ("reserved", ctypes.c_uint64 * (PADDING * PLANES)),
    )


class MappedAddr(ctypes.Structure):
    """`NvBufSurfaceMappedAddr`."""

    _fields_ = (
        ("addr", ctypes.c_uint64 * PLANES),
        ("egl_image", ctypes.c_uint64),
        ("reserved", ctypes.c_uint64 * PADDING),
    )


class NvBufSurfaceParams(ctypes.Structure):
    """One frame of the batch; its first 352 bytes."""

    _fields_ = (
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("pitch", ctypes.c_uint32),
        ("color_format", ctypes.c_uint32),
        ("layout", ctypes.c_uint32),
        ("buffer_desc", ctypes.c_uint64),
        ("data_size", ctypes.c_uint32),
        ("data_pointer", ctypes.c_uint64),
        ("planes", PlaneParams),
        ("mapped", MappedAddr),
    )


@dataclass(frozen=True)
class SurfaceFacts:
    """What is known of a frame after all checks."""

    on_device: bool
    """`pointer` is an address on the device; else `fd` is to be reached through an EGL image."""
    pointer: int
    pitch: int
    """Bytes from row to row."""
    fd: int
    egl_image: int
    """Address of the EGL image; 0 where none was made yet."""


S = TypeVar("S", bound=ctypes.Structure)


def read_surface(address: int, size: int, wanted: tuple[int, int]) -> SurfaceFacts:
    """Read and check the frame that an `NvBufSurface` of one frame describes.

    Args:
        address: of the structure in this process.
        size: bytes that are mapped there.
        wanted: (height, width) of the negotiated RGBA frame.

    Raises:
        BridgeError: something is not as expected; the message says what.
    """
    if size not in SIZES:
        raise BridgeError(
            f"the mapped buffer has {size} bytes, and an NvBufSurface has "
            f"{' or '.join(map(str, SIZES))}: this JetPack's layout is not known"
        )
    batch = peek(address, NvBufSurface)
    _expect("batchSize", batch.batch_size, 1)
    _expect("gpuId", batch.gpu_id, 0)
    if batch.mem_type not in (MEM_CUDA_DEVICE, MEM_SURFACE_ARRAY):
        raise BridgeError(
            f"memType is {batch.mem_type}, expected {MEM_CUDA_DEVICE} (device memory) or "
            f"{MEM_SURFACE_ARRAY} (surface array)"
        )
    if not batch.surface_list or batch.surface_list % 8:
        raise BridgeError(f"surfaceList is {batch.surface_list:#x}, which is no address")
    frame = peek(batch.surface_list, NvBufSurfaceParams)
    on_device = batch.mem_type == MEM_CUDA_DEVICE
    _check_frame(frame, wanted, on_device=on_device)
    return SurfaceFacts(
        on_device=on_device,
        pointer=frame.data_pointer,
        pitch=frame.pitch,
        fd=frame.buffer_desc,
        egl_image=frame.mapped.egl_image,
    )


def egl_image_of(address: int) -> int:
    """The EGL image of a checked structure's only frame, as it is now; 0 without one.

    Raises:
        BridgeError: the structure is gone.
    """
    frame = peek(peek(address, NvBufSurface).surface_list, NvBufSurfaceParams)
    return int(frame.mapped.egl_image)


def _check_frame(frame: NvBufSurfaceParams, wanted: tuple[int, int], *, on_device: bool) -> None:
    height, width = wanted
    _expect("height", frame.height, height)
    _expect("width", frame.width, width)
    _expect("colorFormat", frame.color_format, FORMAT_RGBA)
    _expect("planes", frame.planes.num_planes, 1)
    # The same facts in two places: a shifted layout does not pass by chance.
    _expect("planeParams.height", frame.planes.height[0], height)
    _expect("planeParams.width", frame.planes.width[0], width)
    _expect("planeParams.pitch", frame.planes.pitch[0], frame.pitch)
    _expect("planeParams.offset", frame.planes.offset[0], 0)
    if not 4 * width <= frame.pitch <= 4 * width + PITCH_LIMIT:
        raise BridgeError(f"pitch is {frame.pitch} bytes for {width} pixels of 4 bytes")
    if frame.data_size < frame.pitch * height:
        raise BridgeError(f"dataSize is {frame.data_size}, less than {height} rows")
    if on_device:
        _expect("layout", frame.layout, LAYOUT_PITCH)
        if not frame.data_pointer:
            raise BridgeError("dataPtr is null")
    elif not 0 < frame.buffer_desc < 2**31:
        raise BridgeError(f"bufferDesc is {frame.buffer_desc}, which is no file descriptor")


def _expect(name: str, found: int, expected: int) -> None:
    if found != expected:
        raise BridgeError(f"{name} is {found}, expected {expected}")


def peek(address: int, kind: type[S]) -> S:
    """A copy of a structure in this process, read so that a wrong address cannot crash it.

    Raises:
        BridgeError: nothing is mapped there.
    """
    size = ctypes.sizeof(kind)
    try:
        memory = os.open("/proc/self/mem", os.O_RDONLY)
        try:
            data = os.pread(memory, size, address)
        finally:
            os.close(memory)
    except (OSError, OverflowError) as error:
        raise BridgeError(f"address {address:#x} cannot be read ({error})") from error
    if len(data) != size:
        raise BridgeError(f"address {address:#x} holds {len(data)} readable bytes of {size}")
    return kind.from_buffer_copy(data)
