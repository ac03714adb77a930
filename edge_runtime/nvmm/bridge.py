"""Carries frames from NVMM memory to the engine: the parts put together."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import BackendError
from edge_runtime.nvmm.base import BridgeError
from edge_runtime.nvmm.kernel import Pitched
from edge_runtime.nvmm.layout import read_surface
from edge_runtime.nvmm.registrations import Registrations

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_runtime.nvmm.base import DeviceFeed, Place
    from edge_runtime.nvmm.device import CudaDevice, EglImages
    from edge_runtime.nvmm.layout import SurfaceFacts
    from edge_runtime.nvmm.trust import Trust


class JetsonBridge:
    """Implements `edge_runtime.nvmm.base.Bridge`. Never executed on a Jetson.

    Args:
        device: the GPU of the engine.
        images: EGL images, for Orin.
        trust: whether it is used.
        is_bgr: whether the network wants blue first.
    """

    def __init__(
        self, device: CudaDevice, images: EglImages, trust: Trust, *, is_bgr: bool
    ) -> None:
        self.trust = trust
        self._device = device
        self._images = images
        self._is_bgr = is_bgr
        self._registrations: Registrations[Any] = Registrations(device)

    def surface(self, buffer: Any, place: Place) -> JetsonSurface:
        """See `Bridge.surface`."""
        self._device.enter()  # a camera that is opened again is read in another thread
        address, size, held = map_struct(buffer)
        _, _, height, width = place.content
        facts = read_surface(address, size, (height, width))
        registered = None if facts.on_device else self._registered(address, facts)
        return JetsonSurface(self._device, facts, registered, place, is_bgr=self._is_bgr, held=held)

    def forget(self) -> None:
        """See `Bridge.forget`."""
        self._device.enter()
        self._device.synchronize()
        self._registrations.clear()
        self.trust.restart()

    def close(self) -> None:
        """Release everything."""
        self._device.close()

    def _registered(self, address: int, facts: SurfaceFacts) -> Any:
        image = facts.egl_image or self._images.image(address)
        return self._registrations.get(facts.fd, image)


@dataclass(frozen=True)
class JetsonSurface:
    """Implements `edge_runtime.nvmm.base.Surface`."""

    device: CudaDevice
    facts: SurfaceFacts
    registered: Any
    """None for a frame in device memory."""
    place: Place
    is_bgr: bool
    held: object
    """Keeps the buffer."""

    def write_to(self, feed: DeviceFeed) -> None:
        """See `Surface.write_to`."""
        try:
            self.device.enter()
            source = self._rows(feed.stream)
            self.device.lay(source, feed.address, self.place, feed.stream, is_bgr=self.is_bgr)
        except BridgeError as error:  # the engine shares the context: it would fail next
            raise BackendError(f"zero-copy: {error}; run without --zero-copy") from error

    def picture(self) -> NDArray[np.uint8]:
        """See `Surface.picture`."""
        return self.device.fetched(self._rows(0), self.place, is_bgr=self.is_bgr)

    def _rows(self, stream: int) -> Pitched:
        if self.registered is None:
            return Pitched(self.facts.pointer, self.facts.pitch)
        _, _, height, width = self.place.content
        return self.device.mapped(self.registered, (height, width), stream)


def map_struct(buffer: Any) -> tuple[int, int, object]:
    """Address and size of what a buffer maps to, and what keeps it mapped while it is referred to.

    Raises:
        BridgeError: it cannot be mapped, or the bindings would only give a copy.
    """
    import numpy as np

    from edge_runtime.gst import Gst

    mapped, memory = buffer.map(Gst.MapFlags.READ)
    if not mapped:
        raise BridgeError("GStreamer cannot map the NVMM buffer")
    if not isinstance(memory.data, memoryview):
        buffer.unmap(memory)
        raise BridgeError("these GStreamer bindings copy what they map; expected version 1.20 on")
    view = np.frombuffer(memory.data, np.uint8)
    weakref.finalize(view, _unmap, buffer, memory).atexit = False
    return int(view.ctypes.data), view.nbytes, view


def _unmap(buffer: Any, memory: Any) -> None:
    buffer.unmap(memory)
