"""The interface of device memory on the host's own memory: for dry runs of the plumbing only.

It refuses what a driver refuses, so that the error paths are gone through too.
"""

from __future__ import annotations

import ctypes
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.backends.tensorrt.memory import HostBuffer
from edge_runtime.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MOST_BYTES = 1 << 30


class HostMemory:
    """See `edge_runtime.backends.tensorrt.memory.DeviceMemory`; every copy is made at once."""

    def __init__(self) -> None:
        self.name = "host memory (dry run)"
        self.integrated = True
        self._blocks: list[NDArray[np.uint8]] = []
        self._captured: list[Callable[[], None]] | None = None

    def allocate(self, size: int) -> int:
        """See `DeviceMemory.allocate`."""
        if size > MOST_BYTES:
            raise BackendError(f"cannot allocate {size} bytes in a dry run")
        return self._block(size).ctypes.data

    def pinned(self, size: int, *, mapped: bool) -> HostBuffer:
        """See `DeviceMemory.pinned`."""
        array = self._block(size)
        address = array.ctypes.data
        return HostBuffer(array, address, address if mapped else None)

    def stream(self) -> int:
        """See `DeviceMemory.stream`."""
        return 0

    def event(self) -> Any:
        """See `DeviceMemory.event`."""
        return [0]

    def copy_to_device(self, target: int, source: HostBuffer, stream: int) -> None:
        """See `DeviceMemory.copy_to_device`."""
        self._copy(target, source.host, source.array.nbytes)

    def copy_to_host(self, target: HostBuffer, source: int, stream: int) -> None:
        """See `DeviceMemory.copy_to_host`."""
        self._copy(target.host, source, target.array.nbytes)

    def record(self, event: Any, stream: int) -> None:
        """See `DeviceMemory.record`."""
        event[0] = time.perf_counter_ns()

    def wait(self, event: Any) -> None:
        """See `DeviceMemory.wait`."""

    def elapsed_ms(self, start: Any, end: Any) -> float:
        """See `DeviceMemory.elapsed_ms`."""
        if not (start[0] and end[0]):
            raise BackendError("an event was never recorded")
        return float(end[0] - start[0]) * 1e-6

    def capture(self, stream: int, enqueue: Callable[[], None]) -> Callable[[], None]:
        """See `DeviceMemory.capture`."""
        kept: list[Callable[[], None]] = []
        self._captured = kept
        try:
            enqueue()
        finally:
            self._captured = None

        def launch() -> None:
            for copy in kept:
                copy()

        return launch

    def close(self) -> None:
        """See `DeviceMemory.close`."""
        self._blocks.clear()

    def _block(self, size: int) -> NDArray[np.uint8]:
        self._blocks.append(np.zeros(size, np.uint8))
        return self._blocks[-1]

    def _copy(self, target: int, source: int, size: int) -> None:
        for address in (target, source):
            starts = (block.ctypes.data for block in self._blocks)
            if address not in starts:
                raise BackendError(f"no memory at {address:#x}")
        if self._captured is not None:
            self._captured.append(lambda: self._copy(target, source, size))
            return
        ctypes.memmove(target, source, size)
