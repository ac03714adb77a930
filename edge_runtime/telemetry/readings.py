"""One look at the sensors, and the interface of what takes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

SINGLE = ("total_w", "cpu_percent", "gpu_memory_mb")
"""Fields of `Readings` that are one number or None."""


@dataclass
class Readings:
    """What was read at one moment. What a machine lacks is absent or None."""

    rails_w: dict[str, float] = field(default_factory=dict)
    """Watts by rail; a GPU's own sensor is ``GPU``."""
    total_w: float | None = None
    """What goes into the module, or the GPU card; None unless it is measured."""
    temperatures_c: dict[str, float] = field(default_factory=dict)
    """By sensor."""
    clocks_mhz: dict[str, float] = field(default_factory=dict)
    """``cpu`` (mean of the cores), ``gpu``, ``memory``."""
    below_lock: bool = False
    """A clock that is locked to one frequency runs below it."""
    events: dict[str, int] = field(default_factory=dict)
    """Counters of throttling that only grow, by kind."""
    throttling: frozenset[str] = frozenset()
    """Kinds of throttling in force at this moment."""
    cpu_percent: float | None = None
    """Of all cores together, since the reading before."""
    gpu_memory_mb: float | None = None
    """Used by this process, MB (10^6 bytes)."""

    tells_throttling: bool = False
    """Whether `events`, `throttling` and `below_lock` would say so if there were any."""

    def fill(self, other: Readings) -> None:
        """Add what another group of sensors has read and this one lacks."""
        self.rails_w = other.rails_w | self.rails_w
        self.temperatures_c = other.temperatures_c | self.temperatures_c
        self.clocks_mhz = other.clocks_mhz | self.clocks_mhz
        self.events = other.events | self.events
        self.throttling |= other.throttling
        self.below_lock |= other.below_lock
        self.tells_throttling |= other.tells_throttling
        for name in SINGLE:
            if getattr(self, name) is None:
                setattr(self, name, getattr(other, name))


class Sensors(Protocol):
    """A group of sensors."""

    name: str
    """How a report calls it."""

    def read(self) -> Readings:
        """All that can be read now; a sensor that fails is left out."""
        ...

    def close(self) -> None:
        """Give back what was opened."""
        ...


def read_all(groups: Sequence[Sensors], failures: dict[str, str] | None = None) -> Readings:
    """What all groups say now; those that come first are believed first.

    A group that raises is left out of this reading and asked again at the next: whatever a driver
    or its library does must not end the thread that looks.

    Args:
        groups: the sensors of this machine.
        failures: takes the names of groups that raised, and in one line why they first did.
    """
    readings = Readings()
    for sensors in groups:
        try:
            found = sensors.read()
        except Exception as error:  # noqa: BLE001  (of other people's libraries, and told)
            if failures is not None:
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                failures.setdefault(sensors.name, reason)
        else:
            readings.fill(found)
    return readings
