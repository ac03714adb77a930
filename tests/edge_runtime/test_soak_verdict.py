"""Verdicts on synthetic samples: growth of any kind fails; what only looks like it does not."""

import math

import numpy as np
import pytest

from edge_runtime.durations import parse_duration
from edge_runtime.errors import OptionError
from edge_runtime.options import RunOptions
from edge_runtime.report import Dropped, Frames
from edge_runtime.soak.accelerate import accelerated
from edge_runtime.soak.latencies import Latencies, bin_of, new_counts, quantile_ms
from edge_runtime.soak.options import Limits, SoakOptions
from edge_runtime.soak.samples import SampleTable
from edge_runtime.soak.trend import theil_sen
from edge_runtime.soak.verdict import (
    judge_count,
    judge_frames,
    judge_latency,
    judge_memory,
    measure_length,
)

LIMITS = Limits()
HOUR_S = 3600.0


def table_of(
    hours=24.0, n=600, fps=30.0, rss=lambda h: 90.0, fds=lambda h: 14, threads=lambda h: 5
):
    """A run's samples, each quantity a function of the hour."""
    table = SampleTable(60.0)
    for h in np.linspace(0.0, hours, n):
        table.add({
            "t_s": h * HOUR_S, "frames": round(h * HOUR_S * fps), "rss_mb": rss(h),
            "descriptors": fds(h), "threads": threads(h), "p99_ms": 20.0,
        })  # fmt: skip
    return table


def test_memory_that_leaks_slowly_fails_and_memory_that_swings_does_not():
    # Given a leak of 1.5 MB an hour under swings ten times as large, and the swings alone
    rng = np.random.default_rng(0)
    swing = lambda h: 90 + 8 * math.sin(40 * h) + rng.normal()  # noqa: E731

    leaking = judge_memory(table_of(rss=lambda h: swing(h) + 1.5 * h), None, LIMITS)
    swinging = judge_memory(table_of(rss=swing), None, LIMITS)

    assert not leaking.passed
    assert leaking.value == pytest.approx(1.5, abs=0.2)
    assert "limit 1" in leaking.says
    assert swinging.passed, swinging.says


def test_memory_taken_in_the_warm_up_is_no_leak():
    warm = judge_memory(table_of(rss=lambda h: 90 + 200 * min(h / 0.1, 1.0)), None, LIMITS)

    assert warm.passed, warm.says


def test_a_single_burst_of_memory_that_is_given_back_is_no_leak():
    burst = judge_memory(table_of(rss=lambda h: 400 if 20 < h < 22 else 90), None, LIMITS)

    assert burst.passed, burst.says


@pytest.mark.parametrize(("grown_mb", "passed"), [(0.6, True), (1.5, False)])
def test_a_short_run_is_judged_by_its_whole_growth(grown_mb, passed):
    # Given a minute, in which noise of half a megabyte would be 36 MB an hour
    minute = 1 / 60

    verdict = judge_memory(
        table_of(minute, n=60, rss=lambda h: 90 + grown_mb * h / minute), None, LIMITS
    )

    assert verdict.passed is passed, verdict.says


def test_an_accelerated_run_counts_its_hours_in_frames():
    # Given 200,000 frames within ten minutes, and 3 MB more at their end
    fps = 200_000 / 600
    table = table_of(1 / 6, fps=fps, rss=lambda h: 90 + 3 * 6 * h)

    length = measure_length(table, frames_per_hour=108_000.0)
    verdict = judge_memory(table, 108_000.0, LIMITS)

    assert length.hours == pytest.approx(0.9 * 200_000 / 108_000, rel=0.01)
    assert verdict.value == pytest.approx(3 / (200_000 / 108_000), rel=0.01)
    assert not verdict.passed


@pytest.mark.parametrize("name", ["descriptors", "threads"])
@pytest.mark.parametrize(
    ("count", "passed"),
    [
        (lambda h: 14, True),
        (lambda h: 14 + int(h), False),
        (lambda h: 14 + (h > 12), False),
        (lambda h: 17 if int(10 * h) % 7 == 0 else 14, True),
        (lambda h: 30 if h < 0.1 else 14, True),
    ],
    ids=["flat", "one more each hour", "one kept open", "reconnections", "only at first"],
)
def test_descriptors_and_threads_are_to_be_flat(name, count, passed):
    table = table_of(fds=count, threads=count)

    verdict = judge_count(table, name, warm_up_s=600.0)

    assert verdict.passed is passed, verdict.says


def latencies_of(law, frames=60_000, fps=30.0):
    found = Latencies()
    rng = np.random.default_rng(1)
    for i, noise in enumerate(rng.exponential(1.0, frames)):
        found.add(law(i / frames) + noise, i / fps)
    return found.parts()


