"""When a frame was captured, as well as its source can tell."""

from __future__ import annotations

import time
from typing import Any, Protocol

from edge_runtime.video import TimestampSource

ASSUMED_TOLERANCE_NS = 200_000
"""How exactly a driver's stamp must lie one frame before arrival to be taken for an assumption."""

ASSUMED_FRAMES = 30
"""For how many frames in a row."""

DRIVER_OLDEST_NS = 5 * 10**9
"""A frame that seems older than this as it leaves its source has a time that jumped."""

NTP_EPOCH_NS = 2_208_988_800 * 10**9
"""1900-01-01 to 1970-01-01."""

NTP_OLDEST_NS = 30 * 10**9
"""A frame that seems older than this comes from a camera whose clock is not synchronised."""

NTP_SKEW_NS = 10 * 10**6
"""How far ahead of ours a synchronised clock may seem; such a frame counts as just captured."""


class CaptureClock(Protocol):
    """Tells when a buffer's picture was taken."""

    source: TimestampSource
    """What the latest answer rests on."""

    def capture_ns(self, buffer: Any, base_time_ns: int, arrival_ns: int) -> int:
        """CLOCK_MONOTONIC nanoseconds of capture, never later than `arrival_ns`.

        Args:
            buffer: the GStreamer buffer.
            base_time_ns: the pipeline's base time on the monotonic clock.
            arrival_ns: when the buffer left its source.
        """
        ...


class ArrivalClock:
    """Nothing better is known than when the frame arrived, or was decoded from a file."""

    def __init__(self, source: TimestampSource) -> None:
        self.source = source

    def capture_ns(self, buffer: Any, base_time_ns: int, arrival_ns: int) -> int:
        """The arrival itself."""
        return arrival_ns


class DriverClock:
    """The camera driver's stamp, which `v4l2src` turns into presentation time plus base time.

    The element distrusts a driver whose clock makes no sense and then assumes one frame duration of
    delay without saying so. Such stamps are found by their regularity and no longer used.
    """

    def __init__(self) -> None:
        self.source: TimestampSource = "driver"
        self._assumed = 0

    def capture_ns(self, buffer: Any, base_time_ns: int, arrival_ns: int) -> int:
        """The driver's stamp, or the arrival once the stamp has proved unusable."""
        if self.source == "driver":
            stamp = base_time_ns + int(buffer.pts)
            if self._trusts(stamp, int(buffer.duration), arrival_ns):
                return stamp
            self.source = "arrival"
        return arrival_ns

    def _trusts(self, stamp_ns: int, duration_ns: int, arrival_ns: int) -> bool:
        delay = arrival_ns - stamp_ns
        assumed = abs(delay - duration_ns) <= ASSUMED_TOLERANCE_NS
        self._assumed = self._assumed + 1 if assumed else 0
        return 0 <= delay <= DRIVER_OLDEST_NS and self._assumed < ASSUMED_FRAMES


class NtpClock:
    """The sender's wall clock as RTCP reports it, against this machine's; else the arrival.

    The first report may come seconds after the first frame.
    """

    def __init__(self, reference: Any) -> None:
        self.source: TimestampSource = "arrival"
        self._reference = reference

    def capture_ns(self, buffer: Any, base_time_ns: int, arrival_ns: int) -> int:
        """The sender's stamp where it is present and plausible, else the arrival."""
        meta = buffer.get_reference_timestamp_meta(self._reference)
        if meta is not None:
            age = time.time_ns() - (int(meta.timestamp) - NTP_EPOCH_NS)
            if -NTP_SKEW_NS <= age <= NTP_OLDEST_NS:
                self.source = "ntp"
                return arrival_ns - max(age, 0)
        self.source = "arrival"
        return arrival_ns
