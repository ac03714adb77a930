"""The figures of a run that goes on, as ``/api/stats`` and the page have them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edge_runtime.compose import dropped
from edge_runtime.device import rss_mb
from edge_runtime.redact import redact
from edge_runtime.report import Dropped, Outages
from edge_runtime.telemetry.summary import Telemetry
from edge_runtime.timing import DEVICE_COPIES, PERMILLE, STAGES, nearest_rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_runtime.rig.lane import Lane
    from edge_runtime.telemetry.sampler import Sampler
    from edge_runtime.web.tap import Tap

SHOWN = ("p50", "p95", "p99")


@dataclass(frozen=True)
class Live:
    """Percentiles of the newest results, in milliseconds; null where they are too few for it."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None


@dataclass(frozen=True)
class Legend:
    """One class."""

    name: str
    rgb: tuple[int, int, int]
    ratio: float | None
    """Share of the newest picture that was shown, 0..1; null before one was."""


@dataclass(frozen=True)
class ModelFigures:
    """What makes the masks now."""

    name: str
    key: str
    """Start of its file's sha256."""
    kind: str
    backend: str
    input: tuple[int, ...]
    license: str | None
    labels: str
    changes: int
    """Models that were offered to the run since it began."""


@dataclass(frozen=True)
class CameraFigures:
    """One camera."""

    name: str
    source: str | None
    """Without credentials; null before its first frame."""
    policy: str | None
    clock: str | None
    """The clock that latencies start from."""
    state: str
    """Of the source: ``up``, ``degraded``, ``stalled``, ``reconnecting``, ``failed``, ``over``."""
    reason: str | None
    """Why there is no signal."""
    fps: float
    """Results per second over the last 10 s."""
    fps_nominal: float | None
    age_ms: float | None
    """From the capture of the newest published frame until now."""
    captured: int
    inferred: int
    published: int
    late: int
    dropped: Dropped
    outages: Outages
    n: int
    """Results that the latencies are of."""
    result_ms: Live
    """Capture to publish."""
    stages_ms: dict[str, Live | None]
    """The parts of it; null: there is no such stage."""
    classes: tuple[Legend, ...]


@dataclass(frozen=True, kw_only=True)
class RunFigures:
    """Everything the page shows but the picture."""

    schema: Literal["hyperseg-edge.page/1"] = "hyperseg-edge.page/1"
    now_ns: int
    """CLOCK_MONOTONIC, as all ``_ns`` here and in the parts of a stream."""
    elapsed_s: float
    """Since the first frame."""
    viewers: int
    model: ModelFigures
    cameras: tuple[CameraFigures, ...]
    rss_mb: float | None
    telemetry: Telemetry = field(default_factory=Telemetry)


def run_figures(
    lanes: Sequence[Lane],
    taps: Sequence[Tap],
    ratios: Sequence[Sequence[float] | None],
    sampler: Sampler,
    viewers: int,
) -> RunFigures:
    """How the run is doing. May be called from another thread than the loop's.

    Args:
        lanes: of the run.
        taps: what was noted of each.
        ratios: of the newest shown picture of each, by class.
        sampler: of the telemetry.
        viewers: streams that are watched.
    """
    return RunFigures(
        now_ns=time.monotonic_ns(),
        elapsed_s=max(lane.elapsed_s() for lane in lanes),
        viewers=viewers,
        model=_model(lanes[0]),
        cameras=tuple(map(_camera, lanes, taps, ratios)),
        rss_mb=rss_mb(),
        telemetry=sampler.summary(current=True),
    )


def camera_name(lane: Lane) -> str:
    """What the page calls a camera: one that is alone is the first."""
    return lane.name or "camera1"


def percentiles(durations_ns: NDArray[np.int64]) -> Live:
    """Nearest-rank percentiles of (n,) int64 durations, null where n < 10 / (1 - p)."""
    ordered = np.sort(durations_ns)
    n = len(ordered)
    found: dict[str, Any] = {
        name: float(ordered[nearest_rank(n, PERMILLE[name])]) * 1e-6
        for name in SHOWN
        if n * (1000 - PERMILLE[name]) >= 10_000
    }
    return Live(**found, max=float(ordered[-1]) * 1e-6 if n else None)


def _model(lane: Lane) -> ModelFigures:
    network = lane.engine.network
    manifest = network.manifest
    return ModelFigures(
        name=manifest.name,
        key=network.key,
        kind=manifest.kind,
        backend=network.backend.name,
        input=manifest.inputs[0].shape,
        license=manifest.license,
        labels=manifest.labels.name,
        changes=len(lane.engine.changes),
    )


def _camera(lane: Lane, tap: Tap, ratios: Sequence[float] | None) -> CameraFigures:
    started = lane.first_ns is not None
    info = lane.source.info if started else None
    now, tally, counters = lane.snapshot(), lane.recorder.tally, lane.source.counters
    outage = lane.source.outage
    over = lane.end is not None
    labels = lane.engine.network.manifest.labels
    durations = tap.durations_ns()
    return CameraFigures(
        name=camera_name(lane),
        source=redact(info.uri) if info else None,
        policy=str(lane.policy) if started else None,
        clock=info.timestamp_source if info else None,
        state="over" if over and lane.failure is None else lane.source.state,
        reason=redact(str(lane.failure)) if lane.failure else outage.reason if outage else None,
        fps=round(now.fps, 2),
        fps_nominal=info.fps_nominal if info else None,
        age_ms=now.age_ms,
        captured=counters.captured,
        inferred=tally.inferred,
        published=tally.published,
        late=tally.late,
        dropped=dropped(tally, counters),
        outages=lane.outages(),
        n=len(durations),
        result_ms=percentiles(durations.sum(axis=1)),
        stages_ms=_stages(durations, copies=lane.engine.network.backend.has_device_copies),
        classes=tuple(
            Legend(name, rgb, None if ratios is None else ratios[number])
            for number, (name, rgb) in enumerate(zip(labels.names, labels.palette, strict=True))
        ),
    )


def _stages(durations: NDArray[np.int64], *, copies: bool) -> dict[str, Live | None]:
    return {
        name: percentiles(durations[:, number]) if copies or name not in DEVICE_COPIES else None
        for number, name in enumerate(STAGES)
    }
