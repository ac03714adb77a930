"""Composes the report of a run from what was noted before, while and after its loop ran."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from edge_runtime.device import describe_device, rss_mb
from edge_runtime.report import (
    Clocks,
    Dropped,
    Ending,
    Fps,
    Frames,
    Instrumentation,
    Jitter,
    LatencyMs,
    LatencyReport,
    Memory,
    Model,
    ModelChange,
    Outages,
    Power,
    SinkBlock,
    SourceBlock,
    Temperature,
    Warmup,
)
from edge_runtime.telemetry.summary import Telemetry
from edge_runtime.timing import DEVICE_COPIES, LATENCIES, STAGES
from edge_runtime.video import SourceCounters

if TYPE_CHECKING:
    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend
    from edge_runtime.recorder import Recorder, Tally
    from edge_runtime.rig.lane import Lane
    from edge_runtime.sinks.outlets import Outlets
    from edge_runtime.timing import Series

GPU_SENSORS = ("gpu",)
CPU_SENSORS = ("cpu", "x86_pkg", "coretemp", "k10temp", "zenpower")
"""Parts of the names of temperature sensors."""


class Start:
    """What is noted before the first frame."""

    def __init__(self) -> None:
        self.run_id = uuid.uuid4().hex
        self.wall = datetime.now(timezone.utc)
        self.rss_mb = rss_mb()


@dataclass(frozen=True)
class End:
    """What is noted while the source is still open."""

    ended: Ending = "error"
    duration_s: float = 0.0
    counters: SourceCounters = field(default_factory=SourceCounters)
    in_flight: int = 0
    source: SourceBlock = field(default_factory=SourceBlock)
    outages: Outages = field(default_factory=Outages)

    @staticmethod
    def of(lane: Lane, ended: Ending) -> End:
        """How things stand now.

        Raises:
            RuntimeError: the frames of a run without an error do not add up.
        """
        source, duration_s = lane.source, lane.elapsed_s()
        counters = replace(source.counters)
        tally = lane.recorder.tally
        in_flight = max(counters.captured - counters.dropped - tally.read, 0)
        if ended != "error":
            in_flight = tally.in_flight(counters, complete=ended == "end")
        block = SourceBlock()
        if lane.first_ns is not None:
            info = source.info
            block = SourceBlock(
                uri=info.uri,
                caps=info.caps,
                fps_nominal=info.fps_nominal,
                timestamp_source=lane.recorder.clock or info.timestamp_source,
                policy=str(lane.policy),
            )
        return End(ended, duration_s, counters, in_flight, block, lane.outages())


def compose_report(
    start: Start,
    end: End,
    lane: Lane,
    backend: Backend,
    manifest: Manifest,
    outlets: Outlets,
    telemetry: Telemetry | None = None,
) -> LatencyReport:
    """The report of a run whose outlets are closed."""
    recorder = lane.recorder
    telemetry = telemetry or Telemetry()
    events = telemetry.throttle_events
    frames = _frames(lane, end)
    return LatencyReport(
        run_id=start.run_id,
        started_at=start.wall.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        duration_s=end.duration_s,
        device=describe_device(),
        model=describe_model(manifest, backend.name),
        source=end.source,
        frames=frames,
        fps=_fps(frames, end.duration_s),
        warmup=_warmup(recorder),
        latency_ms=_latency(
            recorder, has_device_copies=backend.has_device_copies, render=outlets.render()
        ),
        jitter_ms=_jitter(recorder),
        power_w=_power(telemetry),
        temperature_c=Temperature(
            gpu_max=_hottest(telemetry, GPU_SENSORS), cpu_max=_hottest(telemetry, CPU_SENSORS)
        ),
        clocks_mhz=Clocks(
            gpu_min=telemetry.clocks_mhz["gpu"].min if "gpu" in telemetry.clocks_mhz else None
        ),
        throttle_events=None if events is None else sum(events.values()),
        throttled=None if events is None else bool(events),
        telemetry=telemetry,
        memory_mb=Memory(
            rss_start=start.rss_mb,
            rss_end=rss_mb(),
            gpu_peak=telemetry.gpu_memory_mb.max if telemetry.gpu_memory_mb else None,
        ),
        ended=end.ended,
        faults=tuple(sorted(lane.faults, key=lambda fault: fault.t_s)),
        faults_total=lane.faults.total,
        outages=end.outages,
        model_changes=_model_changes(lane),
        sinks=tuple(SinkBlock(w.label, w.consumed, w.dropped) for w in outlets.workers),
        instrumentation=_instrumentation(lane, end.duration_s),
        copies=lane.copies,
        history=recorder.history.summary(lane.first_ns or 0),
    )


def _power(telemetry: Telemetry) -> Power:
    total = telemetry.power_w
    return Power(
        mean=total.mean if total else None,
        max=total.max if total else None,
        rails={name: watts.mean for name, watts in telemetry.rails_w.items()},
    )


def _hottest(telemetry: Telemetry, sensors: tuple[str, ...]) -> float | None:
    found = [
        celsius.max
        for name, celsius in telemetry.temperatures_c.items()
        if any(part in name.lower() for part in sensors)
    ]
    return max(found, default=None)


def dropped(tally: Tally, counters: SourceCounters) -> Dropped:
    """Frames that gave no result, by cause."""
    return Dropped(
        source_gap=counters.source_gap,
        queue=counters.dropped_queue,
        damaged=counters.damaged,
        repeated=counters.repeated,
        outage=counters.outage,
        stale=tally.dropped_stale,
        sink=tally.dropped_sink,
    )


def _frames(lane: Lane, end: End) -> Frames:
    tally, counters = lane.recorder.tally, end.counters
    return Frames(
        captured=counters.captured,
        inferred=tally.inferred,
        published=tally.published,
        dropped=dropped(tally, counters),
        late=tally.late,
        in_flight=end.in_flight,
    )


def _fps(frames: Frames, duration_s: float) -> Fps:
    if duration_s <= 0:
        return Fps()
    return Fps(
        source=frames.captured / duration_s,
        infer=frames.inferred / duration_s,
        publish=frames.published / duration_s,
    )


def _instrumentation(lane: Lane, duration_s: float) -> Instrumentation:
    published = lane.recorder.tally.published
    if not published or duration_s <= 0:
        return Instrumentation()
    cost_s = lane.recorder.cost_ns * 1e-9
    return Instrumentation(mean_ms=cost_s * 1e3 / published, share=cost_s / duration_s)


def describe_model(manifest: Manifest, backend: str) -> Model:
    """What a manifest says of the model that a backend runs."""
    parents = {parent.kind: parent.sha256 for parent in manifest.parents}
    table = parents.get("calibration-table")
    recorded = manifest.options.get("precision")
    engine = manifest.kind == "engine"
    return Model(
        name=manifest.name,
        backend=backend,
        onnx_sha256=parents.get("onnx") if engine else manifest.sha256,
        precision=str(recorded) if recorded else ("int8" if table else None),
        calib_sha256=table,
        input=manifest.inputs[0].shape,
        engine_sha256=manifest.sha256 if engine else None,
    )


def _model_changes(lane: Lane) -> tuple[ModelChange, ...]:
    first_ns = lane.first_ns or 0
    return tuple(
        ModelChange((change.at_ns - first_ns) * 1e-9, change.event, change.model, change.reason)
        for change in lane.engine.changes
        if lane.first_ns is not None
    )


def _latency(recorder: Recorder, *, has_device_copies: bool, render: Series | None) -> LatencyMs:
    figures = recorder.figures
    latencies = dict(zip(LATENCIES, figures.latencies, strict=True))
    stages: dict[str, Series | None] = dict(zip(STAGES, figures.stages, strict=True))
    if not has_device_copies:
        stages |= dict.fromkeys(DEVICE_COPIES)
    stages |= {"enqueue": None, "render": render}
    counted = [*latencies.values(), *(series for series in stages.values() if series)]
    named: dict[str, Any] = {name: series.distribution() for name, series in latencies.items()}
    return LatencyMs(
        **named,
        stages={
            name: None if series is None else series.distribution()
            for name, series in stages.items()
        },
        clamped=sum(series.clamped for series in counted),
    )


def _warmup(recorder: Recorder) -> Warmup:
    warmup = recorder.warmup
    first = None if warmup.first_ns is None else warmup.first_ns * 1e-6
    return Warmup(warmup.frames, first, warmup.converged)


def _jitter(recorder: Recorder) -> Jitter:
    series = recorder.figures.jitter
    return Jitter(series.mean_ms, series.percentile_ms("p99"), series.max_ms)
