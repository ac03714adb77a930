"""What a subscriber gets for each frame: the mask, the frame it belongs to, and its stamps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.geometry import FrameGeometry
    from edge_runtime.timing import FrameStamps
    from edge_runtime.video import TimestampSource

State = Literal["ok", "stale", "no-signal"]
"""``ok`` has a mask. ``stale``: the frame was too old to be worth inferring. ``no-signal``: the
live source has stopped delivering. Neither of the latter two ever carries an older mask."""


@dataclass(frozen=True)
class Result:
    """One published result. `mask` always belongs to the frame `index`, never to another one."""

    index: int
    """Sequence number of the frame at its source; of the last frame seen when there is none."""
    pts_ns: int | None
    """Presentation time of the frame; estimated from the clock for ``no-signal``."""
    state: State
    timestamp_source: TimestampSource
    """Which clock `capture_ns` comes from."""
    capture_ns: int
    """CLOCK_MONOTONIC nanoseconds; of the last frame seen for ``no-signal``."""
    geometry: FrameGeometry
    mask: NDArray[np.uint8] | None = None
    """(network height, network width) uint8 train ids. It lies in the backend's memory and is
    overwritten by the next frame: copy it to keep it."""
    picture: NDArray[np.uint8] | None = None
    """(height, width, 3) uint8 BGR at full size, if it was asked for; yours to keep."""
    name: str | None = None
    """File name of an image from a folder, without its suffix."""
    stamps: FrameStamps | None = None
    """None for a frame that was not inferred."""
    late: bool = False
    """Inferred, but complete only after the deadline."""
    reason: str | None = None
    """Why there is no signal, in one line without credentials."""
    model: str | None = None
    """Which model made the mask: the first 12 hex digits of its file's sha256."""

    @property
    def stale(self) -> bool:
        """Whether the deadline has passed, with a mask (`late`) or without one."""
        return self.late or self.state == "stale"

    @property
    def latency_ms(self) -> float | None:
        """From capture to publish; None for a frame that was not inferred."""
        if self.stamps is None:
            return None
        return (self.stamps.publish - self.stamps.capture) * 1e-6

    def mask_on_frame(self) -> NDArray[np.uint8] | None:
        """The mask at the size of the frame, (height, width) uint8; None without a mask."""
        return None if self.mask is None else self.geometry.mask_to_frame(self.mask)

    def inferred(
        self, mask: NDArray[np.uint8], stamps: FrameStamps, *, late: bool, model: str
    ) -> Result:
        """The same result with its mask and the model that made it."""
        return replace(self, state="ok", mask=mask, stamps=stamps, late=late, model=model)

    def without_signal(self, silent_ns: int, reason: str | None = None) -> Result:
        """What follows this result when nothing came for `silent_ns`: no mask, no picture."""
        return replace(
            self,
            state="no-signal",
            pts_ns=None if self.pts_ns is None else self.pts_ns + silent_ns,
            picture=None,
            name=None,
            reason=reason,
        )

    def detached(self, buffer: NDArray[np.uint8]) -> Result:
        """The same result with its mask copied into `buffer`, (network height, width) uint8."""
        if self.mask is None:
            return self
        np.copyto(buffer, self.mask)
        return replace(self, mask=buffer)


class FrameMasks:
    """Masks at the size of their frames in one buffer, for a consumer that keeps none of them.

    Not for several threads.
    """

    def __init__(self) -> None:
        self._buffer = np.empty((0, 0), np.uint8)

    def of(self, result: Result) -> NDArray[np.uint8] | None:
        """As `Result.mask_on_frame`, but overwritten by the next call."""
        if result.mask is None:
            return None
        if self._buffer.shape != result.geometry.frame:
            self._buffer = np.empty(result.geometry.frame, np.uint8)
        return result.geometry.mask_to_frame(result.mask, self._buffer)
