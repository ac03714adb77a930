"""Which NVIDIA GPU this machine has, asked of the driver itself: no CUDA package is needed."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

_MAJOR, _MINOR, _INTEGRATED = 75, 76, 18
"""CUdevice_attribute: compute capability, and whether memory is shared with the host."""
_DRIVER_LIBRARY = "libcuda.so.1"


@dataclass(frozen=True)
class Gpu:
    """One CUDA device."""

    name: str
    compute_capability: str
    """Such as ``8.7``."""
    memory_mib: int
    """All of it; on a Jetson the host's memory, which the two share."""
    integrated: bool
    cuda: str
    """Highest CUDA version the driver serves, such as ``12.6``."""


def query_gpu(index: int = 0, library: str = _DRIVER_LIBRARY) -> Gpu | None:
    """The device of that index, or None where there is no driver or no such device.

    Args:
        index: CUDA's number of the device.
        library: the driver's shared library.
    """
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return None
    if driver.cuInit(0) != 0:
        return None
    device, version, total = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(128)
    values = {code: ctypes.c_int() for code in (_MAJOR, _MINOR, _INTEGRATED)}
    codes = [
        driver.cuDeviceGet(ctypes.byref(device), index),
        driver.cuDeviceGetName(name, len(name), device),
        driver.cuDeviceTotalMem_v2(ctypes.byref(total), device),
        driver.cuDriverGetVersion(ctypes.byref(version)),
    ]
    for code, value in values.items():
        codes.append(driver.cuDeviceGetAttribute(ctypes.byref(value), code, device))
    if any(codes):
        return None
    return Gpu(
        name=name.value.decode(errors="replace"),
        compute_capability=f"{values[_MAJOR].value}.{values[_MINOR].value}",
        memory_mib=total.value >> 20,
        integrated=bool(values[_INTEGRATED].value),
        cuda=f"{version.value // 1000}.{version.value % 1000 // 10}",
    )
