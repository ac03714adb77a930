"""Sets of results: which belong together, and what is counted when one is missing."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import OptionError
from edge_runtime.geometry import FrameGeometry
from edge_runtime.result import Result
from edge_runtime.rig.matching import OPEN_SETS, SetMatcher
from tests.scripted import MS, SIZE

CAMERAS = ("left", "right", "rear")
INTERVAL_MS = 66.0
TOLERANCE_MS = 10.0


def result(at_ms, index=0, clock="arrival"):
    geometry = FrameGeometry((8, 12), SIZE, "stretch")
    mask = np.full(SIZE, index % 256, np.uint8)
    return Result(index, None, "ok", clock, round(at_ms * MS), geometry, mask=mask)


class Matched:
    """A matcher and the sets it delivered."""

    def __init__(self, cameras=CAMERAS, tolerance_ms=TOLERANCE_MS):
        self.sets = []
        self.matcher = SetMatcher(cameras, round(tolerance_ms * MS), self.sets.append)

    def add(self, camera, at_ms, index=0, clock="arrival"):
        self.matcher.add(camera, result(at_ms, index, clock))

    def indices(self):
        return [[r.index for r in found.results.values()] for found in self.sets]

    @property
    def counts(self):
        self.matcher.close()
        return self.matcher.complete, self.matcher.incomplete


def test_results_of_one_time_are_one_set_in_the_order_of_the_cameras():
    matched = Matched()
    for index in range(20):
        for camera, offset in (("rear", 0.0), ("left", 4.0), ("right", -3.0)):
            matched.add(camera, 1000 + index * INTERVAL_MS + offset, index)

    assert matched.counts == (20, 0)
    assert matched.indices() == [[index] * 3 for index in range(20)]
    assert [list(found.results) for found in matched.sets] == [list(CAMERAS)] * 20
    assert matched.sets[0].spread_ms == pytest.approx(7.0)
    assert matched.matcher.spread.max_ms == pytest.approx(7.0)


def test_masks_of_a_set_are_its_own():
    matched, reused = Matched(cameras=("left", "right")), result(1000, 1)

    matched.matcher.add("left", reused)
    reused.mask[:] = 99
    matched.add("right", 1001, 2)

    found = matched.sets[0].results
    assert [np.unique(found[name].mask).tolist() for name in ("left", "right")] == [[1], [2]]


def test_results_further_apart_than_the_tolerance_are_no_set():
    matched = Matched(cameras=("left", "right"))
    for index in range(10):
        matched.add("left", 1000 + index * INTERVAL_MS)
        matched.add("right", 1000 + index * INTERVAL_MS + TOLERANCE_MS + 1)

    assert matched.counts == (0, 20)


def test_a_late_camera_still_completes_its_set():
    # given a camera whose results come three frames after those of the others
    matched = Matched()
    for index in range(13):
        if index < 10:
            matched.add("left", index * INTERVAL_MS, index)
            matched.add("right", index * INTERVAL_MS, index)
        if index >= 3:
            matched.add("rear", (index - 3) * INTERVAL_MS, index - 3)

    assert matched.indices() == [[index] * 3 for index in range(10)]
    assert matched.counts == (10, 0)


def test_a_missing_result_costs_one_set():
    matched = Matched()
    for index in range(10):
        for camera in CAMERAS:
            if (camera, index) != ("right", 4):
                matched.add(camera, index * INTERVAL_MS, index)

    assert matched.counts == (9, 1)
    assert [4] * 3 not in matched.indices()


def test_a_silent_camera_makes_every_set_incomplete_and_takes_no_memory():
    matched = Matched()
    for index in range(200):
        matched.add("left", index * INTERVAL_MS)
        matched.add("right", index * INTERVAL_MS)
        assert len(matched.matcher._open) <= OPEN_SETS

    assert matched.counts == (0, 200)


def test_results_without_a_mask_belong_to_no_set():
    matched = Matched(cameras=("left", "right"))

    matched.matcher.add("left", replace(result(1000), mask=None, state="stale"))
    matched.add("right", 1000)

    assert matched.counts == (0, 1)


@pytest.mark.parametrize(
    ("clocks", "said"),
    [
        (("driver", "arrival"), "left by driver, right by arrival"),
        (("ntp", "driver"), "left by ntp, right by driver"),
        (("file", "file"), "left is a file"),
    ],
)
def test_times_that_cannot_be_compared_are_refused_in_one_line(clocks, said):
    left, right = clocks

    def add_both():
        matched = Matched(cameras=("left", "right"))
        matched.add("left", 1000, clock=left)
        matched.add("right", 1000, clock=right)

    with pytest.raises(OptionError, match=said) as caught:
        add_both()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("first_told", "alike"),
    [
        ({"left": 3, "right": 0}, range(3, 10)),
        ({"left": 0, "right": 4}, range(4, 10)),
        ({"left": 3, "right": 4}, [*range(3), *range(4, 10)]),
    ],
)
def test_streams_whose_senders_tell_their_clock_one_after_the_other_are_matched(first_told, alike):
    # given two equal streams, and from which frame on the sender's clock is known
    matched = Matched(cameras=("left", "right"))
    for index in range(10):
        for camera, first in first_told.items():
            clock = "ntp" if index >= first else "arrival"
            matched.add(camera, 1000 + index * INTERVAL_MS, index, clock=clock)

    assert matched.indices() == [[index] * 2 for index in alike]
    assert matched.counts == (len(alike), 2 * (10 - len(alike)))


def test_a_clock_that_changes_later_makes_no_mixed_set():
    # given a pair whose clocks become better one after the other
    matched = Matched(cameras=("left", "right"))
    steps = [("arrival", "arrival"), ("arrival", "ntp"), ("ntp", "ntp")]
    for index, (left, right) in enumerate(steps):
        matched.add("left", index * INTERVAL_MS, index, clock=left)
        matched.add("right", index * INTERVAL_MS, index, clock=right)

    assert matched.indices() == [[0, 0], [2, 2]]
    assert matched.counts == (2, 2)


@given(
    st.lists(
        st.tuples(st.sampled_from(CAMERAS), st.floats(1.0, 100.0), st.floats(-6.0, 6.0)),
        max_size=120,
    )
)
def test_every_set_is_complete_and_close_and_every_result_is_used_once(steps):
    # given cameras that deliver at any times, each in order
    matched, now, added = Matched(), dict.fromkeys(CAMERAS, 1000.0), 0
    for camera, step, jitter in steps:
        now[camera] += step
        matched.add(camera, now[camera] + min(jitter, step / 2), added)
        added += 1

    used = [index for found in matched.indices() for index in found]
    assert len(used) == len(set(used))
    for found in matched.sets:
        captures = [r.capture_ns for r in found.results.values()]
        assert len(captures) == len(CAMERAS)
        assert max(captures) - min(captures) <= TOLERANCE_MS * MS
    complete, incomplete = matched.counts
    assert complete == len(matched.sets)
    assert complete * 3 + incomplete <= added
