"""What is noted of one camera's published frames: durations by bucket, and classes at times."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.prometheus.histogram import Histogram
from edge_runtime.timing import STAGES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.result import Result
    from edge_runtime.video import TimestampSource

CONTENT_NS = 10**9
"""Between two looks at the classes of a mask."""
CONTENT_PIXELS = 16_384
"""Of a mask, about so many pixels are looked at, in a grid."""


class FrameObserver:
    """Called with each published result in the loop's thread; another thread reads.

    All frames count, those of the warm-up too: this is what a robot saw, while a report tells what
    a warm machine does.
    """

    def __init__(self) -> None:
        self.stages = tuple(Histogram() for _ in STAGES)
        """In the order of `edge_runtime.timing.STAGES`."""
        self.end_to_end: dict[TimestampSource, Histogram] = {}
        """Capture to publication, by the clock that captures are stamped with."""
        self.interval = Histogram()
        """Between publications; an outage is a long one."""
        self.capture_ns: int | None = None
        """Of the newest frame."""
        self._publish_ns: int | None = None
        self._content: NDArray[np.uint8] | None = None
        self._content_ns = 0

    def __call__(self, result: Result) -> None:
        """Note a published result."""
        stamps = result.stamps
        if stamps is None:
            return
        for histogram, duration_ns in zip(self.stages, stamps.stages_ns(), strict=True):
            histogram.add_ns(duration_ns)
        clock = result.timestamp_source
        if clock not in self.end_to_end:
            # A new table, not a new key: who reads meanwhile keeps the old one.
            self.end_to_end = {**self.end_to_end, clock: Histogram()}
        self.end_to_end[clock].add_ns(stamps.publish - stamps.capture)
        if self._publish_ns is not None:
            self.interval.add_ns(stamps.publish - self._publish_ns)
        self._publish_ns, self.capture_ns = stamps.publish, stamps.capture
        if result.mask is not None and (
            self._content is None or stamps.publish - self._content_ns >= CONTENT_NS
        ):
            self._look_at(result.mask, stamps.publish)

    def _look_at(self, mask: NDArray[np.uint8], now_ns: int) -> None:
        step = max(isqrt(mask.size // CONTENT_PIXELS), 1)
        self._content, self._content_ns = mask[::step, ::step].copy(), now_ns

    def class_ratios(self, classes: int, not_before_ns: int) -> list[float]:
        """Share of the mask by train id, 0..1; empty without a mask since `not_before_ns`."""
        content = self._content
        if content is None or self._content_ns < not_before_ns:
            return []
        counts = np.bincount(content.ravel(), minlength=256)[:classes]
        return [float(count) / content.size for count in counts]