@pytest.mark.parametrize(
    ("law", "passed"),
    [(lambda x: 20.0, True), (lambda x: 20 + 5 * x, False), (lambda x: 20 + 1.5 * x, True),
     (lambda x: 30 - 10 * x, True), (lambda x: 80 if x < 0.02 else 20, True)],
    ids=["steady", "25 % slower", "7 % slower", "faster", "slow while warming up"],
)  # fmt: skip
def test_latency_may_not_drift_by_a_tenth(law, passed):
    verdict = judge_latency({"": latencies_of(law)}, 200.0, LIMITS)

    assert verdict.passed is passed, verdict.says


def test_one_camera_of_two_that_grows_slower_fails_and_is_named():
    cameras = {"front": latencies_of(lambda x: 20.0), "rear": latencies_of(lambda x: 20 + 8 * x)}

    verdict = judge_latency(cameras, 200.0, LIMITS)

    assert not verdict.passed
    assert "of rear" in verdict.says


def test_too_little_is_not_a_pass():
    few = table_of(n=5)

    assert not judge_memory(few, None, LIMITS).passed
    assert not judge_memory(SampleTable(1.0), None, LIMITS).passed
    assert not judge_count(few, "threads", 600.0).passed
    assert not judge_latency({"": latencies_of(lambda x: 20.0, 900)}, 0.0, LIMITS).passed
    assert not judge_latency({}, 0.0, LIMITS).passed
    assert not judge_frames({}).passed


def test_frames_without_a_fate_fail():
    whole = Frames(100, 90, 88, Dropped(queue=6, stale=3, sink=2), in_flight=1)
    leaky = Frames(100, 90, 88, Dropped(queue=6, stale=1, sink=2), in_flight=1)

    assert judge_frames({"": whole}).passed
    assert not judge_frames({"front": whole, "rear": leaky}).passed
    assert "2 of rear" in judge_frames({"front": whole, "rear": leaky}).says


def test_samples_and_latencies_are_bounded_and_lose_no_peak():
    # Given far more samples and frames than are kept, with one peak
    table, latencies = SampleTable(1.0, most=20), Latencies(parts=6, frames=10)
    t_s = 0.0
    while t_s < 1000:
        table.add({"t_s": t_s, "p99_ms": 500.0 if t_s == 7 else 20.0})
        t_s += table.interval_s
    for i in range(1000):
        latencies.add(20.0, float(i))

    assert len(table) <= 20
    assert table.interval_s == 64.0
    assert table.column("p99_ms").max() == 500.0
    assert (np.diff(table.column("t_s")) > 0).all()
    assert len(latencies.parts()) <= 6
    assert sum(part.frames for part in latencies.parts()) == 1000
    begins = [part.begin_s for part in latencies.parts()]
    assert begins == sorted(begins)


def test_quantiles_are_right_to_a_quarter_of_a_percent():
    values = np.random.default_rng(2).lognormal(3.0, 1.0, 5000)
    counts = new_counts()
    for value in values:
        counts[bin_of(value)] += 1

    for share in (0.01, 0.5, 0.99, 1.0):
        exact = np.quantile(values, share, method="inverted_cdf")
        assert quantile_ms(counts, share) == pytest.approx(exact, rel=0.003)
    assert quantile_ms(new_counts(), 0.5) is None


def test_the_slope_does_not_follow_a_quarter_of_wild_points():
    x = np.arange(100.0)
    y = 2.0 * x
    y[::4] = 1e6

    assert theil_sen(x, y) == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("24h", 86_400), ("30m", 1800), ("90s", 90), ("1h30m", 5400), ("2d", 172_800), ("0.5", 0.5),
     ("1.5H", 5400)],
)  # fmt: skip
def test_durations_are_read_as_people_write_them(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "24 hours", "-3", "0s", "nan", "inf", "3x"])
def test_durations_that_cannot_be_read_are_refused(text):
    with pytest.raises(OptionError, match="duration"):
        parse_duration(text)


def test_options_that_contradict_are_refused():
    with pytest.raises(OptionError, match="either"):
        SoakOptions(frames=5)
    with pytest.raises(OptionError, match="either"):
        SoakOptions(run=RunOptions())
    with pytest.raises(OptionError, match="every frame"):
        SoakOptions(run=RunOptions(duration_s=5.0, policy="latest"), accelerated=True)
    with pytest.raises(OptionError, match="drift"):
        Limits(p99_drift=0.0)


@pytest.mark.parametrize("text", ["test:", "rtsp://camera/s", "/dev/video0", "fault:stall@5:test:"])
def test_a_source_with_a_pace_of_its_own_cannot_be_accelerated(text):
    with pytest.raises(OptionError, match="pace"):
        accelerated(text)


def test_the_interval_follows_the_length():
    assert SoakOptions().first_interval_s == 60.0
    assert SoakOptions(run=RunOptions(duration_s=60.0)).first_interval_s == 1.0
    assert SoakOptions(run=RunOptions(duration_s=1800.0)).first_interval_s == 3.0
