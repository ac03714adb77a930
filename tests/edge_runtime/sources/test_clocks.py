"""Capture stamps: which are believed, and when they no longer are."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from edge_runtime.sources.clocks import (
    ASSUMED_FRAMES,
    NTP_EPOCH_NS,
    ArrivalClock,
    DriverClock,
    NtpClock,
)

MS = 10**6
FRAME = 33 * MS


def buffer(pts: int) -> SimpleNamespace:
    return SimpleNamespace(pts=pts, duration=FRAME)


def test_a_driver_stamp_is_base_time_plus_presentation_time() -> None:
    clock = DriverClock()

    capture = clock.capture_ns(buffer(500 * MS), 7000 * MS, 7512 * MS)

    assert (capture, clock.source) == (7500 * MS, "driver")


def test_a_driver_stamp_in_the_future_is_never_believed_again() -> None:
    clock = DriverClock()

    first = clock.capture_ns(buffer(20 * MS), 0, 10 * MS)
    second = clock.capture_ns(buffer(30 * MS), 0, 45 * MS)

    assert (first, second, clock.source) == (10 * MS, 45 * MS, "arrival")


def test_a_presentation_time_that_jumps_back_makes_no_frame_ten_seconds_old() -> None:
    clock = DriverClock()

    before = clock.capture_ns(buffer(20_000 * MS), 0, 20_012 * MS)
    after = clock.capture_ns(buffer(10_000 * MS), 0, 20_045 * MS)

    assert (before, after, clock.source) == (20_000 * MS, 20_045 * MS, "arrival")


def test_a_delay_of_always_one_frame_is_taken_for_an_assumption() -> None:
    clock = DriverClock()
    sources = []

    for number in range(ASSUMED_FRAMES + 1):
        stamp = number * FRAME
        clock.capture_ns(buffer(stamp), 0, stamp + FRAME + 50_000)
        sources.append(clock.source)

    assert sources[: ASSUMED_FRAMES - 1] == ["driver"] * (ASSUMED_FRAMES - 1)
    assert sources[-1] == "arrival"


def test_a_measured_delay_near_one_frame_stays_believed() -> None:
    clock = DriverClock()

    for number in range(3 * ASSUMED_FRAMES):
        stamp = number * FRAME
        wobble = 1 * MS if number % 10 == 0 else 0
        clock.capture_ns(buffer(stamp), 0, stamp + FRAME + wobble)

    assert clock.source == "driver"


class StampedBuffer:
    def __init__(self, age_ns: int | None) -> None:
        self.age_ns = age_ns

    def get_reference_timestamp_meta(self, reference: object) -> SimpleNamespace | None:
        assert reference == "ntp caps"
        if self.age_ns is None:
            return None
        return SimpleNamespace(timestamp=time.time_ns() - self.age_ns + NTP_EPOCH_NS)


@pytest.mark.parametrize(
    ("age_ms", "source", "expected_ms"),
    [
        (80, "ntp", 80),
        (-2, "ntp", 0),
        (-5000, "arrival", 0),
        (3_600_000, "arrival", 0),
        (None, "arrival", 0),
    ],
)
def test_a_senders_clock_is_believed_while_plausible(
    age_ms: int | None, source: str, expected_ms: int
) -> None:
    clock = NtpClock("ntp caps")
    arrival = time.monotonic_ns()

    capture = clock.capture_ns(StampedBuffer(None if age_ms is None else age_ms * MS), 0, arrival)

    assert clock.source == source
    assert capture <= arrival
    assert (arrival - capture) / MS == pytest.approx(expected_ms, abs=50)


def test_without_a_clock_capture_is_arrival() -> None:
    assert ArrivalClock("file").capture_ns(buffer(5), 3, 99) == 99
