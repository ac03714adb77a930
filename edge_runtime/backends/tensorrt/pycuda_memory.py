"""Device memory by pycuda, in the primary context that TensorRT works in too.

pycuda works in the context that is current in the calling thread, and ends the process when a
thread ends with a context of its own still current. A model may be opened, run and closed by three
threads, so each call makes the context current and takes it back.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pycuda
import pycuda.driver as driver

from edge_runtime.backends.tensorrt.memory import HostBuffer
from edge_runtime.errors import BackendError, DependencyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class PycudaMemory:
    """See `edge_runtime.backends.tensorrt.memory.DeviceMemory`.

    Raises:
        DependencyError: there is no driver or no GPU.
    """

    def __init__(self) -> None:
        self.name = f"pycuda {pycuda.VERSION_TEXT}"
        self._held = ExitStack()
        try:
            driver.init()
            device = driver.Device(0)
            self._context = device.retain_primary_context()
        except driver.Error as error:
            raise DependencyError(
                f"{self.name} finds no usable GPU ({error}); engines run on a GPU only"
            ) from error
        attributes = driver.device_attribute
        self.integrated = bool(device.get_attribute(attributes.INTEGRATED))
        self._streams: dict[int, Any] = {}

    def allocate(self, size: int) -> int:
        """See `DeviceMemory.allocate`."""
        allocation = self._try("mem_alloc", driver.mem_alloc, size)
        self._held.callback(allocation.free)
        return int(allocation)

    def pinned(self, size: int, *, mapped: bool) -> HostBuffer:
        """See `DeviceMemory.pinned`."""
        flags = driver.host_alloc_flags.DEVICEMAP if mapped else 0
        array = self._try(
            "pagelocked_empty", driver.pagelocked_empty, size, np.uint8, mem_flags=flags
        )
        device = None
        if mapped:
            device = int(self._try("get_device_pointer", array.base.get_device_pointer))
        # Dropping the last view frees it; the stack holds one until `close`.
        self._held.callback(lambda held: None, array)
        return HostBuffer(array, array.ctypes.data, device)

    def stream(self) -> int:
        """See `DeviceMemory.stream`."""
        stream = self._try("Stream", driver.Stream)
        self._streams[int(stream.handle)] = stream
        return int(stream.handle)

    def event(self) -> Any:
        """See `DeviceMemory.event`."""
        return self._try("Event", driver.Event, driver.event_flags.BLOCKING_SYNC)

    def copy_to_device(self, target: int, source: HostBuffer, stream: int) -> None:
        """See `DeviceMemory.copy_to_device`."""
        self._try(
            "memcpy_htod_async", driver.memcpy_htod_async, target, source.array,
            self._streams[stream],
        )  # fmt: skip

    def copy_to_host(self, target: HostBuffer, source: int, stream: int) -> None:
        """See `DeviceMemory.copy_to_host`."""
        self._try(
            "memcpy_dtoh_async", driver.memcpy_dtoh_async, target.array, source,
            self._streams[stream],
        )  # fmt: skip

    def record(self, event: Any, stream: int) -> None:
        """See `DeviceMemory.record`."""
        self._try("Event.record", event.record, self._streams[stream])

    def wait(self, event: Any) -> None:
        """See `DeviceMemory.wait`."""
        self._try("Event.synchronize", event.synchronize)

    def elapsed_ms(self, start: Any, end: Any) -> float:
        """See `DeviceMemory.elapsed_ms`."""
        return float(self._try("Event.time_since", end.time_since, start))

    def capture(self, stream: int, enqueue: Callable[[], None]) -> Callable[[], None]:
        """See `DeviceMemory.capture`."""
        raise BackendError("CUDA graphs are used with cuda-python only, not with pycuda")

    def close(self) -> None:
        """See `DeviceMemory.close`."""
        with self._current("close"):
            self._streams.clear()
            self._held.close()

    def _try(self, name: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        with self._current(name):
            return call(*arguments, **named)

    @contextmanager
    def _current(self, name: str) -> Iterator[None]:
        """Let this thread work in the context.

        Raises:
            BackendError: CUDA failed in what `name` says.
        """
        try:
            self._context.push()
            try:
                yield
            except BaseException:
                with suppress(driver.Error):  # what failed first is the news
                    self._context.pop()
                raise
            self._context.pop()
        except driver.Error as error:
            raise BackendError(f"CUDA failed in pycuda's {name}: {error}") from error
