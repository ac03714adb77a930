"""The report of a soak: one JSON object, schema ``hyperseg-edge.soak/1``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from edge_runtime.report import LatencyReport
from edge_runtime.report_file import ReportFile
from edge_runtime.rig.report import RigReport

SCHEMA: Literal["hyperseg-edge.soak/1"] = "hyperseg-edge.soak/1"
SoakEnding = Literal["frames", "duration", "end", "interrupted", "terminated", "error"]
"""``frames``: as many as were asked for; the others as in a latency report."""


@dataclass(frozen=True)
class Criterion:
    """One thing a soak is judged by."""

    name: Literal["complete", "frames", "memory", "descriptors", "threads", "latency"]
    passed: bool
    says: str
    """In one line: what was found, and the limit."""
    value: float | None = None
    """In the unit of `limit`; null: it could not be judged."""
    limit: float | None = None


@dataclass(frozen=True)
class Length:
    """How long the run was, and what of it was judged."""

    seconds: float
    frames: int
    """Results of all cameras together, at the last sample."""
    hours: float
    """Of the judged part: by the clock, or in frames at 30 a second if the run was accelerated."""
    hours_are: Literal["clock", "frames at 30 a second"]
    warm_up_s: float
    """Left out at the beginning."""


@dataclass(frozen=True)
class Samples:
    """What was seen over the run; `edge_runtime.soak.samples.COLUMNS` says what each column is."""

    interval_s: float
    columns: tuple[str, ...]
    rows: list[list[float | None]]


@dataclass(frozen=True, kw_only=True)
class SoakReport(ReportFile):
    """Everything that is known about one soak."""

    schema: Literal["hyperseg-edge.soak/1"] = SCHEMA
    passed: bool
    ended: SoakEnding
    criteria: tuple[Criterion, ...]
    length: Length
    accelerated: bool
    covers: tuple[str, ...]
    """What of a deployment this run exercised."""
    leaves_out: tuple[str, ...]
    """What it did not."""
    failure: str | None = None
    """What ended the run before its time, in one line."""
    run: LatencyReport | None = None
    """Of one camera without a name; null where there is `cameras`, or the run failed."""
    cameras: RigReport | None = None
    samples: Samples

    @property
    def reasons(self) -> tuple[str, ...]:
        """What was wrong; nothing if it passed."""
        return tuple(criterion.says for criterion in self.criteria if not criterion.passed)

    def to_json(self) -> str:
        """The report as JSON text, ending with a newline."""
        return msgspec.json.encode(self).decode() + "\n"
