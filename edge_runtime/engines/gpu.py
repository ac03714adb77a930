"""Which NVIDIA GPU this machine has, asked of the driver itself: no CUDA package is needed."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

_MAJOR, _MINOR, _INTEGRATED, _MULTIPROCESSORS = 75, 76, 18, 16
"""CUdevice_attribute: compute capability, whether memory is shared with the host, and size."""
_DRIVER_LIBRARY = "libcuda.so.1"
NO_DEVICE = 100
"""``CUDA_ERROR_NO_DEVICE``: a driver, and nothing that it drives."""


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
    multiprocessors: int | None = None
    """How many it has: 4 to 16 in an Orin, which all have one name. None: not known."""


@dataclass(frozen=True)
class NoGpu:
    """Why no device answers."""

    reason: str
    """Such as ``cuInit: 801 (CUDA_ERROR_NOT_SUPPORTED)``."""
    code: int | None = None
    """The driver's ``CUresult``; None where there is no driver to ask."""


def query_gpu(index: int = 0, library: str = _DRIVER_LIBRARY) -> Gpu | None:
    """The device of that index, or None where there is no driver or no such device.

    Args:
        index: CUDA's number of the device.
        library: the driver's shared library.
    """
    found = ask_gpu(index, library)
    return found if isinstance(found, Gpu) else None


def ask_gpu(index: int = 0, library: str = _DRIVER_LIBRARY) -> Gpu | NoGpu:
    """The device of that index, or why it does not answer.

    Args:
        index: CUDA's number of the device.
        library: the driver's shared library.
    """
    try:
        driver = ctypes.CDLL(library)
    except OSError as error:
        return NoGpu(str(error))
    if code := driver.cuInit(0):
        return NoGpu(f"cuInit: {_named(driver, code)}", code)
    device, version, total = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(128)
    values = {code: ctypes.c_int() for code in (_MAJOR, _MINOR, _INTEGRATED, _MULTIPROCESSORS)}
    codes = [
        driver.cuDeviceGet(ctypes.byref(device), index),
        driver.cuDeviceGetName(name, len(name), device),
        driver.cuDeviceTotalMem_v2(ctypes.byref(total), device),
        driver.cuDriverGetVersion(ctypes.byref(version)),
    ]
    for attribute, value in values.items():
        codes.append(driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device))
    if code := next(filter(None, codes), 0):
        return NoGpu(f"CUDA device {index}: {_named(driver, code)}", code)
    return Gpu(
        name=name.value.decode(errors="replace"),
        compute_capability=f"{values[_MAJOR].value}.{values[_MINOR].value}",
        memory_mib=total.value >> 20,
        integrated=bool(values[_INTEGRATED].value),
        multiprocessors=values[_MULTIPROCESSORS].value,
        cuda=_version(version.value),
    )


def driver_cuda(library: str = _DRIVER_LIBRARY) -> str | None:
    """Highest CUDA version the driver serves, such as ``12.6``; None without a driver.

    Unlike `query_gpu` it initializes no device: it may be asked in a process that uses none.

    Args:
        library: the driver's shared library.
    """
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return None
    version = ctypes.c_int()
    failed = driver.cuDriverGetVersion(ctypes.byref(version))
    return None if failed or not version.value else _version(version.value)


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _named(driver: ctypes.CDLL, code: int) -> str:
    name = ctypes.c_char_p()
    driver.cuGetErrorName(code, ctypes.byref(name))
    return f"{code} ({name.value.decode()})" if name.value else str(code)
