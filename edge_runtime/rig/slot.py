"""Hands the newest frame of one camera's thread to the thread of the network."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.video import Frame


class Slot:
    """Room for one frame. A newer one takes its place, or waits until it is free.

    Pictures are copied into three buffers that go round: one is being filled, one waits, one is in
    the hands of the taker until it takes the next.
    """

    def __init__(self) -> None:
        self.dropped = 0
        """Frames replaced by a newer one before they were taken."""
        self._frame: Frame | None = None
        self._taken: NDArray[np.uint8] | None = None
        self._spare: list[NDArray[np.uint8]] = []
        self._closed = False
        self._changed = threading.Condition()

    @property
    def is_empty(self) -> bool:
        """Whether no frame waits."""
        return self._frame is None

    def put(self, frame: Frame, *, lossless: bool) -> None:
        """Leave a frame, whose picture may be overwritten as soon as this returns.

        Args:
            frame: the frame; its `image` becomes the copy.
            lossless: wait until the one before was taken; one that waits when the slot is closed
                is left out and stays in flight.
        """
        image = self._copy(frame.image)
        frame.copies.copied(image.nbytes)
        with self._changed:
            while lossless and self._frame is not None and not self._closed:
                self._changed.wait()
            if self._closed:
                return
            if self._frame is not None:
                self.dropped += 1
                self._spare.append(self._frame.image)
                frame.copies.add(self._frame.copies)  # made all the same, in vain
            frame.image = image
            self._frame = frame
            self._changed.notify_all()

    def take(self, timeout_s: float = 0.0) -> Frame | None:
        """The frame that waits, or None after `timeout_s`; its picture lasts until the next one."""
        with self._changed:
            if self._frame is None and timeout_s > 0 and not self._closed:
                self._changed.wait(timeout_s)
            frame = self._frame
            if frame is None:
                return None
            self._frame = None
            if self._taken is not None:
                self._spare.append(self._taken)
            self._taken = frame.image
            self._changed.notify_all()
            return frame

    def close(self) -> None:
        """Nothing is put any more; what waits may still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _copy(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        with self._changed:
            buffer = self._spare.pop() if self._spare else np.empty_like(image, order="C")
        np.copyto(buffer, image)
        return buffer
