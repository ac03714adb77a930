"""A camera's own thread: whatever blocks in it, its reader never waits."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime.errors import BackendError, SinkError, SourceError
from edge_runtime.policy import EVERY, LATEST
from edge_runtime.rig.camera import Camera
from edge_runtime.rig.crew import Member
from edge_runtime.rig.engine import Engine
from edge_runtime.rig.lane import Lane, LaneOptions
from edge_runtime.rig.parts import CameraParts
from edge_runtime.rig.runner import RigTerms, execute_many
from edge_runtime.rig.slot import Slot
from edge_runtime.sinks.outlets import Outlets
from edge_runtime.supervision.source import SupervisedSource
from edge_runtime.video import Frame, SourceCounters, SourceInfo
from tests.scripted import SIZE, FakeClock, ScriptedBackend

PATIENCE_S = 30.0
"""How long a test waits for what should come at once."""


def frame(index, image=None):
    now = time.monotonic_ns()
    picture = np.full((*SIZE, 3), index % 256, np.uint8) if image is None else image
    return Frame(index, None, picture, (8, 12), now, now, now, now)


class LiveCamera:
    """Delivers numbered frames in real time, all through one buffer, and blocks where told to."""

    def __init__(self, interval_s=0.005, count=None, live=True, open_s=0.0, fail_at=None,
                 block_at=None, error=None):  # fmt: skip
        self.interval_s, self.count, self.live = interval_s, count, live
        self.open_s, self.fail_at, self.block_at = open_s, fail_at, block_at
        self.error = error or SourceError("the camera is gone")
        self.release = threading.Event()
        self.counters = SourceCounters()
        self.closed_in = None
        self._image = np.zeros((*SIZE, 3), np.uint8)

    @property
    def info(self):
        clock = "arrival" if self.live else "file"
        return SourceInfo("live:", self.live, (8, 12), 200.0, "video/x-raw", clock)

    @property
    def ended(self):
        return self.counters.captured == self.count

    def __enter__(self):
        self.release.wait(self.open_s)
        return self

    def __exit__(self, *exc_info):
        self.closed_in = threading.current_thread().name

    def read(self, timeout_s):
        if self.ended:
            return None
        index = self.counters.captured
        if index == self.block_at:
            self.release.wait(PATIENCE_S)
        if index == self.fail_at:
            raise self.error
        time.sleep(self.interval_s)
        self.counters.captured += 1
        self._image[:] = index % 256
        return frame(index, self._image)


class Output:
    """An output that is entered and left, and fails where told to."""

    def __init__(self, error_at=None):
        self.error_at, self.left = error_at, threading.Event()
        self.cause = None

    def __enter__(self):
        if self.error_at == "enter":
            raise SinkError("cannot be opened")
        return self

    def __call__(self, result):
        """As a log of frames is called."""

    def __exit__(self, kind, error, trace):
        self.cause = error
        self.left.set()
        if self.error_at == "exit":
            raise SinkError("cannot be completed")


def camera_of(source, policy=None, outputs=()):
    return Camera("one", SupervisedSource(source), policy, outputs, threading.Event())


def await_frame(camera):
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        if (found := camera.read(0.05)) is not None or camera.ended:
            return found
    raise AssertionError("no frame came")


def test_slot_keeps_the_newest_and_counts_the_others():
    slot = Slot()
    for index in range(5):
        slot.put(frame(index), lossless=False)

    assert slot.take().index == 4
    assert slot.take() is None
    assert slot.dropped == 4


def test_a_taken_picture_lasts_while_newer_ones_come():
    slot, shared = Slot(), np.zeros((*SIZE, 3), np.uint8)
    slot.put(frame(1, shared), lossless=False)
    taken = slot.take()
    taken.image[:] = 1
    for index in range(2, 9):
        shared[:] = index
        slot.put(frame(index, shared), lossless=False)
    shared[:] = 99

    assert np.unique(taken.image).tolist() == [1]
    assert np.unique(slot.take().image).tolist() == [8]


def test_three_buffers_are_enough():
    slot, buffers = Slot(), set()
    for index in range(200):
        slot.put(frame(index), lossless=False)
        if index % 3 == 0:
            buffers.add(slot.take().image.ctypes.data)

    assert len(buffers) <= 3


def test_lossless_slot_waits_until_it_is_taken_or_closed():
    slot = Slot()
    slot.put(frame(0), lossless=True)
    second = threading.Thread(target=slot.put, args=(frame(1),), kwargs={"lossless": True})
    second.start()
    second.join(0.1)
    assert second.is_alive()

    assert slot.take().index == 0
    second.join(PATIENCE_S)
    assert not second.is_alive()
    third = threading.Thread(target=slot.put, args=(frame(2),), kwargs={"lossless": True})
    third.start()
    slot.close()
    third.join(PATIENCE_S)
    assert slot.take().index == 1
    assert slot.take() is None
    assert slot.dropped == 0


class TellsItsClockLater(LiveCamera):
    """A stream whose sender tells its clock after the first frame."""

    clock = "arrival"

    @property
    def info(self):
        return replace(super().info, timestamp_source=self.clock)

    def read(self, timeout_s):
        found = super().read(timeout_s)
        if found is not None:
            self.clock = found.timestamp_source = "arrival" if found.index == 0 else "ntp"
        return found


def test_a_result_carries_the_clock_of_its_frame_and_not_that_of_a_newer_one():
    # given a first frame that waits while the camera's thread reads the second
    source, results = TellsItsClockLater(count=2), []
    with camera_of(source, EVERY) as camera, ScriptedBackend(FakeClock()) as backend:
        lane = Lane(
            Engine(backend, backend.manifest), camera, LaneOptions(on_result=results.append)
        )
        while source.clock != "ntp":
            time.sleep(0.005)
        for _ in range(2):
            lane.take(await_frame(camera))

    assert [result.timestamp_source for result in results] == ["arrival", "ntp"]
    assert [fault.kind for fault in lane.faults] == ["clock arrival became ntp"]


@pytest.mark.parametrize(("live", "policy"), [(False, None), (True, EVERY)])
def test_nothing_is_lost_where_nothing_may_be(live, policy):
    seen = []
    with camera_of(LiveCamera(0.0, count=60, live=live), policy) as camera:
        while (found := await_frame(camera)) is not None:
            assert np.unique(found.image).tolist() == [found.index % 256]
            seen.append(found.index)

    assert seen == list(range(60))
    assert camera.ended
    assert camera.counters.dropped_queue == 0


def test_frames_add_up_for_a_slow_reader():
    with camera_of(LiveCamera(0.001, count=100), LATEST) as camera:
        seen = []
        while (found := await_frame(camera)) is not None:
            seen.append(found.index)
            time.sleep(0.01)

    counters = camera.counters
    assert seen == sorted(set(seen))
    assert seen[-1] == 99
    assert counters.captured == 100 == counters.dropped_queue + len(seen)


def test_reading_a_camera_that_blocks_returns_at_once():
    # given a camera that takes long to open
    source = LiveCamera(open_s=PATIENCE_S)
    with camera_of(source) as camera:
        start = time.monotonic()
        for _ in range(50):
            assert camera.read(0.0) is None
        assert time.monotonic() - start < PATIENCE_S / 10
        assert not camera.ended
        source.release.set()
        assert await_frame(camera).index == 0

    assert camera.join(PATIENCE_S)
    assert source.closed_in == "camera one"


def test_a_failure_comes_after_the_last_frame():
    with camera_of(LiveCamera(0.0, fail_at=3, live=False), EVERY) as camera:
        assert [await_frame(camera).index for _ in range(3)] == [0, 1, 2]
        with pytest.raises(SourceError, match="gone"):
            await_frame(camera)
    assert camera.state == "failed"


@pytest.mark.parametrize("error_at", ["enter", "exit"])
def test_outputs_fail_with_their_camera(error_at):
    outputs = [Output(), Output(error_at)]
    camera = camera_of(LiveCamera(count=3), LATEST, outputs)

    with camera:
        if error_at == "enter":
            with pytest.raises(SinkError, match="opened"):
                await_frame(camera)
        else:
            while await_frame(camera) is not None:
                pass
            assert not outputs[0].left.is_set()

    assert camera.join(PATIENCE_S)
    assert outputs[0].left.is_set()
    assert isinstance(camera.failure, SinkError)


def member(name, source, policy=None, log=None):
    parts = CameraParts(SupervisedSource(source), Outlets(), log, policy)
    return Member(name, f"live:{name}", parts)


def run_members(members, fail_at=None, **terms):
    told = []
    # Its own time is not what is measured.
    backend = ScriptedBackend(FakeClock(), infer_ms=0.0, fail_at=fail_at)
    with backend:
        outcome = execute_many(
            backend, backend.manifest, members, RigTerms(say=told.append, **terms)
        )
    return outcome, told


def test_cameras_that_block_hold_up_nobody():
    # given one camera that never opens, one that blocks while it is read, and one that is well
    blocked = [LiveCamera(open_s=PATIENCE_S), LiveCamera(block_at=5)]
    well = LiveCamera(0.005)
    members = [member("opening", blocked[0]), member("reading", blocked[1]), member("well", well)]
    seen = []

    def release_at_the_end(name, _):
        seen.append(name)
        if seen.count("well") == 100:
            for source in blocked:
                source.release.set()

    outcome, told = run_members(members, on_result=release_at_the_end, duration_s=1.5)

    before = seen[: seen.index("well") + 1 + 100]
    assert before.count("reading") <= 5
    assert before.count("opening") == 0
    assert outcome.failure is None
    assert told == []
    assert outcome.report.ended == "duration"
    assert [well.closed_in, blocked[1].closed_in] == ["camera well", "camera reading"]


def test_a_camera_that_fails_is_named_and_the_others_go_on():
    outcome, told = run_members(
        [member("bad", LiveCamera(fail_at=5)), member("never", LiveCamera(fail_at=0)),
         member("short", LiveCamera(count=10)), member("good", LiveCamera(count=100))],
    )  # fmt: skip

    report = outcome.report
    assert outcome.failure is None
    assert report.ended == "end"
    assert set(report.failed) == {"bad", "never"}
    assert sorted(told) == ["camera bad failed: the camera is gone",
                            "camera never failed: the camera is gone"]  # fmt: skip
    assert report.camera("bad").faults[-1].kind == "SourceError"
    assert [report.camera(name).ended for name in ("bad", "never", "short", "good")] == [
        "error", "error", "end", "end",
    ]  # fmt: skip
    for camera in report.cameras:
        frames, dropped = camera.report.frames, camera.report.frames.dropped
        assert frames.captured == frames.inferred + dropped.queue + frames.in_flight
        assert camera.turns == frames.inferred
    assert sum(camera.turns for camera in report.cameras) == report.engine.turns


def test_cameras_that_never_came_up_are_an_error_that_names_the_first():
    with pytest.raises(SourceError, match="camera a: the camera is gone"):
        run_members([member(name, LiveCamera(fail_at=0)) for name in "ab"])


def test_a_defect_in_a_cameras_thread_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        run_members([member("a", LiveCamera(fail_at=2, error=ZeroDivisionError())),
                     member("b", LiveCamera())])  # fmt: skip


def test_outputs_are_told_why_their_camera_or_the_whole_run_ended():
    # given: one camera that fails alone, one that ends, and an engine that fails later
    logs = {name: Output() for name in ("bad", "short", "good")}
    sources = {
        "bad": LiveCamera(fail_at=2), "short": LiveCamera(count=3), "good": LiveCamera(),
    }  # fmt: skip

    outcome, _ = run_members(
        [member(name, source, log=logs[name]) for name, source in sources.items()], fail_at=60
    )

    assert isinstance(outcome.failure, BackendError)
    assert isinstance(logs["bad"].cause, SourceError)
    assert logs["short"].cause is None
    assert logs["good"].cause is outcome.failure
