"""What the machine was like while something was measured: part of every figure."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.telemetry.readings import Readings
from edge_runtime.telemetry.sysfs import read_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.telemetry.readings import Sensors

BUSY_SHARE = 0.25
"""Load above this share of the cores, before anything of ours ran, is worth a warning."""


@dataclass(frozen=True)
class Conditions:
    """The processor before the measurement began; null for what nothing tells."""

    cores: int
    """That this process may use."""
    load: float | None
    """Processes that wanted a core, mean of the last minute."""
    governors: dict[str, int]
    """Frequency governors by how many cores have them; empty where the kernel has none, as in most
    virtual machines."""
    boost: bool | None
    """Whether the processor may exceed its base clock."""

    @property
    def busy(self) -> bool:
        """Whether other programs probably disturbed the figures."""
        return self.load is not None and self.load > BUSY_SHARE * self.cores


def look(root: Path = Path("/")) -> Conditions:
    """The conditions now.

    Args:
        root: where ``sys`` lies.
    """
    cpus = root / "sys/devices/system/cpu"
    governors = Counter(
        name
        for path in sorted(cpus.glob("cpu[0-9]*/cpufreq/scaling_governor"))
        if (name := read_text(path))
    )
    boost = read_text(cpus / "cpufreq/boost")
    return Conditions(
        cores=usable_cores(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        governors=dict(governors),
        boost=None if boost is None else boost == "1",
    )


def usable_cores() -> int:
    """How many cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Tapped:
    """Sensors that are read by a sampler and whose last readings are kept for a curve.

    Args:
        sensors: closed with it.
    """

    def __init__(self, sensors: Sensors) -> None:
        self.name = sensors.name
        self._sensors = sensors
        self.last = Readings()

    def read(self) -> Readings:
        """As the sensors themselves."""
        self.last = Readings()  # an older one is not of now, if this one fails
        # The sampler fills in what it is given; the curve keeps what was read.
        self.last = self._sensors.read()
        return self.last

    def close(self) -> None:
        """Give back what was opened."""
        self._sensors.close()


def together(taps: Sequence[Tapped]) -> Readings | None:
    """The last readings of all; those that come first are believed first. None without sensors."""
    if not taps:
        return None
    readings = Readings()
    for tap in taps:
        readings.fill(tap.last)
    return readings
