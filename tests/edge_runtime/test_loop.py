"""The promises of the loop, on a clock that only passes when something takes time."""

import numpy as np
import pytest

from edge_runtime.errors import BackendError, SourceError
from edge_runtime.loop import Loop, LoopOptions
from edge_runtime.policy import EVERY, LATEST, Policy
from edge_runtime.runner import execute
from edge_runtime.supervision.options import SupervisionOptions
from edge_runtime.timing import STAGES
from tests.scripted import (
    MS,
    FakeClock,
    ScriptedBackend,
    ScriptedSource,
    scripted_manifest,
)

INTERVAL_MS = 1000 / 30


class Collected:
    """Keeps what a subscriber saw, the masks copied."""

    def __init__(self):
        self.results = []
        self.masks = []

    def __call__(self, result):
        self.results.append(result)
        self.masks.append(None if result.mask is None else result.mask.copy())

    def of(self, state):
        return [result for result in self.results if result.state == state]


def play(policy, infer_ms=10.0, head="mask", copies_ms=0.0, duration_s=None, **camera):
    """Run a scripted camera through a scripted engine; gives the report and what was published."""
    clock, seen = FakeClock(), Collected()
    backend = ScriptedBackend(
        clock, infer_ms=infer_ms, copies_ms=copies_ms, manifest=scripted_manifest(head)
    )
    source = ScriptedSource(clock, latest=policy is None or not policy.lossless, **camera)
    options = LoopOptions(policy=policy, clock=clock, on_result=seen, duration_s=duration_s)
    with backend:
        outcome = execute(backend, source, backend.manifest, options)
    assert source.closed
    return outcome, seen


@pytest.mark.parametrize("slowness", [1.5, 3, 5])
def test_r1_frame_age_is_bounded_when_the_network_is_too_slow(slowness):
    # given a network `slowness` times slower than the camera, for 60 s
    service_ms = slowness * INTERVAL_MS

    outcome, seen = play(LATEST, infer_ms=service_ms, count=1800)

    ages = [result.latency_ms for result in seen.results]
    assert len(ages) > 300
    assert max(ages) <= service_ms + 2 * INTERVAL_MS
    assert outcome.report.frames.dropped.queue > 0


def test_r1_age_grows_without_the_policy():
    # the same camera and network, nothing dropped: what the policy is there to prevent
    _, seen = play(EVERY, infer_ms=3 * INTERVAL_MS, count=300)

    assert seen.results[-1].latency_ms > 5_000


def test_r3_every_loses_nothing_however_slow_the_consumer():
    outcome, seen = play(EVERY, infer_ms=100.0, count=200, live=False)

    assert [result.index for result in seen.results] == list(range(200))
    frames = outcome.report.frames
    assert (frames.captured, frames.published, frames.in_flight) == (200, 200, 0)
    assert frames.dropped.queue == frames.dropped.sink == frames.dropped.stale == 0


POLICIES = [EVERY, LATEST, Policy("deadline", 40.0), Policy("deadline", 70.0)]


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("camera", [
    {},
    {"live": False},
    {"arrival_ms": 12.0},
    {"gaps": (5, 6, 40)},
    {"pauses_ms": {30: 3500.0}},
    {"pts_jumps_ms": {20: 1e6, 40: -2e6}},
], ids=["live", "file", "driver clock", "burst_drop", "stall", "pts_jump"])  # fmt: skip
@pytest.mark.parametrize("copies_ms", [0.0, 3.0])
def test_r4_stages_and_frames_add_up(policy, camera, copies_ms):
    times = [float(time) for time in np.random.default_rng(7).uniform(5, 90, 150)]

    outcome, seen = play(policy, infer_ms=times, copies_ms=copies_ms, count=150, **camera)

    for result in seen.of("ok"):
        assert sum(result.stamps.stages_ns()) == result.stamps.publish - result.capture_ns
        assert min(result.stamps.stages_ns()) >= 0
    frames, dropped = outcome.report.frames, outcome.report.frames.dropped
    assert frames.captured == (frames.inferred + dropped.queue + dropped.stale + frames.in_flight)
    assert frames.inferred == frames.published + dropped.sink
    assert frames.in_flight == 0
    assert frames.captured == 150 - len(camera.get("gaps", ()))
    assert dropped.source_gap == len(camera.get("gaps", ()))
    means = outcome.report.latency_ms.stages
    total = sum(means[name].mean for name in STAGES if means[name] is not None)
    assert total == pytest.approx(outcome.report.latency_ms.result.mean, abs=1e-6)


def test_stages_have_the_durations_that_were_programmed():
    outcome, _ = play(EVERY, infer_ms=20.0, copies_ms=3.0, arrival_ms=12.0, count=30, fps=10.0)

    stages = outcome.report.latency_ms.stages
    expected = {"arrival": 12, "queue": 0, "preprocess": 2, "h2d": 3, "infer": 20, "d2h": 3,
                "postprocess": 0, "publish": 0}  # fmt: skip
    assert {name: stages[name].mean for name in STAGES} == pytest.approx(expected)
    assert stages["enqueue"] is None
    assert stages["render"] is None
    assert outcome.report.latency_ms.engine.mean == pytest.approx(26.0)
    assert outcome.report.latency_ms.age_at_infer.mean == pytest.approx(17.0)


