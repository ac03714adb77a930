"""Options of a soak. Their defaults are written here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING

from edge_runtime.errors import OptionError
from edge_runtime.options import RunOptions

if TYPE_CHECKING:
    from pathlib import Path

EQUIVALENT_FPS = 30.0
"""An accelerated run counts its time in frames, as if each camera had this rate."""

SHORTEST_INTERVAL_S, LONGEST_INTERVAL_S = 1.0, 60.0
USUAL_SAMPLES = 600


@dataclass(frozen=True)
class Limits:
    """What a run may do and still pass.

    Raises:
        OptionError: a value that cannot work.
    """

    growth_mb_per_hour: float = 1.0
    """Of resident memory, MB (10^6 bytes). A run of less than an hour may grow by this in all."""
    p99_drift: float = 0.10
    """How much the 99th percentile of the last third may lie above that of the first, 0.1 = 10 %.
    """

    def __post_init__(self) -> None:
        for name, value in (("growth", self.growth_mb_per_hour), ("drift", self.p99_drift)):
            if not (isfinite(value) and value > 0):
                raise OptionError(f"limit of {name} {value:g}: expected a number above 0")


@dataclass(frozen=True)
class SoakOptions:
    """How long a network runs, what is watched, and what passes.

    Raises:
        OptionError: a value or a combination that cannot work.
    """

    run: RunOptions = field(default_factory=lambda: RunOptions(duration_s=24 * 3600.0))
    """The run itself: duration, policy, sinks. Its `report` is part of the soak's own."""
    frames: int | None = None
    """Ends after so many results of all cameras together, however long that takes."""
    accelerated: bool = False
    """Frames come as fast as they are taken: a file, a launch text, or colour bars."""
    interval_s: float | None = None
    """Between samples; None takes 1 to 60 s by the length of the run."""
    trace_python: bool = False
    """Also sample what Python objects hold, which makes the run several times slower."""
    limits: Limits = Limits()
    report: Path | None = None
    """Where to write verdict, samples and latency report (JSON)."""

    def __post_init__(self) -> None:
        if (self.frames is None) == (self.run.duration_s is None):
            raise OptionError("give a soak either a duration or a number of frames")
        if self.frames is not None and self.frames < 1:
            raise OptionError(f"frames {self.frames}: expected 1 or more")
        if self.interval_s is not None and not 0.01 <= self.interval_s <= 3600.0:
            raise OptionError(f"interval {self.interval_s:g} s: expected 0.01 to 3600 s")
        if self.run.report is not None:
            raise OptionError("a soak's latency report is part of its own; give that a name only")
        if self.accelerated and self.run.policy not in (None, "every"):
            raise OptionError(
                f"policy {self.run.policy!r}: an accelerated soak takes every frame; leave it out"
            )

    @property
    def first_interval_s(self) -> float:
        """Between the first samples; it doubles whenever there are too many of them."""
        if self.interval_s is not None:
            return self.interval_s
        wanted_s = (self.run.duration_s or 0.0) / USUAL_SAMPLES
        return min(max(wanted_s, SHORTEST_INTERVAL_S), LONGEST_INTERVAL_S)
