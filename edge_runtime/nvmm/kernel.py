"""The one kernel: a pitched RGBA frame into a packed RGB or BGR input, black around it.

The runtime compiles it for the GPU it finds (NVRTC). The text keeps to what C and CUDA share, so
that tests can compile it as C and run it on arrays.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.nvmm.base import Place

NAME = "lay"
BLOCK = (32, 8)
"""Threads across and down."""

SOURCE = """
extern "C" __global__ void lay(
    const unsigned char *rgba, unsigned long long pitch, unsigned char *packed,
    int height, int width, int top, int left, int inner_height, int inner_width, int reversed)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    unsigned char *to = packed + ((unsigned long long)y * width + x) * 3;
    int column = x - left, row = y - top;
    if (column < 0 || row < 0 || column >= inner_width || row >= inner_height) {
        to[0] = to[1] = to[2] = 0;
        return;
    }
    const unsigned char *from = rgba + row * pitch + column * 4;
    to[0] = from[reversed ? 2 : 0];
    to[1] = from[1];
    to[2] = from[reversed ? 0 : 2];
}
"""

TYPES = (
    ctypes.c_void_p,
    ctypes.c_ulonglong,
    ctypes.c_void_p,
    *[ctypes.c_int] * 7,
)
"""Of the kernel's arguments."""


@dataclass(frozen=True)
class Pitched:
    """An RGBA picture on the device."""

    address: int
    pitch: int
    """Bytes from row to row."""


def grid(place: Place) -> tuple[int, int]:
    """Blocks across and down that cover the network's input."""
    height, width = place.network
    return -(-width // BLOCK[0]), -(-height // BLOCK[1])


def arguments(source: Pitched, target: int, place: Place, *, is_bgr: bool) -> tuple[int, ...]:
    """Values of the kernel's arguments.

    Args:
        source: the scaled frame.
        target: address of the packed input.
        place: where the frame lies in it.
        is_bgr: whether the input wants blue first.
    """
    top, left, inner_height, inner_width = place.content
    return (
        source.address, source.pitch, target, *place.network, top, left, inner_height, inner_width,
        int(is_bgr),
    )  # fmt: skip
