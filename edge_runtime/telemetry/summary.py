"""What the sensors said over a run: the telemetry block of a report."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_runtime.telemetry.history import TelemetryHistory


@dataclass(frozen=True)
class Range:
    """Values of one sensor over the run."""

    start: float
    end: float
    min: float
    mean: float
    max: float


@dataclass(frozen=True)
class Telemetry:
    """What the sensors of the machine said while the run went on."""

    sensors: tuple[str, ...] = ()
    """Where it was read: ``sysfs``, ``nvml``, ``psutil``."""
    samples: int = 0
    interval_s: float | None = None
    mean_read_ms: float | None = None
    """What one reading took, in a thread of its own."""
    power_w: Range | None = None
    """What goes into the module or card; null unless a rail measures it."""
    rails_w: dict[str, Range] = field(default_factory=dict)
    temperatures_c: dict[str, Range] = field(default_factory=dict)
    clocks_mhz: dict[str, Range] = field(default_factory=dict)
    cpu_percent: Range | None = None
    gpu_memory_mb: Range | None = None
    throttle_events: dict[str, int] | None = None
    """How often each kind of throttling occurred during the run; null where nothing would tell."""
    history: TelemetryHistory | None = None
    failed: dict[str, str] = field(default_factory=dict)
    """Which of `sensors` failed when they were read, and why at first. What they would have said
    then is in no figure."""
