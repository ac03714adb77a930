"""The network that all cameras of a run share, and its exchange between two frames."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.backends.base import EngineStamps
from edge_runtime.decode import mask_decoder
from edge_runtime.errors import BackendError
from edge_runtime.nvmm.base import device_feed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend
    from edge_runtime.copies import Copies
    from edge_runtime.report import ModelEvent
    from edge_runtime.video import Frame

TRIAL_FRAMES = 30
"""Frames that a new network must serve before the one before it is let go."""
CHANGES_KEPT = 100
"""Newest changes that are remembered: memory is fixed however often a file changes."""


@dataclass(frozen=True)
class Change:
    """What became of one model that was to be exchanged under the run."""

    at_ns: int
    """CLOCK_MONOTONIC."""
    event: ModelEvent
    model: str
    """`Network.key` of the new one, or what is known of it."""
    reason: str | None = None


class Network:
    """One backend with one set of buffers.

    Args:
        backend: already entered.
        manifest: of the backend's model.
    """

    def __init__(self, backend: Backend, manifest: Manifest) -> None:
        self.backend = backend
        self.manifest = manifest
        self.key = manifest.sha256[:12]
        """Says in results and reports which model this is: the start of its file's sha256."""
        self.feed: NDArray[np.uint8] = backend.feeds[manifest.inputs[0].name][0]
        """(height, width, 3) uint8, or the bytes of a YUV frame: the picture to be inferred."""
        self.decode = mask_decoder(backend, manifest)

    def infer(self, stamps: EngineStamps) -> NDArray[np.uint8]:
        """The mask of the picture in `feed`, (height, width) uint8 train ids.

        Raises:
            BackendError: the engine failed.
        """
        self.backend.infer(stamps)
        return self.decode()


class Engine:
    """From a picture to its mask, one at a time, on a network that may be exchanged meanwhile.

    The loop's thread loads and infers. Another may `offer` a network; it takes over with the next
    picture, and gives back to the one before if it fails within its first `TRIAL_FRAMES`, the very
    frame included. Whoever offered it keeps both alive until the engine is `settled`.

    Args:
        backend: already entered.
        manifest: of the backend's model.
    """

    def __init__(self, backend: Backend, manifest: Manifest) -> None:
        self.size = manifest.input_size
        """(height, width) of the pictures."""
        self.resize = manifest.preprocess.resize
        self.takes_yuv = manifest.preprocess.yuv is not None
        self.stamps = EngineStamps()
        """Of the latest inference."""
        self.changes: deque[Change] = deque(maxlen=CHANGES_KEPT)
        self.change_counts: Counter[ModelEvent] = Counter()
        """All of them."""
        self.failures = 0
        """Inferences that failed, those that an earlier network then served included."""
        self.network = Network(backend, manifest)
        """What infers now."""
        self._next: Network | None = None
        self._before: Network | None = None
        self._trial = 0

    @property
    def settled(self) -> bool:
        """Whether `network` is the only one in use: none is offered or on trial."""
        return self._next is None and self._before is None

    def offer(self, network: Network) -> None:
        """Let a network that fits this one take over; only while `settled`."""
        assert self.settled, "one exchange at a time"
        self._next = network

    def refuse(self, model: str, reason: str) -> None:
        """Note that a model did not come to be offered."""
        self._note("refused", model, reason)

    def load(self, frame: Frame) -> None:
        """Lay a frame's picture into the network's input, and count how."""
        if self._next is not None:
            self._take_over(self._next)
        frame.copies.frames += 1
        if frame.surface is None:
            self._lay(frame.image, frame.copies)
        elif (feed := device_feed(self.network.backend)) is not None:
            frame.surface.write_to(feed)
            frame.copies.nvmm_frames += 1
        else:  # a network that took over and is not fed on the device
            frame.copies.device_to_host_copies += 1
            self._lay(frame.surface.picture(), frame.copies)

    def infer(self) -> NDArray[np.uint8]:
        """The mask of the picture, (height, width) uint8 train ids, overwritten by the next one.

        Raises:
            BackendError: the engine failed, and there is no earlier one to go back to.
        """
        if self._before is not None:
            return self._infer_on_trial(self._before)
        try:
            return self.network.infer(self.stamps)
        except BackendError:
            self.failures += 1
            raise

    def _lay(self, image: NDArray[np.uint8], copies: Copies) -> None:
        np.copyto(self.network.feed, image)
        copies.copied(image.nbytes)

    def _take_over(self, network: Network) -> None:
        self._trial = TRIAL_FRAMES
        # In this order, so that another thread never sees a settled engine in between.
        self._before, self.network = self.network, network
        self._next = None
        self._note("served", network.key)

    def _infer_on_trial(self, before: Network) -> NDArray[np.uint8]:
        failed = self.network
        try:
            mask = failed.infer(self.stamps)
        except BackendError as error:
            self.failures += 1
            np.copyto(before.feed, failed.feed)
            self.network = before
            self._note("rolled-back", failed.key, str(error))
            self._before = None
            return before.infer(self.stamps)
        self._trial -= 1
        if self._trial == 0:
            self._before = None
        return mask

    def _note(self, event: ModelEvent, model: str, reason: str | None = None) -> None:
        self.change_counts[event] += 1
        self.changes.append(Change(time.monotonic_ns(), event, model, reason))
