"""The report of a run with several cameras: one JSON object, schema ``hyperseg-edge.cameras/1``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from edge_runtime.report import Ending, LatencyReport
from edge_runtime.report_file import ReportFile
from edge_runtime.timing import Distribution

SCHEMA: Literal["hyperseg-edge.cameras/1"] = "hyperseg-edge.cameras/1"


@dataclass(frozen=True)
class CameraReport:
    """One camera's share of the run."""

    name: str
    source: str
    """As it was given, without credentials."""
    weight: float
    turns: int
    """Frames of this camera that the network took."""
    share: float | None
    """Of all turns, 0..1."""
    failure: str | None
    """Why it ended before the run, in one line; null: it did not fail."""
    report: LatencyReport
    """As of a run with this camera alone. Model, device, power and memory are those of the run."""


@dataclass(frozen=True)
class EngineReport:
    """The network that all cameras shared."""

    utilisation: float | None
    """Share of the run in which it served a frame, 0..1."""
    turns: int
    per_second: float | None
    service_ms: Distribution
    """From taking a frame to its publication, over all cameras: the S of the bounds of
    `edge_runtime.rig.scheduler.Rig`."""


@dataclass(frozen=True)
class SetsReport:
    """Sets of results of all cameras that were captured at one time."""

    tolerance_ms: float
    complete: int
    incomplete: int
    """Lacked a camera: it failed, was slower, or the network could not keep up."""
    spread_ms: Distribution
    """From the first capture of a complete set to its last."""


@dataclass(frozen=True, kw_only=True)
class RigReport(ReportFile):
    """Everything that is known about one run with several cameras."""

    schema: Literal["hyperseg-edge.cameras/1"] = SCHEMA
    run_id: str
    started_at: str
    """UTC wall clock of the start, ISO 8601."""
    duration_s: float
    """From the first frame of any camera to the end."""
    ended: Ending
    engine: EngineReport
    cameras: tuple[CameraReport, ...]
    sets: SetsReport | None = None
    """Null: none were asked for."""

    @property
    def failed(self) -> dict[str, str]:
        """Why cameras failed for good, by name."""
        return {c.name: c.failure for c in self.cameras if c.failure is not None}

    def camera(self, name: str) -> LatencyReport:
        """The latency report of one camera.

        Raises:
            KeyError: there is none of this name.
        """
        return {camera.name: camera.report for camera in self.cameras}[name]

    def to_json(self) -> str:
        """The report as JSON text, ending with a newline."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode() + "\n"
