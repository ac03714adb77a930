"""One result as a recording keeps it: encoded once, small, and independent of the run's buffers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import msgspec

from edge_runtime.frames_log import result_record
from edge_runtime.result import FrameMasks
from edge_runtime.sinks.recording.indexed_png import encode_ids

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.labels import LabelSet
    from edge_runtime.result import Result

JPEG_QUALITY = 85


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One result, encoded."""

    time_ns: int
    """Of its capture, or of the moment for ``no-signal``; nanoseconds since the epoch."""
    index: int
    record: bytes
    """State, stamps and latencies as JSON (`frames_log.result_record`)."""
    jpeg: bytes | None = None
    """The picture at full size; None without one."""
    png: bytes | None = None
    """Class ids at the size of the frame (`indexed_png`); None without a mask."""
    telemetry: bytes | None = None
    """What the machine's sensors said at about this time, as JSON; None without a new look."""


@dataclass(frozen=True)
class WallClock:
    """Turns CLOCK_MONOTONIC into time since the epoch; set once, so that no later step shows."""

    offset_ns: int

    @staticmethod
    def now() -> WallClock:
        """As both clocks stand."""
        return WallClock(time.time_ns() - time.monotonic_ns())


class EntryEncoder:
    """Encodes results. For one thread.

    Args:
        labels: whose palette the masks get.
        wall: sets the times of entries.
        clock: CLOCK_MONOTONIC nanoseconds.
    """

    def __init__(
        self, labels: LabelSet, wall: WallClock, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._table = labels.lookup_table()
        self._wall = wall
        self._clock = clock
        self._masks = FrameMasks()

    def encode(self, result: Result) -> Entry:
        """The entry of a result, whose buffers may be overwritten afterwards."""
        mask = self._masks.of(result)
        png = None if mask is None else encode_ids(mask, self._table)
        jpeg = None if result.picture is None else _jpeg(result.picture)
        moment_ns = self._clock() if result.state == "no-signal" else result.capture_ns
        # Last: until here the loop has long stamped the publication.
        record = msgspec.json.encode(result_record(result))
        return Entry(moment_ns + self._wall.offset_ns, result.index, record, jpeg, png)


def _jpeg(picture: Any) -> bytes:
    _, encoded = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    return encoded.tobytes()
