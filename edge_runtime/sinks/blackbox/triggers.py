"""What a black box is written on: conditions that begin. One that lasts is one event."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from edge_runtime.result import Result
    from edge_runtime.telemetry.readings import Readings, Sensors

LOOK_S = 1.0
"""Between two looks at the sensors."""


class Triggers:
    """Tells events from conditions that merely go on.

    Args:
        on: kinds that count, of `blackbox_options.TRIGGERS`.
        cooldown_s: how long a condition must have been gone to be a new event.
        clock: CLOCK_MONOTONIC nanoseconds.
    """

    def __init__(
        self, on: Collection[str], cooldown_s: float, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._on = on
        self._cooldown_ns = round(cooldown_s * 1e9)
        self._clock = clock
        self._last_ns: dict[str, int] = {}

    def see(
        self, result: Result, raised: Sequence[str] = (), throttling: Collection[str] = ()
    ) -> list[str]:
        """The events that begin with a result.

        Args:
            result: a result.
            raised: names of rules that became true with it.
            throttling: kinds of throttling that are in force.
        """
        found = [("rule", f"rule {name}") for name in raised]
        found += [("throttle", f"throttle {name}") for name in sorted(throttling)]
        if result.stale:
            found.append(("late", "late"))
        if result.state == "no-signal":
            found.append(("no-signal", "no-signal"))
        return [name for kind, name in found if self.begins(kind, name)]

    def begins(self, kind: str, name: str) -> bool:
        """Whether a condition that holds now is a new event of a kind that counts."""
        if kind not in self._on:
            return False
        now_ns = self._clock()
        last_ns = self._last_ns.get(name)
        self._last_ns[name] = now_ns
        return last_ns is None or now_ns - last_ns > self._cooldown_ns


@dataclass
class SensorWatch:
    """Looks at the machine's sensors about once a second, in the thread that asks.

    Args:
        sensors: of this machine.
        clock: CLOCK_MONOTONIC nanoseconds.
    """

    sensors: Sequence[Sensors]
    clock: Callable[[], int] = time.monotonic_ns
    throttling: frozenset[str] = frozenset()
    """Kinds of throttling at the last look, or between it and the look before."""
    _looked_ns: int | None = None
    _events: dict[str, int] = field(default_factory=dict)

    def look(self) -> bytes | None:
        """All readings as JSON, or None while the last look is fresh or there are no sensors."""
        now_ns = self.clock()
        fresh = self._looked_ns is not None and now_ns - self._looked_ns < LOOK_S * 1e9
        if fresh or not self.sensors:
            return None
        from edge_runtime.telemetry.readings import read_all

        self._looked_ns = now_ns
        readings = read_all(self.sensors)
        self.throttling = frozenset(self._now(readings))
        self._events |= readings.events
        return msgspec.json.encode(readings)

    def close(self) -> None:
        """Give the sensors back."""
        for sensors in self.sensors:
            sensors.close()

    def _now(self, readings: Readings) -> Iterator[str]:
        yield from readings.throttling
        if readings.below_lock:
            yield "clock-below-lock"
        for name, count in readings.events.items():
            if count > self._events.get(name, count):
                yield name