def test_device_copies_are_null_for_an_engine_without_them():
    outcome, _ = play(EVERY, count=30)

    assert outcome.report.latency_ms.stages["h2d"] is None
    assert outcome.report.latency_ms.stages["d2h"] is None


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_r9_a_mask_belongs_to_its_frame(policy):
    # given the frame number painted into each picture, uneven times, gaps and drops
    times = [float(time) for time in np.random.default_rng(1).uniform(5, 120, 200)]

    _, seen = play(policy, infer_ms=times, count=200, gaps=(9, 10, 77))

    masks = [(result, mask) for result, mask in zip(seen.results, seen.masks, strict=True)
             if mask is not None]  # fmt: skip
    assert len(masks) > 20
    for result, mask in masks:
        assert np.unique(mask).tolist() == [result.index % 256]
        assert result.pts_ns == round(result.index * 1e9 / 30)


@pytest.mark.parametrize("policy", [LATEST, Policy("deadline", 50.0)], ids=str)
def test_r10_neither_stale_frames_nor_silence_carry_a_mask(policy):
    # given an engine that hangs for 4 s and a camera that stops for 3 s
    times = [20.0] * 30 + [4000.0] + [20.0]

    _, seen = play(policy, infer_ms=times, count=200, pauses_ms={180: 3000.0},
                   gaps=(5, 6, 7), pts_jumps_ms={50: -1000.0})  # fmt: skip

    assert len(seen.of("no-signal")) == 1
    for result, mask in zip(seen.results, seen.masks, strict=True):
        assert (mask is not None) == (result.state == "ok")
        assert (result.mask_on_frame() is not None) == (result.state == "ok")
        if mask is not None:
            assert np.unique(mask).tolist() == [result.index]


def test_deadline_does_not_infer_what_is_too_old():
    # given frames that are 60 ms old when they arrive
    outcome, seen = play(Policy("deadline", 50.0), arrival_ms=60.0, count=20)

    assert outcome.report.frames.inferred == 0
    assert outcome.report.frames.dropped.stale == 20
    assert {result.state for result in seen.results} == {"stale"}
    assert all(result.stale and result.latency_ms is None for result in seen.results)


def test_late_results_are_published_and_marked():
    # given an engine that alone takes longer than the deadline
    outcome, seen = play(Policy("deadline", 50.0), infer_ms=70.0, count=20)

    frames = outcome.report.frames
    assert frames.late == frames.published > 0
    assert all(result.stale and result.mask is not None for result in seen.of("ok"))


def test_silence_is_told_once_and_its_end_is_noted():
    outcome, seen = play(None, count=60, pauses_ms={20: 5000.0, 40: 5000.0})

    assert [result.index for result in seen.of("no-signal")] == [19, 39]
    assert [fault.kind for fault in outcome.report.faults] == ["stall", "stall"]
    for fault in outcome.report.faults:
        assert fault.recovered_after_s == pytest.approx(5.0, abs=0.05)


def test_silence_is_noticed_within_two_seconds():
    clock, seen = FakeClock(), []
    backend = ScriptedBackend(clock)
    source = ScriptedSource(clock, count=20, pauses_ms={10: 60_000.0})

    def note(result):
        seen.append((result.state, clock()))

    with backend:
        execute(backend, source, backend.manifest, LoopOptions(clock=clock, on_result=note))

    last_ok = max(at for state, at in seen[:10] if state == "ok")
    noticed = next(at for state, at in seen if state == "no-signal")
    assert 1.8 <= (noticed - last_ok) / 1e9 <= 2.0


def test_files_never_lack_signal():
    _, seen = play(EVERY, live=False, count=30, pauses_ms={10: 60_000.0})

    assert not seen.of("no-signal")


@pytest.mark.parametrize(("fps", "limit_s"), [(30.0, 1.85), (None, 1.85), (1.0, 2.0), (0.2, 10.0)])
def test_slow_sources_may_be_silent_for_two_intervals(fps, limit_s):
    assert SupervisionOptions().silence_limit_s(fps) == pytest.approx(limit_s)


@pytest.mark.parametrize(("live", "expected"), [(True, "latest"), (False, "every")])
def test_policy_is_by_default_what_suits_the_source(live, expected):
    clock = FakeClock()
    backend = ScriptedBackend(clock)
    source = ScriptedSource(clock, count=10, live=live, latest=live)

    with backend:
        outcome = execute(backend, source, backend.manifest, LoopOptions(clock=clock))

    assert outcome.report.source.policy == expected


def test_duration_ends_the_run():
    outcome, _ = play(LATEST, count=1000, duration_s=3.0)

    assert outcome.report.ended == "duration"
    assert outcome.report.duration_s == pytest.approx(3.0, abs=0.1)
    assert outcome.report.frames.published == pytest.approx(90, abs=2)
    assert outcome.report.fps.publish == pytest.approx(30.0, rel=0.02)


