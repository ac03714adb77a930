"""Frames by the zero-copy bridge while it is trusted, and by the default way otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.nvmm.base import BridgeError, Place
from edge_runtime.sources.stamping import presentation_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge_runtime.copies import Copies
    from edge_runtime.nvmm.base import Bridge, Surface
    from edge_runtime.sources.placement import NetworkPlacement

NO_PICTURE = np.empty((0, 0, 3), np.uint8)

AHEAD_NS = 10**9
"""A buffer that is further ahead of its frame belongs to a time before a jump."""


class DefaultBuffers:
    """Buffers of the default way, found by presentation time.

    When the default way was closed meanwhile, its next buffer may belong to a frame still to come:
    that one is kept.

    Args:
        sink: the appsink where they wait.
    """

    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self._kept: Any = None

    def take(self, pts_ns: int | None) -> Any | None:
        """The buffer with just this presentation time, if there is one; earlier ones go."""
        while (buffer := self._next()) is not None:
            found_ns = presentation_time(buffer)
            if found_ns == pts_ns:
                return buffer
            if found_ns is not None and pts_ns is not None and 0 < found_ns - pts_ns < AHEAD_NS:
                self._kept = buffer
                return None
        return None

    def _next(self) -> Any | None:
        buffer, self._kept = self._kept, None
        if buffer is None and (sample := self._sink.try_pull_sample(0)) is not None:
            buffer = sample.get_buffer()
        return buffer


class SurfaceFrames:
    """Decides for each frame which way it takes.

    While the bridge is compared with the default way, frames take the default way. Once it is
    trusted, the default way is closed; a frame that the bridge then fails on is lost, and the next
    ones take the default way again.

    Args:
        bridge: carries frames.
        placement: lays frames into the network's input on the default way.
        close_default: closes (True) or opens the default way.
        default: the buffer of the default way with a presentation time; None if it has none.
    """

    def __init__(
        self,
        bridge: Bridge,
        placement: NetworkPlacement,
        close_default: Callable[[bool], None],
        default: Callable[[int | None], Any | None],
    ) -> None:
        self._bridge = bridge
        self._placement = placement
        self._close_default = close_default
        self._default = default

    def take(
        self, buffer: Any, pts_ns: int | None, size: tuple[int, int], copies: Copies
    ) -> tuple[NDArray[np.uint8], Surface | None] | None:
        """One frame's picture for the host, or its surface; None for a frame that is lost.

        Args:
            buffer: the scaled frame in NVMM memory.
            pts_ns: its presentation time.
            size: (height, width) of the frame before scaling.
            copies: counts what is done.
        """
        trust = self._bridge.trust
        if trust.state == "trusted":
            try:
                return NO_PICTURE, self._bridge.surface(buffer, self._place(size))
            except BridgeError as error:
                trust.failed(str(error))
                self._close_default(False)
                return None
        default = self._default(pts_ns)
        if default is None:
            return None
        image = self._placement.lay(default, size, copies)
        if trust.state == "checking":
            self._compare(buffer, size, image, copies)
        return image, None

    def _compare(
        self, buffer: Any, size: tuple[int, int], image: NDArray[np.uint8], copies: Copies
    ) -> None:
        trust = self._bridge.trust
        try:
            bridged = self._bridge.surface(buffer, self._place(size)).picture()
        except BridgeError as error:
            trust.failed(str(error))
            return
        copies.checked_frames += 1
        copies.device_to_host_copies += 1
        trust.compared(image, bridged, self._placement.content(size))
        if trust.state == "trusted":
            self._close_default(True)

    def _place(self, size: tuple[int, int]) -> Place:
        return Place(self._placement.network, self._placement.content(size))

    def close(self) -> None:
        """The pipeline is about to be closed."""
        self._bridge.forget()
