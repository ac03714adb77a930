"""Device memory by cuda-python (``cuda.bindings``)."""

from __future__ import annotations

import ctypes
from contextlib import ExitStack
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from cuda.bindings import runtime as cudart

from edge_runtime.backends.tensorrt.memory import HostBuffer
from edge_runtime.errors import BackendError, DependencyError

if TYPE_CHECKING:
    from collections.abc import Callable

MAPPED, DEFAULT = 2, 0
"""cudaHostAllocMapped, cudaHostAllocDefault."""
NON_BLOCKING = 1
"""cudaStreamNonBlocking."""
BLOCKING_SYNC = 1
"""cudaEventBlockingSync: waiting leaves the core to the decoder and the sinks."""


class CudaPythonMemory:
    """See `edge_runtime.backends.tensorrt.memory.DeviceMemory`.

    Raises:
        DependencyError: there is no driver, none that fits, or no GPU.
    """

    def __init__(self) -> None:
        self.name = f"cuda-python {version('cuda-bindings')}"
        self._held = ExitStack()
        try:
            error, count = cudart.cudaGetDeviceCount()
        except RuntimeError as failure:  # versions that load the driver on the first call
            raise DependencyError(
                f"{self.name} finds no NVIDIA driver ({failure}); engines run on a GPU only"
            ) from failure
        if error != cudart.cudaError_t.cudaSuccess or not count:
            raise DependencyError(
                f"{self.name} finds no usable GPU ({_text(error)}{_versions(error)}); engines run "
                "on a GPU only"
            )
        self._call("cudaSetDevice", 0)
        attribute = cudart.cudaDeviceAttr.cudaDevAttrIntegrated
        self.integrated = bool(self._call("cudaDeviceGetAttribute", attribute, 0))

    def allocate(self, size: int) -> int:
        """See `DeviceMemory.allocate`."""
        address = int(self._call("cudaMalloc", size))
        self._held.callback(self._call, "cudaFree", address)
        return address

    def pinned(self, size: int, *, mapped: bool) -> HostBuffer:
        """See `DeviceMemory.pinned`."""
        host = int(self._call("cudaHostAlloc", size, MAPPED if mapped else DEFAULT))
        self._held.callback(self._call, "cudaFreeHost", host)
        device = int(self._call("cudaHostGetDevicePointer", host, 0)) if mapped else None
        memory = (ctypes.c_uint8 * size).from_address(host)
        return HostBuffer(np.ctypeslib.as_array(memory), host, device)

    def stream(self) -> int:
        """See `DeviceMemory.stream`."""
        stream = self._call("cudaStreamCreateWithFlags", NON_BLOCKING)
        self._held.callback(self._call, "cudaStreamDestroy", stream)
        return int(stream)

    def event(self) -> Any:
        """See `DeviceMemory.event`."""
        event = self._call("cudaEventCreateWithFlags", BLOCKING_SYNC)
        self._held.callback(self._call, "cudaEventDestroy", event)
        return event

    def copy_to_device(self, target: int, source: HostBuffer, stream: int) -> None:
        """See `DeviceMemory.copy_to_device`."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", target, source.host, source.array.nbytes, kind, stream)

    def copy_to_host(self, target: HostBuffer, source: int, stream: int) -> None:
        """See `DeviceMemory.copy_to_host`."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", target.host, source, target.array.nbytes, kind, stream)

    def record(self, event: Any, stream: int) -> None:
        """See `DeviceMemory.record`."""
        self._call("cudaEventRecord", event, stream)

    def wait(self, event: Any) -> None:
        """See `DeviceMemory.wait`."""
        self._call("cudaEventSynchronize", event)

    def elapsed_ms(self, start: Any, end: Any) -> float:
        """See `DeviceMemory.elapsed_ms`."""
        return float(self._call("cudaEventElapsedTime", start, end))

    def capture(self, stream: int, enqueue: Callable[[], None]) -> Callable[[], None]:
        """See `DeviceMemory.capture`."""
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)
        try:
            enqueue()
        except BaseException:
            cudart.cudaStreamEndCapture(stream)  # leaves the stream usable; its graph is void
            raise
        graph = self._call("cudaStreamEndCapture", stream)
        self._held.callback(self._call, "cudaGraphDestroy", graph)
        ready = self._call("cudaGraphInstantiate", graph, 0)
        self._held.callback(self._call, "cudaGraphExecDestroy", ready)
        return lambda: self._call("cudaGraphLaunch", ready, stream)

    def close(self) -> None:
        """See `DeviceMemory.close`."""
        self._held.close()

    def _call(self, name: str, *arguments: Any) -> Any:
        """A runtime function's result without its error code.

        Raises:
            BackendError: the error code is not success.
        """
        error, *results = getattr(cudart, name)(*arguments)
        if error != cudart.cudaError_t.cudaSuccess:
            raise BackendError(f"CUDA failed in {name}: {_text(error)}")
        return results[0] if results else None


def _versions(error: Any) -> str:
    """Both sides of a driver that is older than the package, in words; else nothing."""
    if error != cudart.cudaError_t.cudaErrorInsufficientDriver:
        return ""
    _, served = cudart.cudaDriverGetVersion()
    _, wanted = cudart.cudaRuntimeGetVersion()
    if not served:
        return ": there is no driver"
    return (
        f": the driver serves CUDA {_dotted(served)}, this package is of CUDA {_dotted(wanted)}; "
        "install cuda-bindings of the driver's version, or a newer driver"
    )


def _dotted(version: int) -> str:
    """``12060`` as ``12.6``."""
    return f"{version // 1000}.{version % 1000 // 10}"


def _text(error: Any) -> str:
    """An error code in words, such as ``cudaErrorMemoryAllocation``."""
    return str(getattr(error, "name", error))
