"""Warm-up, the fates of frames, and the live window."""

import time

import pytest

from edge_runtime.recorder import WINDOW_FRAMES, Recorder, Tally, WarmUp
from edge_runtime.timing import FrameStamps
from edge_runtime.video import SourceCounters

MS = 1_000_000


def stamps_at(publish_ms, latency_ms=20.0, engine_ms=10.0):
    publish, capture = round(publish_ms * MS), round((publish_ms - latency_ms) * MS)
    start = publish - round(engine_ms * MS)
    return FrameStamps(
        capture, capture, capture, capture, start, start, start, publish, publish, publish, publish
    )


def record(recorder, engine_times_ms, interval_ms=33.0, start_ms=1000.0):
    for number, engine_ms in enumerate(engine_times_ms):
        recorder.published(stamps_at(start_ms + number * interval_ms, engine_ms=engine_ms))


def test_warm_up_ends_when_two_windows_agree():
    recorder = Recorder()

    # given 40 slow frames, then steady ones
    record(recorder, [50.0 - number for number in range(40)] + [10.0] * 100)

    assert recorder.warmup.converged
    assert recorder.warmup.first_ns == 50 * MS
    # windows of 30 agree once the median of the earlier one lies in the steady part
    assert 40 < recorder.warmup.frames <= 40 + 30
    result = recorder.figures.latencies[0]
    assert result.n == 140 - recorder.warmup.frames
    assert recorder.figures.latencies[2].max_ms == pytest.approx(10.0)


def test_the_frames_that_proved_stability_are_in_the_figures():
    recorder = Recorder()

    record(recorder, [10.0] * 60)

    assert recorder.warmup.converged
    assert recorder.warmup.frames == recorder.figures.latencies[0].n == 30


def test_warm_up_lasts_at_most_30_seconds():
    warmup = WarmUp()

    # given a latency that never settles
    for number in range(2000):
        warmup.add((10 + 10 * (number % 60 // 30) + number) * MS, number * 33 * MS)
        if warmup.over:
            break

    assert not warmup.converged
    assert warmup.frames == pytest.approx(30_000 / 33, abs=2)


def test_run_that_ends_before_its_warm_up_keeps_all_frames_but_the_first():
    recorder = Recorder()

    record(recorder, [80.0] + [10.0] * 19)

    assert not recorder.warmup.over
    assert recorder.warmup.frames == 20
    assert recorder.figures.latencies[2].n == 19
    assert recorder.figures.latencies[2].max_ms == pytest.approx(10.0)


def test_jitter_is_the_change_of_the_interval():
    recorder = Recorder()

    # given a first frame that counts for nothing, then intervals of 30, 40 and 30 ms
    for at_ms in (500, 1000, 1030, 1070, 1100):
        recorder.published(stamps_at(at_ms))

    assert recorder.figures.jitter.n == 2
    assert recorder.figures.jitter.mean_ms == pytest.approx(10.0)


def test_window_forgets_what_is_older_than_ten_seconds():
    recorder = Recorder()
    for number in range(600):
        recorder.published(stamps_at(1000 + 100 * number, latency_ms=500 if number < 400 else 20))

    now = recorder.snapshot(round((1000 + 100 * 599) * MS))

    assert now.fps == pytest.approx(10.0, rel=0.05)
    assert now.p50_ms == pytest.approx(20.0)
    assert now.age_ms == pytest.approx(20.0)
    # 101 frames are too few for a 95th percentile
    assert now.p95_ms is None


def test_window_shows_nothing_after_ten_silent_seconds():
    recorder = Recorder()
    record(recorder, [10.0] * 50)

    now = recorder.snapshot(60_000 * MS)

    assert now.fps == 0.0
    assert now.p50_ms is None
    assert now.age_ms > 50_000


def test_window_has_a_fixed_size():
    recorder = Recorder()
    record(recorder, [0.1] * (WINDOW_FRAMES + 500), interval_ms=0.2)

    assert len(recorder._window) == WINDOW_FRAMES


def test_r8_recording_costs_little():
    recorder = Recorder()
    frames = [stamps_at(1000 + 33 * number, engine_ms=10 + number % 5) for number in range(3000)]
    start = time.perf_counter()

    for stamps in frames:
        recorder.published(stamps)

    # a hundredth of a frame of 50 ms; it takes a tenth of that where nothing else runs
    assert (time.perf_counter() - start) / len(frames) < 0.5e-3


def test_frames_that_add_up_give_the_remainder():
    tally = Tally(read=90, inferred=80, published=75, dropped_stale=10, dropped_sink=5)

    assert tally.in_flight(SourceCounters(captured=100, dropped_queue=9), complete=False) == 1


@pytest.mark.parametrize(("tally", "counters", "complete"), [
    (Tally(read=10, inferred=9, published=9), SourceCounters(10), False),
    (Tally(read=10, inferred=10, published=9), SourceCounters(10), False),
    (Tally(read=10, inferred=10, published=10), SourceCounters(9), False),
    (Tally(read=10, inferred=10, published=10), SourceCounters(12, 1), True),
], ids=["lost in the loop", "lost at the sinks", "invented", "left at the end"])  # fmt: skip
def test_frames_that_do_not_add_up_are_a_defect(tally, counters, complete):
    with pytest.raises(RuntimeError, match="do not add up"):
        tally.in_flight(counters, complete=complete)
