"""NVIDIA's side of the engine backend, for machines without it: TensorRT, CUDA and pycuda.

They keep to what NVIDIA documents and compute in host memory, so that our side runs as it is. None
was recorded from a device. A GPU that has failed answers every later call with the same error.
"""

from __future__ import annotations

import ctypes
import re
import threading
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from edge_runtime.engines.gpu import Gpu

ORIN = Gpu("Orin", "8.7", 7620, integrated=False, cuda="12.6", multiprocessors=8)
"""Not told to be integrated, so that there are copies to count."""
H2D_MS, COMPUTE_MS, D2H_MS = 0.5, 4.0, 0.25
PLAIN, PORTABLE = b"plan", b"plan with host code"
"""Engine files; the second one is version-compatible."""


@dataclass
class Device:
    """One GPU: its memory, its clock, and what has become of it."""

    fail_at: int | None = None
    """Number of the wait, from 0, in which an error turns up; the first is of the warm-up."""
    now_ms: float = 0.0
    slower_ms: float = 0.0
    """How much longer each run of the network takes than the one before."""
    runs: int = 0
    waits: int = 0
    failed: bool = False
    memory: dict[int, Any] = field(default_factory=dict)

    def allocate(self, size: int) -> int:
        block = (ctypes.c_uint8 * size)()
        self.memory[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def wait(self) -> None:
        self.failed = self.failed or self.waits == self.fail_at
        self.waits += 1


class Cudart:
    """``cuda.bindings.runtime`` with a device; its enumerations are the real ones."""

    def __init__(self, real: ModuleType, device: Device) -> None:
        self._real, self.device = real, device
        self._events: dict[int, float] = {}

    def __getattr__(self, name: str) -> Any:
        ours = re.sub("([A-Z])", r"_\1", name.removeprefix("cuda")).lower()
        if not name.startswith("cuda") or not hasattr(type(self), ours):
            return getattr(self._real, name)
        errors = self._real.cudaError_t

        def call(*arguments: Any) -> tuple[Any, ...]:
            if self.device.failed:
                return (errors.cudaErrorIllegalAddress,)
            found = getattr(self, ours)(*arguments)
            if self.device.failed:
                return (errors.cudaErrorIllegalAddress,)
            return (errors.cudaSuccess,) if found is None else (errors.cudaSuccess, found)

        return call

    def _get_device_count(self) -> int:
        return 1

    def _set_device(self, index: int) -> None:
        assert index == 0

    def _device_get_attribute(self, attribute: Any, index: int) -> int:
        return 0

    def _malloc(self, size: int) -> int:
        return self.device.allocate(size)

    def _free(self, address: int) -> None:
        del self.device.memory[address]

    def _host_alloc(self, size: int, flags: int) -> int:
        return self.device.allocate(size)

    def _free_host(self, address: int) -> None:
        del self.device.memory[address]

    def _stream_create_with_flags(self, flags: int) -> int:
        return 77

    def _stream_destroy(self, stream: int) -> None:
        assert stream == 77

    def _event_create_with_flags(self, flags: int) -> int:
        self._events[len(self._events)] = 0.0
        return len(self._events) - 1

    def _event_destroy(self, event: int) -> None:
        del self._events[event]

    def _event_record(self, event: int, stream: int) -> None:
        self._events[event] = self.device.now_ms

    def _event_synchronize(self, event: int) -> None:
        self.device.wait()

    def _event_elapsed_time(self, start: int, end: int) -> float:
        return self._events[end] - self._events[start]

    def _memcpy_async(self, target: int, source: int, size: int, kind: Any, stream: int) -> None:
        ctypes.memmove(target, source, size)
        upwards = kind == self._real.cudaMemcpyKind.cudaMemcpyHostToDevice
        self.device.now_ms += H2D_MS if upwards else D2H_MS


class Context:
    """An execution context whose mask is the first channel of the frame."""

    def __init__(self, device: Device, size: tuple[int, int]) -> None:
        self._device, self._size = device, size
        self._addresses: dict[str, int] = {}

    def is_stream_capturable(self, stream: int) -> bool:
        return False

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        height, width = self._size
        size = height * width
        frame = np.ctypeslib.as_array(
            (ctypes.c_uint8 * (3 * size)).from_address(self._addresses["frame"])
        )
        mask = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(self._addresses["mask"]))
        mask[:] = frame[::3]
        self._device.now_ms += COMPUTE_MS + self._device.runs * self._device.slower_ms
        self._device.runs += 1
        return True


