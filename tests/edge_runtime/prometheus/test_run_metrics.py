"""What a run tells Prometheus is what its own report and log of frames say."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime.frames_log import FramesLog
from edge_runtime.loop import LoopOptions
from edge_runtime.policy import EVERY, LATEST, Policy
from edge_runtime.runner import execute
from edge_runtime.sinks.outlets import Outlets
from edge_runtime.sinks.worker import SLOTS, SinkWorker
from edge_runtime.telemetry.readings import Readings
from edge_runtime.timing import STAGES
from tests.scripted import LABELS, MS, SIZE, FakeClock, ScriptedBackend, ScriptedSource

pytest.importorskip("prometheus_client", reason="the extra `metrics` is not installed")

from edge_runtime.prometheus.histogram import BOUNDS_LE, BOUNDS_NS, Histogram
from edge_runtime.prometheus.metrics import CONTENT_TYPE, RunMetrics
from edge_runtime.prometheus.observer import FrameObserver
from tests.edge_runtime.prometheus.exposed import Exposed

CAMERA = {"camera": "camera1"}


class Played:
    """A scripted run with metrics: its report, results, and expositions after and during it."""

    def __init__(self, policy=LATEST, infer_ms=10.0, outlets=None, each=None, log=None,
                 backend=None, sensors=(), **camera):  # fmt: skip
        self.clock = FakeClock()
        self.metrics = RunMetrics(self.clock)
        self.results = []
        backend = backend or ScriptedBackend(self.clock, infer_ms=infer_ms)
        backend.clock = self.clock
        source = ScriptedSource(self.clock, latest=not policy.lossless, **camera)
        options = LoopOptions(
            policy=policy,
            clock=self.clock,
            outlets=outlets or Outlets(),
            on_result=None if log else self._noting(each),
            log=self._noting(log) if log else None,
        )
        with backend:
            outcome = execute(
                backend, source, backend.manifest, options,
                attend=self.metrics.attend, sensors=sensors,
            )  # fmt: skip
        self.report, self.failure = outcome.report, outcome.failure

    def _noting(self, look):
        """A subscriber that keeps results and then lets `look` look at this run."""

        def note(result):
            self.results.append(result)
            if look is not None:
                look(self)

        return note

    def exposed(self):
        return Exposed(self.metrics.exposition()[0])


def recount(durations_ns):
    """(le, durations up to it) by numpy, which knows nothing of our buckets' code."""
    values = np.array(durations_ns)
    counts = [int((values <= bound).sum()) for bound in BOUNDS_NS]
    return dict(zip(BOUNDS_LE, [*counts, len(values)], strict=True))


def buckets(exposed, name, **labels):
    return {bound: exposed(f"{name}_bucket", le=bound, **labels) for bound in BOUNDS_LE}


def test_a_histogram_counts_each_duration_once_and_a_bound_in_the_bucket_below_it():
    durations = [0, 1, MS, MS + 1, 33 * MS, 40 * MS, 10_000 * MS, 10_000 * MS + 1, 10**13]
    histogram = Histogram()
    for duration in durations:
        histogram.add_ns(duration)

    assert dict(histogram.cumulative()) == recount(durations)
    assert histogram.sum_s == pytest.approx(sum(durations) * 1e-9)


def test_frames_by_fate_are_those_of_the_report():
    # given a network that is too slow for the camera and the deadline, and frames never delivered
    played = Played(Policy("deadline", 60.0), infer_ms=[50.0] * 20 + [70.0],
                    count=200, gaps=(7, 8), arrival_ms=5.0)  # fmt: skip

    exposed, frames = played.exposed(), played.report.frames
    assert frames.late
    assert frames.dropped.queue
    for stage in ("captured", "inferred", "published"):
        assert exposed("frames_total", stage=stage, **CAMERA) == getattr(frames, stage)
    dropped = exposed.labelled("frames_dropped_total", "reason")
    assert dropped == {
        name: getattr(frames.dropped, name)
        for name in ("source_gap", "queue", "damaged", "repeated", "outage", "stale", "sink")
    }
    misses = exposed("deadline_misses_total", **CAMERA)
    assert misses == frames.late + frames.dropped.stale


