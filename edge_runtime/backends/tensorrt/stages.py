"""Where the time of one inference went: CUDA events on the device, stamps on the host.

Events are read one frame late, while the GPU works on the next one, so that reading them costs no
frame anything. A frame's own stamps therefore have its own start and end, measured by the host;
between them the two copies take what they took one frame before, which hardly varies, and the rest
is the network's. The stages tile the interval exactly.

As trtexec defines them: host latency = H2D + GPU compute + D2H, all of the same frame, on the
device's clock; enqueue is what launching costs the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_runtime.timing import Series

if TYPE_CHECKING:
    from edge_runtime.backends.base import EngineStamps


@dataclass(frozen=True)
class DeviceDurations:
    """Of one frame, by CUDA events, milliseconds."""

    h2d_ms: float
    gpu_ms: float
    d2h_ms: float

    @property
    def host_ms(self) -> float:
        """What trtexec calls latency."""
        return self.h2d_ms + self.gpu_ms + self.d2h_ms


@dataclass
class DeviceTimes:
    """Distributions over all frames whose events were read: all but the last one."""

    h2d: Series = field(default_factory=Series)
    gpu: Series = field(default_factory=Series)
    d2h: Series = field(default_factory=Series)
    host: Series = field(default_factory=Series)
    enqueue: Series = field(default_factory=Series)
    """CPU time of launching; overlaps the others."""
    latest: DeviceDurations | None = None
    launch_ns: int = 0
    """What launching the newest frame cost; `latest` is of the one before it."""

    def launched(self, cost_ns: int) -> None:
        """Count a launch."""
        self.launch_ns = cost_ns
        self.enqueue.add_ns(cost_ns)

    def add(self, durations: DeviceDurations) -> None:
        """Count one frame."""
        self.latest = durations
        for series, value_ms in (
            (self.h2d, durations.h2d_ms),
            (self.gpu, durations.gpu_ms),
            (self.d2h, durations.d2h_ms),
            (self.host, durations.host_ms),
        ):
            series.add_ns(round(value_ms * 1e6))


def fill_stamps(
    stamps: EngineStamps, start_ns: int, end_ns: int, copies: DeviceDurations | None
) -> None:
    """Set the boundaries of one inference.

    Args:
        stamps: set in place; ``start <= h2d_end <= infer_end <= d2h_end`` always holds.
        start_ns: the host began to queue the work.
        end_ns: the host saw it finished.
        copies: durations of the latest frame whose events were read; None for no copies.
    """
    total = max(end_ns - start_ns, 0)
    h2d = round(copies.h2d_ms * 1e6) if copies else 0
    d2h = round(copies.d2h_ms * 1e6) if copies else 0
    if h2d + d2h > total:
        # A frame that was quicker than the copies of the one before: share what there is.
        h2d = total * h2d // (h2d + d2h)
        d2h = total - h2d
    stamps.start_ns = start_ns
    stamps.h2d_end_ns = start_ns + h2d
    stamps.infer_end_ns = start_ns + total - d2h
    stamps.d2h_end_ns = start_ns + total