class Engine:
    """An engine that takes ``frame`` and gives ``mask``."""

    num_io_tensors = 2

    def __init__(self, device: Device, size: tuple[int, int]) -> None:
        self._device, self._size = device, size

    def get_tensor_name(self, index: int) -> str:
        return ("frame", "mask")[index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (1, *self._size, 3) if name == "frame" else (1, *self._size)

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name="UINT8")

    def get_tensor_mode(self, name: str) -> str:
        return "INPUT" if name == "frame" else "OUTPUT"

    def create_execution_context(self) -> Context:
        return Context(self._device, self._size)

    def create_engine_inspector(self) -> Any:
        return SimpleNamespace(get_engine_information=lambda form: '{"Layers": []}')


def tensorrt(
    device: Device,
    size: tuple[int, int],
    version: str = "10.3.0",
    warnings: tuple[str, ...] = (),
) -> ModuleType:
    """``tensorrt`` with one engine that takes ``frame`` and gives ``mask``, (height, width) `size`.

    Args:
        device: it runs on.
        size: of pictures and masks.
        version: of the module.
        warnings: logged while an engine is loaded.
    """
    severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2, INFO=3, VERBOSE=4)

    class ILogger:
        Severity = severity

    class Runtime:
        engine_host_code_allowed = False
        DLA_core = -1

        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
            for text in warnings:
                self._logger.log(severity.WARNING, text)
            if plan == PORTABLE and not self.engine_host_code_allowed:
                self._logger.log(severity.ERROR, "host code is not allowed")
                return None
            return Engine(device, size)

    module = ModuleType("tensorrt")
    module.__version__ = version  # type: ignore[attr-defined]
    module.ILogger, module.Runtime = ILogger, Runtime  # type: ignore[attr-defined]
    module.Builder = lambda logger: None  # type: ignore[attr-defined]
    module.LayerInformationFormat = SimpleNamespace(JSON=1)  # type: ignore[attr-defined]
    module.TensorIOMode = SimpleNamespace(INPUT="INPUT")  # type: ignore[attr-defined]
    return module


class PycudaError(Exception):
    """``pycuda.driver.Error``."""


class Pycuda:
    """``pycuda`` and its driver: each thread has a stack of contexts of its own."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._local = threading.local()
        self.module, self.driver = ModuleType("pycuda"), ModuleType("pycuda.driver")
        self.module.VERSION_TEXT, self.module.driver = "2025.1", self.driver  # type: ignore[attr-defined]
        self.driver.__dict__.update(
            Error=PycudaError,
            init=lambda: None,
            Device=lambda index: self,
            Stream=lambda: self._made(SimpleNamespace(handle=5)),
            Event=lambda flags: self._made(SimpleNamespace(
                record=self._record, synchronize=self._synchronize, time_since=lambda start: 1.0
            )),
            mem_alloc=self._mem_alloc,
            pagelocked_empty=lambda size, kind, mem_flags: self._made(np.zeros(size, kind)),
            memcpy_htod_async=lambda target, source, stream: self._made(None),
            memcpy_dtoh_async=lambda target, source, stream: self._made(None),
            device_attribute=SimpleNamespace(INTEGRATED=18),
            event_flags=SimpleNamespace(BLOCKING_SYNC=1),
            host_alloc_flags=SimpleNamespace(DEVICEMAP=2),
        )  # fmt: skip

    @property
    def depth(self) -> int:
        """Contexts on this thread's stack; a thread that ends with one ends the process."""
        return getattr(self._local, "depth", 0)

    def retain_primary_context(self) -> Pycuda:
        return self

    def get_attribute(self, attribute: int) -> int:
        return 0

    def push(self) -> None:
        self._local.depth = self.depth + 1

    def pop(self) -> None:
        if not self.depth:
            raise PycudaError("context::pop failed: cannot pop non-current context")
        self._local.depth = self.depth - 1
        if self.device.failed:
            raise PycudaError("cuCtxPopCurrent failed: an illegal memory access was encountered")

    def _made(self, thing: Any) -> Any:
        if not self.depth:
            raise PycudaError("invalid device context - no currently active context?")
        if self.device.failed:
            raise PycudaError("an illegal memory access was encountered")
        return thing

    def _record(self, stream: Any) -> None:
        self._made(None)

    def _synchronize(self) -> None:
        self.device.wait()
        self._made(None)

    def _mem_alloc(self, size: int) -> Any:
        address = self._made(self.device.allocate(size))
        pycuda = self

        class Allocation:
            def __int__(self) -> int:
                return int(address)

            def free(self) -> None:
                pycuda._made(None)
                del pycuda.device.memory[address]

        return Allocation()