def test_logits_become_the_class_of_the_highest_score():
    _, seen = play(EVERY, head="logits", count=3)

    assert [np.unique(mask).tolist() for mask in seen.masks] == [[0], [1], [2]]
    assert all(mask.dtype == np.uint8 for mask in seen.masks)


def test_mask_on_frame_has_the_size_of_the_frame():
    _, seen = play(EVERY, count=1)

    assert seen.results[0].mask_on_frame().shape == seen.results[0].geometry.frame == (8, 12)


@pytest.mark.parametrize("broken", ["source", "engine"])
def test_failure_ends_the_run_with_a_report(broken):
    clock = FakeClock()
    backend = ScriptedBackend(clock, fail_at=12 if broken == "engine" else None)
    source = ScriptedSource(clock, fail_after=12 if broken == "source" else None)

    with backend:
        outcome = execute(backend, source, backend.manifest, LoopOptions(clock=clock))

    assert isinstance(outcome.failure, BackendError if broken == "engine" else SourceError)
    assert outcome.report.ended == "error"
    assert outcome.report.frames.published == 12
    assert outcome.report.faults[-1].kind == type(outcome.failure).__name__
    assert source.closed


def test_failure_before_the_first_frame_has_no_report():
    clock = FakeClock()
    backend = ScriptedBackend(clock)

    with backend, pytest.raises(SourceError, match="gone"):
        execute(backend, ScriptedSource(clock, fail_after=0), backend.manifest,
                LoopOptions(clock=clock))  # fmt: skip


def test_frames_that_a_source_does_not_account_for_are_a_defect():
    clock = FakeClock()
    backend = ScriptedBackend(clock)
    source = ScriptedSource(clock, count=20)

    def invent(result):
        if result.index == 10:
            source.counters.captured += 1

    with backend, pytest.raises(RuntimeError, match="do not add up"):
        execute(backend, source, backend.manifest, LoopOptions(clock=clock, on_result=invent))


def test_what_a_callback_raises_is_passed_on_and_the_source_is_closed():
    clock = FakeClock()
    backend = ScriptedBackend(clock)
    source = ScriptedSource(clock)

    def fail(result):
        raise ZeroDivisionError

    with backend, pytest.raises(ZeroDivisionError):
        execute(backend, source, backend.manifest, LoopOptions(clock=clock, on_result=fail))
    assert source.closed


def test_latency_known_to_the_callback_is_the_recorded_one():
    outcome, seen = play(EVERY, count=25)

    told = [result.latency_ms for result in seen.results]
    assert outcome.report.latency_ms.result.max == pytest.approx(max(told[1:]))
    assert outcome.report.latency_ms.result.mean == pytest.approx(np.mean(told[1:]))


def test_loop_asks_for_no_frame_after_it_was_told_to_stop():
    clock = FakeClock()
    backend = ScriptedBackend(clock)
    source = ScriptedSource(clock)
    options = LoopOptions(clock=clock)
    options.on_result = lambda result: options.stop.terminate()

    with backend, source:
        loop = Loop(backend, source, backend.manifest, options)
        assert loop.run() == "terminated"

    assert loop.recorder.tally.read == 1
    assert clock() < 5_200 * MS


def test_latencies_from_two_clocks_never_share_a_distribution():
    # given a driver clock that turns out to be assumed, and is downgraded after 40 frames
    clock, seen = FakeClock(), Collected()
    backend = ScriptedBackend(clock)
    source = ScriptedSource(clock, count=100, arrival_ms=12.0)

    def downgrade(result):
        seen(result)
        if result.index == 39:
            source.arrival_ms = 0.0

    with backend:
        options = LoopOptions(clock=clock, on_result=downgrade)
        report = execute(backend, source, backend.manifest, options).report

    assert [result.timestamp_source for result in seen.results] == ["driver"] * 40 + [
        "arrival"
    ] * 60
    assert report.source.timestamp_source == "arrival"
    assert report.latency_ms.result.max == pytest.approx(12.0, abs=0.1)
    assert report.latency_ms.stages["arrival"].max == 0.0
    assert report.faults[0].kind == "clock driver became arrival"


def test_a_clock_that_changes_for_a_while_does_not_cost_the_figures():
    # given a camera that tells capture times, except for a few frames in between
    clock, seen = FakeClock(), Collected()
    backend = ScriptedBackend(clock)
    source = ScriptedSource(clock, count=200, arrival_ms=12.0)

    def change(result):
        seen(result)
        source.arrival_ms = 0.0 if 100 <= result.index < 110 else 12.0

    with backend:
        options = LoopOptions(clock=clock, on_result=change)
        report = execute(backend, source, backend.manifest, options).report

    assert report.source.timestamp_source == "driver"
    assert report.latency_ms.result.n > 150
    assert report.latency_ms.stages["arrival"].min == 12.0
