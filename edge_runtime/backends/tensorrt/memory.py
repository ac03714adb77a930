"""Device memory, streams and events behind one small interface, and the choice of its provider.

Two packages serve it: cuda-python (``cuda.bindings``), and pycuda for those who have it already.
Addresses and stream handles are plain integers, as TensorRT takes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from edge_runtime.errors import DependencyError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class HostBuffer:
    """Page-locked host memory."""

    array: NDArray[np.uint8]
    """(bytes,) uint8; valid until `DeviceMemory.close`."""
    host: int
    """Its address here."""
    device: int | None
    """Its address on the device if it is mapped, so that no copy is needed; None otherwise."""


class DeviceMemory(Protocol):
    """What a provider offers. Everything it gave is released by `close`."""

    name: str
    """Provider and version, such as ``cuda-python 13.0.3``."""
    integrated: bool
    """The GPU shares its memory with the host, as on a Jetson."""

    def allocate(self, size: int) -> int:
        """The address of `size` bytes of device memory."""
        ...

    def pinned(self, size: int, *, mapped: bool) -> HostBuffer:
        """`size` bytes of page-locked host memory, in the device's address space if `mapped`."""
        ...

    def stream(self) -> int:
        """The handle of a new stream that does not wait for others."""
        ...

    def event(self) -> Any:
        """A new event that `wait` sleeps for."""
        ...

    def copy_to_device(self, target: int, source: HostBuffer, stream: int) -> None:
        """Queue the copy of a whole buffer."""
        ...

    def copy_to_host(self, target: HostBuffer, source: int, stream: int) -> None:
        """Queue the copy of a whole buffer."""
        ...

    def record(self, event: Any, stream: int) -> None:
        """Queue an event."""
        ...

    def wait(self, event: Any) -> None:
        """Sleep until an event has passed."""
        ...

    def elapsed_ms(self, start: Any, end: Any) -> float:
        """Device time between two events that have passed."""
        ...

    def capture(self, stream: int, enqueue: Callable[[], None]) -> Callable[[], None]:
        """Record what `enqueue` queues as a CUDA graph; returns what launches it on `stream`.

        Raises:
            BackendError: this provider, or the work, cannot be captured.
        """
        ...

    def close(self) -> None:
        """Release everything."""
        ...


@dataclass(frozen=True)
class Provider:
    """One package that can serve `DeviceMemory`."""

    package: str
    """Import name that tells whether it is installed."""
    target: str
    """``module:class`` of the implementation."""
    remedy: str


PROVIDERS = {
    "cuda-python": Provider(
        "cuda.bindings",
        "edge_runtime.backends.tensorrt.cuda_python:CudaPythonMemory",
        "pip install cuda-bindings, of the CUDA major version that the driver serves",
    ),
    "pycuda": Provider(
        "pycuda",
        "edge_runtime.backends.tensorrt.pycuda_memory:PycudaMemory",
        "pip install pycuda, which compiles and needs the CUDA toolkit",
    ),
}
"""By the name a user chooses; the first one that is installed is the default."""


def choose_provider(wanted: str | None = None) -> str:
    """The name of the provider to use.

    Args:
        wanted: by the user; None takes the first that is installed. A wanted one that is missing
            is never replaced silently by another.

    Raises:
        OptionError: there is no such provider.
        DependencyError: it is not installed, or none is.
    """
    if wanted is not None:
        if wanted not in PROVIDERS:
            raise OptionError(
                f"no device memory provider {wanted!r}; choose from {', '.join(PROVIDERS)}"
            )
        if not _installed(PROVIDERS[wanted].package):
            raise DependencyError(f"{wanted} is not installed: {PROVIDERS[wanted].remedy}")
        return wanted
    for name, provider in PROVIDERS.items():
        if _installed(provider.package):
            return name
    remedies = "; or ".join(provider.remedy for provider in PROVIDERS.values())
    raise DependencyError(f"no package for CUDA memory is installed: {remedies}")


def open_memory(wanted: str | None = None) -> DeviceMemory:
    """The chosen provider on the first GPU.

    Raises:
        OptionError: there is no such provider.
        DependencyError: it is missing, does not load, or finds no driver or GPU.
    """
    name = choose_provider(wanted)
    module, _, attribute = PROVIDERS[name].target.partition(":")
    try:
        kind = getattr(import_module(module), attribute)
    except ImportError as error:
        raise DependencyError(
            f"{name} is installed but does not load ({error}); {PROVIDERS[name].remedy}"
        ) from error
    memory: DeviceMemory = kind()
    return memory


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # the package above it is missing or hidden
        return False
