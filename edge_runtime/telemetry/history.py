"""What the sensors said over time, in fixed memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.telemetry.readings import Readings

POINTS = 120
"""When there are so many, every second one goes, and from then on every second reading is kept."""
COLUMNS = ("t_s", "power_w", "hottest_c", "cpu_mhz", "gpu_mhz", "cpu_percent", "throttle_events")


@dataclass(frozen=True)
class TelemetryHistory:
    """Readings over the run."""

    columns: tuple[str, ...]
    """``t_s`` is seconds since the first frame, or since the first reading of a run without one;
    ``hottest_c`` is of all sensors; ``throttle_events`` are those since the first reading."""
    rows: list[list[float | None]]


class ReadingsLog:
    """Keeps one in so many readings."""

    def __init__(self) -> None:
        self._rows: list[list[float | None]] = []
        self._each, self._seen = 1, 0

    def add(self, readings: Readings, throttle_events: int | None, now_s: float) -> None:
        """Take note of a reading."""
        self._seen += 1
        if (self._seen - 1) % self._each:
            return
        if len(self._rows) == POINTS:
            self._rows = self._rows[::2]
            self._each *= 2
        self._rows.append(
            [
                now_s,
                readings.total_w,
                max(readings.temperatures_c.values(), default=None),
                readings.clocks_mhz.get("cpu"),
                readings.clocks_mhz.get("gpu"),
                readings.cpu_percent,
                throttle_events,
            ]
        )

    def summary(self, zero_s: float | None) -> TelemetryHistory | None:
        """What a report says; None without readings.

        Args:
            zero_s: on the clock of the readings; None is the first of them.
        """
        rows = list(self._rows)
        if not rows:
            return None
        begin_s = rows[0][0] if zero_s is None else zero_s
        assert begin_s is not None
        return TelemetryHistory(
            COLUMNS, [[round((now_s or 0.0) - begin_s, 3), *values] for now_s, *values in rows]
        )
