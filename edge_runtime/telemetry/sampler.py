"""Reads the sensors while a run goes on, in a thread of its own, and sums up what it saw."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.telemetry.history import ReadingsLog
from edge_runtime.telemetry.host import open_host
from edge_runtime.telemetry.nvml import open_nvml
from edge_runtime.telemetry.readings import SINGLE, Readings, read_all
from edge_runtime.telemetry.summary import Range, Telemetry
from edge_runtime.telemetry.sysfs import SysfsSensors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Self

    from edge_runtime.telemetry.readings import Sensors

INTERVAL_S = 1.0


def find_sensors(root: Path = Path("/")) -> list[Sensors]:
    """The sensors of this machine; those that come first are believed first.

    Args:
        root: where ``sys`` lies; another place than ``/`` is all there is.
    """
    found: list[Sensors] = []
    sysfs = SysfsSensors(root)
    if sysfs.present:
        found.append(sysfs)
    if root == Path("/"):
        found += [sensors for sensors in (open_nvml(), open_host()) if sensors is not None]
    return found


class Track:
    """Values of one sensor over a run."""

    def __init__(self, value: float) -> None:
        self._first = self._last = self._low = self._high = value
        self._sum = 0.0
        self._count = 0
        self.add(value)

    def add(self, value: float) -> None:
        """Take note of a value."""
        self._last = value
        self._low, self._high = min(self._low, value), max(self._high, value)
        self._sum += value
        self._count += 1

    def range(self) -> Range:
        """What it came to."""
        mean = self._sum / self._count
        return Range(self._first, self._last, self._low, mean, self._high)


class Sampler:
    """A context manager that reads all sensors at once when entered, then once a second.

    Args:
        sensors: of this machine; closed at the end.
        interval_s: between readings.
    """

    def __init__(self, sensors: Sequence[Sensors], interval_s: float = INTERVAL_S) -> None:
        self._sensors = tuple(sensors)
        self._interval_s = interval_s
        self._tracks: dict[tuple[str, str], Track] = {}
        self._answering: frozenset[tuple[str, str]] = frozenset()
        """Those of the tracks that the last reading added to."""
        self._failures: dict[str, str] = {}
        self._events_first: dict[str, int] = {}
        self._events: Counter[str] = Counter()
        self._throttling: frozenset[str] = frozenset()
        self.latest = Readings()
        """As last read; replaced, not changed, so that another thread may look."""
        self._tells_throttling = False
        self._log = ReadingsLog()
        self._samples = 0
        self._cost_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="telemetry", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        for sensors in self._sensors:
            sensors.close()

    def _work(self) -> None:
        while True:
            self.sample()
            if self._over.wait(self._interval_s):
                # A last look: an event of the final second must not be missed.
                self.sample()
                return

    def sample(self) -> None:
        """Read all sensors once."""
        begin = time.monotonic()
        failures: dict[str, str] = {}
        readings = read_all(self._sensors, failures)
        self._failures = failures | self._failures  # why each first did
        self._note(readings, complete=not failures)
        self.latest = readings
        counts = self.throttle_counts
        self._log.add(readings, None if counts is None else sum(counts.values()), begin)
        self._samples += 1
        self._cost_s += time.monotonic() - begin

    def _note(self, readings: Readings, *, complete: bool) -> None:
        groups = {
            "rail": readings.rails_w,
            "temperature": readings.temperatures_c,
            "clock": readings.clocks_mhz,
            "single": {
                name: value for name in SINGLE if (value := getattr(readings, name)) is not None
            },
        }
        for group, values in groups.items():
            for name, value in values.items():
                track = self._tracks.get((group, name))
                if track is None:
                    self._tracks[group, name] = Track(value)
                else:
                    track.add(value)
        self._answering = frozenset((group, name) for group in groups for name in groups[group])
        self._note_throttling(readings, complete=complete)

    def _note_throttling(self, readings: Readings, *, complete: bool) -> None:
        self._tells_throttling |= readings.tells_throttling
        for name, count in readings.events.items():
            first = self._events_first.setdefault(name, count)
            self._events[name] = count - first
        now = readings.throttling | ({"clock-below-lock"} if readings.below_lock else frozenset())
        for name in now:
            # A state counts when it begins.
            self._events[name] += name not in self._throttling
        # What nobody told of is not over: it would count once more when it is told again.
        self._throttling = now if complete else now | self._throttling

    @property
    def throttle_counts(self) -> dict[str, int] | None:
        """How often each kind of throttling occurred so far; None where nothing would tell."""
        if not self._tells_throttling:
            return None
        return {name: count for name, count in sorted(self._events.items()) if count > 0}

    def summary(self, first_ns: int | None = None, *, current: bool = False) -> Telemetry:
        """What was seen; complete after the exit.

        Args:
            first_ns: CLOCK_MONOTONIC of the first frame, from which times count.
            current: leave out what the last reading did not tell, so that `Range.end` is of now.
        """
        named = self._answering if current else frozenset(self._tracks)

        def ranges(group: str) -> dict[str, Range]:
            return {name: self._tracks[g, name].range() for g, name in sorted(named) if g == group}

        single = ranges("single")
        return Telemetry(
            sensors=tuple(sensors.name for sensors in self._sensors),
            samples=self._samples,
            interval_s=self._interval_s,
            mean_read_ms=self._cost_s / self._samples * 1e3 if self._samples else None,
            power_w=single.get("total_w"),
            rails_w=ranges("rail"),
            temperatures_c=ranges("temperature"),
            clocks_mhz=ranges("clock"),
            cpu_percent=single.get("cpu_percent"),
            gpu_memory_mb=single.get("gpu_memory_mb"),
            throttle_events=self.throttle_counts,
            history=self._log.summary(None if first_ns is None else first_ns * 1e-9),
            failed=dict(self._failures),
        )
