"""What the bridge offers to sources and engines, and what it needs of a backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_runtime.nvmm.trust import Trust


class BridgeError(Exception):
    """The bridge cannot work, or cannot carry a frame; the message is one line for the user."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


@dataclass(frozen=True)
class DeviceFeed:
    """Where a network's input lies for the device: packed (height, width, 3) uint8."""

    address: int
    """On the device."""
    stream: int
    """Handle of the CUDA stream on which the network runs."""


@runtime_checkable
class DeviceFed(Protocol):
    """A backend whose input can be written on the device."""

    @property
    def device_feed(self) -> DeviceFeed | None:
        """Where; None if host and device do not share it. The backend is entered."""
        ...


@dataclass(frozen=True)
class Place:
    """Where a scaled frame lies in the network's input; black surrounds it. All in pixels."""

    network: tuple[int, int]
    """(height, width) of the network's input."""
    content: tuple[int, int, int, int]
    """(top, left, height, width) of the frame within it."""


class Surface(Protocol):
    """One frame in NVMM memory; it keeps the frame's buffer from being used again."""

    def write_to(self, feed: DeviceFeed) -> None:
        """Queue the conversion into a network's input on the network's stream.

        Raises:
            BackendError: CUDA failed.
        """
        ...

    def picture(self) -> NDArray[np.uint8]:
        """The network's input as the bridge makes it, (height, width, 3) uint8 on the host.

        Raises:
            BridgeError: CUDA failed.
        """
        ...


class Bridge(Protocol):
    """Carries the frames of one camera at a time."""

    trust: Trust
    """Over the whole run, however often the camera is opened again."""

    def surface(self, buffer: Any, place: Place) -> Surface:
        """The frame in a GStreamer buffer of NVMM memory, already scaled to `place.content`.

        Raises:
            BridgeError: it is not what was negotiated, or cannot be mapped to the device.
        """
        ...

    def forget(self) -> None:
        """Let go of all buffers, before the pipeline that owns them is closed."""
        ...


def device_feed(backend: object) -> DeviceFeed | None:
    """Where the backend's input can be written on the device, if it can."""
    return backend.device_feed if isinstance(backend, DeviceFed) else None
