"""One model under measurement: a query after another, each counted or thrown away."""

from __future__ import annotations

import hashlib
import time
from array import array
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.backends.base import EngineStamps
from edge_runtime.backends.tensorrt.stages import DeviceTimes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from edge_runtime.rig.engine import Network

METRICS = ("latency", "h2d", "compute", "d2h", "enqueue", "wall", "copy_in", "decode")
"""What a query is divided into; `edge_runtime.bench.report.DEFINITIONS` says what each is."""

NO_DEVICE = "this backend computes in host memory: there is no transfer"
SHARED = "GPU and host share their memory: there is no transfer"
NO_QUEUE = "this backend returns when the work is done: nothing is queued"


class Subject:
    """A network with pictures to run on.

    Args:
        label: how it is called.
        network: entered, and used by nobody else.
        frames: (height, width, 3) uint8 in the network's size and colour order, at least one.
        clock: the backend's, CLOCK_MONOTONIC nanoseconds.
    """

    def __init__(
        self,
        label: str,
        network: Network,
        frames: Sequence[NDArray[np.uint8]],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.label = label
        self.network = network
        self.frames = frames
        self.values: dict[str, array[float]] = {name: array("d") for name in METRICS}
        """Milliseconds of each counted query, in order; empty: not measured, see `unmeasured`."""
        self.queries = 0
        """Counted so far."""
        self.busy_ns = 0
        """What counted queries took with copying the picture in and decoding the mask."""
        self._stamps = EngineStamps()
        times = getattr(network.backend, "times", None)
        self._times = times if isinstance(times, DeviceTimes) else None
        self._owed = False
        self._clock = clock

    @property
    def unmeasured(self) -> dict[str, str]:
        """Metrics that this backend has not, and why."""
        copies = self.network.backend.has_device_copies
        missing: dict[str, str] = {}
        if not copies:
            reason = SHARED if self._times is not None else NO_DEVICE
            missing |= {"h2d": reason, "d2h": reason}
        if self._times is None:
            missing["enqueue"] = NO_QUEUE if not copies else "this backend does not tell"
        return missing

    def query(self, number: int, *, counted: bool) -> int:
        """Run one query on the picture whose turn it is; ns of its wall time.

        A device's own clock is read one query late, so the query after a counted one completes it.

        Args:
            number: of the round.
            counted: keep its figures.

        Raises:
            BackendError: the engine failed.
        """
        network, stamps = self.network, self._stamps
        begin_ns = self._clock()
        np.copyto(network.feed, self.frames[number % len(self.frames)])
        network.backend.infer(stamps)
        network.decode()
        end_ns = self._clock()
        self._collect()
        if counted:
            self._count(begin_ns, end_ns)
        return stamps.d2h_end_ns - stamps.start_ns

    def finish(self) -> None:
        """Complete the last counted query; call once after the measurement."""
        if self._owed:
            self.query(0, counted=False)

    def masks(self) -> list[NDArray[np.uint8]]:
        """The mask of each picture, (height, width) uint8 train ids, copies.

        Raises:
            BackendError: the engine failed.
        """
        found = []
        for number in range(len(self.frames)):
            np.copyto(self.network.feed, self.frames[number])
            found.append(self.network.infer(self._stamps).copy())
            self._collect()
        return found

    def _collect(self) -> None:
        """Take what the device said of the query before, if that one counts."""
        if not self._owed:
            return
        self._owed = False
        assert self._times is not None
        latest = self._times.latest
        assert latest is not None
        self._append(latest.h2d_ms, latest.gpu_ms, latest.d2h_ms)

    def _count(self, begin_ns: int, end_ns: int) -> None:
        stamps, values = self._stamps, self.values
        self.queries += 1
        self.busy_ns += end_ns - begin_ns
        values["wall"].append((stamps.d2h_end_ns - stamps.start_ns) * 1e-6)
        values["copy_in"].append((stamps.start_ns - begin_ns) * 1e-6)
        values["decode"].append((end_ns - stamps.d2h_end_ns) * 1e-6)
        if self._times is not None:
            values["enqueue"].append(self._times.launch_ns * 1e-6)
            self._owed = True
            return
        self._append(
            (stamps.h2d_end_ns - stamps.start_ns) * 1e-6,
            (stamps.infer_end_ns - stamps.h2d_end_ns) * 1e-6,
            (stamps.d2h_end_ns - stamps.infer_end_ns) * 1e-6,
        )

    def _append(self, h2d_ms: float, compute_ms: float, d2h_ms: float) -> None:
        values = self.values
        values["compute"].append(compute_ms)
        if self.network.backend.has_device_copies:
            values["h2d"].append(h2d_ms)
            values["d2h"].append(d2h_ms)
            values["latency"].append(h2d_ms + compute_ms + d2h_ms)
        else:
            values["latency"].append(compute_ms)


def masks_hash(masks: Sequence[NDArray[np.uint8]]) -> str:
    """Hex sha256 of masks and their sizes: equal if and only if every pixel is."""
    digest = hashlib.sha256()
    for mask in masks:
        digest.update(repr(mask.shape).encode())
        digest.update(np.ascontiguousarray(mask).tobytes())
    return digest.hexdigest()


def agreement(masks: Sequence[NDArray[np.uint8]], base: Sequence[NDArray[np.uint8]]) -> float:
    """Share of pixels, 0..1, whose class is the same; masks of the same pictures and size."""
    equal = sum(int(np.count_nonzero(m == b)) for m, b in zip(masks, base, strict=True))
    return equal / sum(mask.size for mask in masks)