@pytest.mark.parametrize("copies_ms", [0.0, 1.5])
def test_histograms_hold_every_published_frame_with_its_stages(copies_ms):
    backend = ScriptedBackend(None, infer_ms=[5.0, 12.0, 33.0] * 20, copies_ms=copies_ms)
    played = Played(backend=backend, count=150, arrival_ms=8.0)

    exposed = played.exposed()
    stamps = [result.stamps for result in played.results]
    assert len(stamps) == played.report.frames.published > 60
    whole = [stamp.publish - stamp.capture for stamp in stamps]
    labels = {**CAMERA, "clock": "driver"}
    assert buckets(exposed, "end_to_end_latency_seconds", **labels) == recount(whole)
    total_s = exposed("end_to_end_latency_seconds_sum", **labels)
    assert total_s == pytest.approx(sum(whole) * 1e-9)
    for number, stage in enumerate(STAGES):
        found = buckets(exposed, "stage_latency_seconds", stage=stage, **CAMERA)
        if stage in ("h2d", "d2h") and not copies_ms:
            assert set(found.values()) == {None}, "a stage that the backend lacks"
        else:
            assert found == recount([stamp.stages_ns()[number] for stamp in stamps])
    stages_s = sum(exposed.labelled("stage_latency_seconds_sum", "stage").values())
    assert stages_s == pytest.approx(total_s), "the stages add up to the whole"
    gaps = np.diff([stamp.publish for stamp in stamps])
    assert buckets(exposed, "frame_interval_seconds", **CAMERA) == recount(gaps)


def test_an_outage_shows_while_it_lasts_and_is_counted_after_it():
    ages, ups = {}, {}

    def look(played):
        state, exposed = played.results[-1].state, played.exposed()
        ages[state] = exposed("frame_age_seconds", **CAMERA)
        ups[state] = exposed("source_up", **CAMERA)

    played = Played(count=60, pauses_ms={30: 4000.0}, each=look)

    exposed, outages = played.exposed(), played.report.outages
    assert outages.count == 1
    assert ups == {"ok": 1, "no-signal": 0}
    assert ages["no-signal"] > 1.9
    assert ages["ok"] < 0.1
    assert exposed("stalls_total", **CAMERA) == 1
    assert exposed("source_outages_total", reason="stall", **CAMERA) == 1
    assert exposed("source_reconnects_total", reason="stall", **CAMERA) == outages.reconnects
    silent_s = exposed("source_outage_seconds_total", **CAMERA)
    assert silent_s == pytest.approx(outages.total_s)
    assert exposed("source_up", **CAMERA) == 0, "the run is over"


def test_a_run_is_ill_before_its_first_mask_and_when_the_last_one_is_old():
    healths = {}

    def look(played):
        healths[played.results[-1].index] = played.metrics.illness(max_age_s=1.0)

    played = Played(count=40, pauses_ms={30: 4000.0}, each=look)

    assert "no mask yet" in RunMetrics().illness()
    assert healths[10] is None
    assert "s old" in healths[29]
    assert healths[35] is None
    played.clock.pass_ms(20_000)
    assert "stopping" in played.metrics.illness()


def test_an_output_that_is_too_slow_shows_as_a_queue_and_as_drops():
    class Stuck:
        label = "rtsp://viewer:hunter2@host/x"

        def __init__(self):
            self.go = threading.Event()

        def open(self):
            pass

        def consume(self, result):
            self.go.wait()

        def close(self):
            pass

        def discard(self):
            pass

    sink = Stuck()
    worker = SinkWorker(sink, SIZE)
    seen = []

    def log(played):
        if len(played.results) == 20:
            seen.append(played.exposed())
            sink.go.set()

    played = Played(outlets=Outlets([worker], null=False), log=log, count=30)

    (during,) = seen
    queue = {"queue": "rtsp://***@host/x"}
    assert during("queue_length", **queue, **CAMERA) == SLOTS
    assert during("output_dropped_total", **queue, **CAMERA) == 20 - SLOTS
    assert during("frames_dropped_total", reason="sink", **CAMERA) == 20 - SLOTS
    after = played.exposed()
    assert after("queue_length", **queue, **CAMERA) == 0
    assert after("frames_dropped_total", reason="sink", **CAMERA) == (
        played.report.frames.dropped.sink
    )
    assert b"hunter2" not in played.metrics.exposition()[0]


def test_a_failing_engine_and_exchanged_models_are_counted():
    played = Played(count=40, backend=ScriptedBackend(None, fail_at=12))

    exposed = played.exposed()
    assert played.failure is not None
    assert exposed("inference_errors_total") == 1
    assert exposed.labelled("engine_reloads_total", "result") == {
        "served": 0, "refused": 0, "rolled-back": 0,
    }  # fmt: skip
    assert exposed(
        "engine_info", sha256="0" * 64, model="scripted", precision="", backend="scripted 1.0",
        tensorrt="", gpu="",
    ) == 1  # fmt: skip


