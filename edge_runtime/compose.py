"""Composes the report of a run from what was noted before, while and after its loop ran."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from edge_runtime.device import describe_device, rss_mb
from edge_runtime.report import (
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
    SinkBlock,
    SourceBlock,
    Warmup,
)
from edge_runtime.timing import DEVICE_COPIES, LATENCIES, STAGES
from edge_runtime.video import SourceCounters

if TYPE_CHECKING:
    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend
    from edge_runtime.loop import Loop
    from edge_runtime.recorder import Recorder
    from edge_runtime.sinks.outlets import Outlets
    from edge_runtime.timing import Series
    from edge_runtime.video import Source


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

    @staticmethod
    def of(loop: Loop, source: Source, ended: Ending) -> End:
        """How things stand now.

        Raises:
            RuntimeError: the frames of a run without an error do not add up.
        """
        duration_s = loop.elapsed_s()
        counters = replace(source.counters)
        tally = loop.recorder.tally
        in_flight = max(counters.captured - counters.dropped_queue - tally.read, 0)
        if ended != "error":
            in_flight = tally.in_flight(counters, complete=ended == "end")
        block = SourceBlock()
        if loop.first_ns is not None:
            info = source.info
            block = SourceBlock(
                uri=info.uri,
                caps=info.caps,
                fps_nominal=info.fps_nominal,
                timestamp_source=info.timestamp_source,
                policy=str(loop.policy),
            )
        return End(ended, duration_s, counters, in_flight, block)


def compose_report(
    start: Start,
    end: End,
    loop: Loop,
    backend: Backend,
    manifest: Manifest,
    outlets: Outlets,
) -> LatencyReport:
    """The report of a run whose outlets are closed."""
    recorder = loop.recorder
    frames = _frames(loop, end)
    return LatencyReport(
        run_id=start.run_id,
        started_at=start.wall.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        duration_s=end.duration_s,
        device=describe_device(),
        model=_model(manifest, backend.name),
        source=end.source,
        frames=frames,
        fps=_fps(frames, end.duration_s),
        warmup=_warmup(recorder),
        latency_ms=_latency(
            recorder, has_device_copies=backend.has_device_copies, render=outlets.render()
        ),
        jitter_ms=_jitter(recorder),
        memory_mb=Memory(rss_start=start.rss_mb, rss_end=rss_mb()),
        ended=end.ended,
        faults=tuple(loop.faults),
        sinks=tuple(SinkBlock(w.label, w.consumed, w.dropped) for w in outlets.workers),
        instrumentation=_instrumentation(loop, end.duration_s),
    )


def _frames(loop: Loop, end: End) -> Frames:
    tally, counters = loop.recorder.tally, end.counters
    return Frames(
        captured=counters.captured,
        inferred=tally.inferred,
        published=tally.published,
        dropped=Dropped(
            source_gap=counters.source_gap,
            queue=counters.dropped_queue,
            stale=tally.dropped_stale,
            sink=tally.dropped_sink,
        ),
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


def _instrumentation(loop: Loop, duration_s: float) -> Instrumentation:
    published = loop.recorder.tally.published
    if not published or duration_s <= 0:
        return Instrumentation()
    cost_s = loop.recorder.cost_ns * 1e-9
    return Instrumentation(mean_ms=cost_s * 1e3 / published, share=cost_s / duration_s)


def _model(manifest: Manifest, backend: str) -> Model:
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


def _latency(recorder: Recorder, *, has_device_copies: bool, render: Series | None) -> LatencyMs:
    latencies = dict(zip(LATENCIES, recorder.latencies, strict=True))
    stages: dict[str, Series | None] = dict(zip(STAGES, recorder.stages, strict=True))
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
    series = recorder.jitter
    return Jitter(series.mean_ms, series.percentile_ms("p99"), series.max_ms)
