"""The metrics of cameras: frames by fate, latencies, age, signal, what is seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from edge_runtime.prometheus.observer import FrameObserver
from edge_runtime.redact import redact
from edge_runtime.timing import DEVICE_COPIES, STAGES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client.core import Metric

    from edge_runtime.prometheus.histogram import Histogram
    from edge_runtime.rig.lane import Lane

PREFIX = "hyperseg"
ALONE = "camera1"
"""Label of a camera without a name: what it would be called among several."""
CONTENT_AGE_NS = 10 * 10**9
"""Classes seen longer ago say nothing of what is there now."""
SIGNALS = frozenset({"up", "degraded"})
"""States of a source that delivers."""


@dataclass(frozen=True)
class Watched:
    """A camera and what is noted of its frames."""

    lane: Lane
    observer: FrameObserver

    @property
    def name(self) -> str:
        """Value of the label ``camera``."""
        return self.lane.name or ALONE


def camera_families(cameras: Sequence[Watched], now_ns: int) -> Iterator[Metric]:
    """Every metric with the label ``camera``.

    Args:
        cameras: of the run.
        now_ns: CLOCK_MONOTONIC.
    """
    yield from _fates(cameras)
    yield from _latencies(cameras)
    yield _age(cameras, now_ns)
    yield from _signals(cameras, now_ns)
    yield from _queues(cameras)
    yield _content(cameras, now_ns)


def counter(name: str, documentation: str, *labels: str) -> CounterMetricFamily:
    """A counter without values yet; its name in the exposition ends in ``_total``."""
    return CounterMetricFamily(f"{PREFIX}_{name}", documentation, labels=labels)


def gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    """A gauge without values yet."""
    return GaugeMetricFamily(f"{PREFIX}_{name}", documentation, labels=labels)


def _fates(cameras: Sequence[Watched]) -> Iterator[Metric]:
    frames = counter("frames", "Frames that came so far.", "camera", "stage")
    dropped = counter("frames_dropped", "Frames not published, by cause.", "camera", "reason")
    misses = counter(
        "deadline_misses",
        "Frames too old for the deadline: published late, or not inferred at all.",
        "camera",
    )
    for camera in cameras:
        tally = camera.lane.recorder.tally
        # Read from the end of the way: no stage may seem to hold more frames than the one before.
        stages = {"published": tally.published, "inferred": tally.inferred}
        reasons = {"sink": tally.dropped_sink, "stale": tally.dropped_stale}
        counters = camera.lane.source.counters
        stages["captured"] = counters.captured
        reasons |= {
            "queue": counters.dropped_queue,
            "damaged": counters.damaged,
            "repeated": counters.repeated,
            "outage": counters.outage,
            "source_gap": counters.source_gap,
        }
        for stage, count in stages.items():
            frames.add_metric([camera.name, stage], count)
        for reason, count in reasons.items():
            dropped.add_metric([camera.name, reason], count)
        misses.add_metric([camera.name], tally.late + tally.dropped_stale)
    yield from (frames, dropped, misses)


def _latencies(cameras: Sequence[Watched]) -> Iterator[Metric]:
    stages = HistogramMetricFamily(
        f"{PREFIX}_stage_latency_seconds",
        "Time of published frames in each stage; the stages add up to the end-to-end latency.",
        labels=("camera", "stage"),
    )
    whole = HistogramMetricFamily(
        f"{PREFIX}_end_to_end_latency_seconds",
        "From the capture of a frame to the publication of its mask, by the clock of its capture.",
        labels=("camera", "clock"),
    )
    interval = HistogramMetricFamily(
        f"{PREFIX}_frame_interval_seconds", "Between publications.", labels=("camera",)
    )
    for camera in cameras:
        observer = camera.observer
        has_copies = camera.lane.engine.network.backend.has_device_copies
        for stage, histogram in zip(STAGES, observer.stages, strict=True):
            if has_copies or stage not in DEVICE_COPIES:
                _add(stages, histogram, camera.name, stage)
        for clock, histogram in observer.end_to_end.items():
            _add(whole, histogram, camera.name, clock)
        _add(interval, observer.interval, camera.name)
    yield from (stages, whole, interval)


def _add(family: HistogramMetricFamily, histogram: Histogram, *labels: str) -> None:
    family.add_metric(labels, buckets=histogram.cumulative(), sum_value=histogram.sum_s)


def _age(cameras: Sequence[Watched], now_ns: int) -> Metric:
    age = gauge(
        "frame_age_seconds", "From the capture of the newest published frame until now.", "camera"
    )
    for camera in cameras:
        if camera.observer.capture_ns is not None:
            age.add_metric([camera.name], (now_ns - camera.observer.capture_ns) * 1e-9)
    return age


def _signals(cameras: Sequence[Watched], now_ns: int) -> Iterator[Metric]:
    up = gauge("source_up", "1 while frames come, with faults or without.", "camera")
    reconnects = counter(
        "source_reconnects",
        "Outages that ended when the source was opened again, by what they began with.",
        "camera",
        "reason",
    )
    outages = counter("source_outages", "Times without signal.", "camera", "reason")
    silent = counter("source_outage_seconds", "Time without signal.", "camera")
    stalls = counter("stalls", "Outages that began with silence instead of an error.", "camera")
    for camera in cameras:
        record = camera.lane.source.record
        up.add_metric([camera.name], _is_up(camera.lane))
        for cause in ("stall", "lost", "end"):
            reconnects.add_metric([camera.name, cause], record.reconnects[cause])
            outages.add_metric([camera.name, cause], record.causes[cause])
        silent.add_metric([camera.name], record.summary(now_ns).total_s)
        stalls.add_metric([camera.name], record.causes["stall"])
    yield from (up, reconnects, outages, silent, stalls)


def _is_up(lane: Lane) -> bool:
    return lane.first_ns is not None and lane.end is None and lane.source.state in SIGNALS


def _queues(cameras: Sequence[Watched]) -> Iterator[Metric]:
    length = gauge(
        "queue_length", "Results that an output was handed and has not done yet.", "camera", "queue"
    )
    dropped = counter(
        "output_dropped", "Results that an output had no room for.", "camera", "queue"
    )
    for camera in cameras:
        waiting: dict[str, int] = {}
        lost: dict[str, int] = {}
        for worker in camera.lane.outlets.workers:
            label = redact(worker.label)
            waiting[label] = waiting.get(label, 0) + worker.pending
            lost[label] = lost.get(label, 0) + worker.dropped
        for label, count in waiting.items():
            length.add_metric([camera.name, label], count)
            dropped.add_metric([camera.name, label], lost[label])
    yield from (length, dropped)


def _content(cameras: Sequence[Watched], now_ns: int) -> Metric:
    ratios = gauge(
        "class_pixels_ratio",
        "Share of the newest mask, looked at once a second.",
        "camera",
        "class",
    )
    for camera in cameras:
        names = camera.lane.engine.network.manifest.labels.names
        shares = camera.observer.class_ratios(len(names), now_ns - CONTENT_AGE_NS)
        for name, share in zip(names, shares, strict=False):
            ratios.add_metric([camera.name, name], share)
    return ratios