def test_classes_are_shares_of_a_mask_of_this_second():
    observer, mask = FrameObserver(), np.zeros((300, 400), np.uint8)
    mask[:, 200:] = 2
    mask[:75] = 255
    played = Played(count=1)
    result = replace(played.results[0], mask=mask)

    observer(result)

    now_ns = result.stamps.publish
    ratios = observer.class_ratios(len(LABELS), now_ns)
    assert ratios == pytest.approx([0.375, 0, 0.375], abs=0.01), "a quarter is of no class"
    mask[:] = 1
    assert observer.class_ratios(len(LABELS), now_ns) == ratios, "a copy, not the engine's memory"
    assert observer.class_ratios(len(LABELS), now_ns + 1) == [], "too old"
    assert played.exposed()("class_pixels_ratio", **CAMERA, **{"class": "a"}) == 1


def test_the_sensors_of_the_machine_are_told_in_base_units():
    class Board:
        name = "board"
        looks = 0

        def read(self):
            self.looks += 1
            return Readings(
                rails_w={"VDD_IN": 11.5},
                temperatures_c={"gpu-thermal": 61.0},
                clocks_mhz={"gpu": 1300.5},
                gpu_memory_mb=512.0,
                events={"oc1_thermal": 3 + self.looks},
                tells_throttling=True,
            )

        def close(self):
            pass

    played = Played(count=5, sensors=[Board()])

    exposed = played.exposed()
    assert exposed("power_watts", rail="VDD_IN") == 11.5
    assert exposed("temperature_celsius", zone="gpu-thermal") == 61
    assert exposed("clock_hertz", unit="gpu") == pytest.approx(1.3005e9)
    assert exposed("gpu_memory_bytes") == pytest.approx(5.12e8)
    events = played.report.throttle_events
    assert events
    assert exposed.labelled("throttle_events_total", "kind") == {
        "oc1_thermal": events, "clock-below-lock": 0,
    }  # fmt: skip


def test_what_nothing_tells_has_no_value():
    exposed = Played(count=5).exposed()

    assert exposed.labelled("power_watts", "rail") == {}
    assert exposed.labelled("throttle_events_total", "kind") == {}


def test_the_number_of_series_does_not_grow_with_the_frames():
    counts = {}

    def look(played):
        if (number := len(played.results)) in (100, 900):
            counts[number] = played.exposed().series

    Played(EVERY, count=1000, live=False, each=look)

    assert counts[100] == counts[900]
    assert len(counts[100]) < 300


def test_metrics_are_read_while_the_run_goes_on_and_never_fall():
    metrics, over, seen = RunMetrics(), threading.Event(), []

    def scrape():
        while not over.is_set():
            seen.append(Exposed(metrics.exposition()[0]))

    clock = FakeClock()
    source = ScriptedSource(clock, count=4000, live=False, latest=False)
    with ScriptedBackend(clock) as backend:
        thread = threading.Thread(target=scrape)
        thread.start()
        try:
            execute(backend, source, backend.manifest, LoopOptions(policy=EVERY, clock=clock),
                    attend=metrics.attend)  # fmt: skip
        finally:
            over.set()
            thread.join()

    published = [exposed("frames_total", stage="published", **CAMERA) or 0 for exposed in seen]
    assert published == sorted(published)
    for exposed in seen:
        stages = [exposed("frames_total", stage=stage, **CAMERA) or 0
                  for stage in ("published", "inferred", "captured")]  # fmt: skip
        assert stages == sorted(stages)
        counts = buckets(exposed, "stage_latency_seconds", stage="infer", **CAMERA)
        assert list(counts.values()) == sorted(counts.values(), key=lambda count: count or 0)


def test_the_exposition_says_what_format_it_is():
    content, content_type = RunMetrics().exposition()

    assert content_type == CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"
    assert Exposed(content).names >= {"hyperseg_build_info", "process_cpu_seconds_total"}


def test_the_log_of_frames_agrees(tmp_path):
    path = tmp_path / "frames.jsonl"
    with FramesLog(path, has_device_copies=False) as log:
        played = Played(count=100, log=lambda run: log(run.results[-1]), arrival_ms=8.0)

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    results_ns = [round(line["latency_ms"]["result"] * 1e6) for line in lines]
    found = buckets(
        played.exposed(), "end_to_end_latency_seconds", clock="driver", camera="camera1"
    )
    assert found == recount(results_ns)
