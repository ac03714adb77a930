"""Sinks and their threads: nothing lost under `every`, nothing delayed under `latest`."""

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import OptionError, SinkError
from edge_runtime.loop import LoopOptions
from edge_runtime.options import RunOptions
from edge_runtime.policy import EVERY, LATEST
from edge_runtime.runner import execute
from edge_runtime.sinks.images import MaskImages
from edge_runtime.sinks.outlets import Outlets
from edge_runtime.sinks.spec import parse_sink
from edge_runtime.sinks.timeline import DEFAULT_INTERVAL_NS, Timeline
from edge_runtime.sinks.worker import SLOTS, SinkWorker
from tests.scripted import SIZE, FakeClock, ScriptedBackend, ScriptedSource


class Recording:
    """A sink that keeps what it got; it may be slow, wait for permission, or fail."""

    label = "recording"

    def __init__(self, gate=None, pause_s=0.0, fail_at=None, error=None):
        self.masks = []
        self.states = []
        self.closed = self.discarded = False
        self._gate, self._pause_s = gate, pause_s
        self._fail_at, self._error = fail_at, error

    def open(self):
        pass

    def consume(self, result):
        if self._gate is not None:
            self._gate.acquire()
        threading.Event().wait(self._pause_s)
        if len(self.states) == self._fail_at:
            raise self._error
        self.states.append(result.state)
        self.masks.append(None if result.mask is None else (result.index, result.mask.copy()))

    def close(self):
        self.closed = True

    def discard(self):
        self.discarded = True


def play(workers, policy, count=60, null=False, **camera):
    clock = FakeClock()
    backend = ScriptedBackend(clock)
    source = ScriptedSource(clock, count=count, latest=not policy.lossless, **camera)
    options = LoopOptions(policy=policy, clock=clock, outlets=Outlets(workers, null=null))
    with backend:
        return execute(backend, source, backend.manifest, options)


def test_r3_every_waits_for_a_slow_sink_and_loses_nothing():
    sink = Recording(pause_s=0.002)
    worker = SinkWorker(sink, SIZE)

    outcome = play([worker], EVERY, live=False)

    assert [index for index, _ in sink.masks] == list(range(60))
    assert outcome.report.frames.published == worker.consumed == 60
    assert outcome.report.frames.dropped.sink == worker.dropped == 0
    assert sink.closed


def test_r9_a_waiting_result_keeps_its_own_mask():
    # given a sink so slow that several results wait while the engine goes on
    sink = Recording(pause_s=0.002)

    play([SinkWorker(sink, SIZE)], EVERY, live=False)

    for index, mask in sink.masks:
        assert np.unique(mask).tolist() == [index]


def test_latest_drops_for_a_busy_sink_and_counts():
    # given a sink that takes nothing until the run is over
    gate = threading.Semaphore(0)
    sink = Recording(gate=gate)
    worker = SinkWorker(sink, SIZE)

    class ReleaseAtTheEnd(Outlets):
        def __exit__(self, *exc_info):
            gate.release(SLOTS)
            super().__exit__(*exc_info)

    clock = FakeClock()
    backend = ScriptedBackend(clock)
    options = LoopOptions(policy=LATEST, clock=clock, outlets=ReleaseAtTheEnd([worker], null=False))
    with backend:
        outcome = execute(backend, ScriptedSource(clock, count=60), backend.manifest, options)

    frames = outcome.report.frames
    assert frames.inferred == 60
    assert frames.published == SLOTS
    assert frames.dropped.sink == 60 - SLOTS
    assert outcome.report.latency_ms.result.max < 50
    assert [index for index, _ in sink.masks] == list(range(SLOTS))


def test_what_one_of_two_sinks_refuses_is_published_and_told_apart():
    gate = threading.Semaphore(0)
    worker = SinkWorker(Recording(gate=gate), SIZE)
    clock = FakeClock()
    backend = ScriptedBackend(clock)

    class ReleaseAtTheEnd(Outlets):
        def __exit__(self, *exc_info):
            gate.release(SLOTS)
            super().__exit__(*exc_info)

    with backend:
        options = LoopOptions(
            policy=LATEST, clock=clock, outlets=ReleaseAtTheEnd([worker], null=True)
        )
        outcome = execute(backend, ScriptedSource(clock, count=30), backend.manifest, options)

    assert outcome.report.frames.published == 30
    (sink,) = outcome.report.sinks
    assert (sink.sink, sink.consumed, sink.dropped) == ("recording", SLOTS, 30 - SLOTS)


def test_render_is_measured_after_publish():
    outcome = play([SinkWorker(Recording(), SIZE)], EVERY, live=False)

    stages = outcome.report.latency_ms.stages
    assert stages["render"].n == 60
    assert stages["publish"].max == 0.0


def test_sinks_see_silence():
    sink = Recording()

    play([SinkWorker(sink, SIZE)], EVERY, pauses_ms={20: 5000.0})

    assert "no-signal" in sink.states


@pytest.mark.parametrize("error", [SinkError("the encoder is gone"), OSError(28, "No space left")])
def test_failing_sink_ends_the_run_and_leaves_nothing_half_written(error):
    broken, sound = Recording(fail_at=5, error=error), Recording()

    outcome = play([SinkWorker(broken, SIZE), SinkWorker(sound, SIZE)], EVERY, live=False)

    assert isinstance(outcome.failure, SinkError)
    assert outcome.report.ended == "error"
    assert broken.discarded
    assert not broken.closed
    assert sound.closed
    assert not sound.discarded


def test_defect_in_a_sink_keeps_its_traceback():
    broken = Recording(fail_at=2, error=ZeroDivisionError("defect"))

    with pytest.raises(ZeroDivisionError, match="defect"):
        play([SinkWorker(broken, SIZE)], EVERY, live=False)


def test_failure_while_completing_the_output_is_reported():
    sink = Recording()

    def fail():
        raise OSError(28, "No space left on device")

    sink.close = fail

    outcome = play([SinkWorker(sink, SIZE)], EVERY, live=False)

    assert "No space left" in str(outcome.failure)
    assert outcome.report.frames.published == 60


@pytest.mark.parametrize(("text", "kind", "path"), [
    ("null", "null", None), ("window", "window", None), ("out.mp4", "overlay", "out.mp4"),
    ("a/b.MKV", "overlay", "a/b.MKV"), ("masks:d", "masks", "d"),
    ("maskvideo:m.mkv", "maskvideo", "m.mkv"),
])  # fmt: skip
def test_sinks_are_named_by_text(text, kind, path):
    spec = parse_sink(text)

    assert spec.kind == kind
    assert spec.path == (None if path is None else Path(path))
    assert spec.wants_picture == (kind in ("overlay", "window"))


@pytest.mark.parametrize("text", ["", "out.avi", "masks:", "maskvideo:m.mp4", "maskvideo:", "nul"])
def test_other_sinks_are_refused(text):
    with pytest.raises(OptionError):
        parse_sink(text)


@pytest.mark.parametrize("changes", [
    {"sinks": ("out.mp4", "out.mp4")},
    {"sinks": ("out.mp4",), "report": Path("out.mp4")},
    {"report": Path("a.json"), "frames_log": Path("a.json")},
    {"sinks": ("out.avi",)},
    {"policy": "newest"},
    {"duration_s": 0.0},
    {"duration_s": float("nan")},
    {"threads": 0},
    {"open_timeout_s": -1.0},
], ids=str)  # fmt: skip
def test_options_that_cannot_work_are_refused(changes):
    with pytest.raises(OptionError):
        RunOptions(**changes)


def test_masks_are_written_at_frame_size_under_their_index(tmp_path):
    folder = tmp_path / "new" / "masks"

    play([SinkWorker(MaskImages("masks:x", folder), SIZE)], EVERY, count=12, live=False)

    assert sorted(file.name for file in folder.iterdir()) == [f"{n:06d}.png" for n in range(12)]
    mask = cv2.imread(str(folder / "000007.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (8, 12)
    assert np.unique(mask).tolist() == [7]


def test_silence_gets_no_mask_file(tmp_path):
    sink = MaskImages("masks:x", tmp_path)

    play([SinkWorker(sink, SIZE)], EVERY, count=60, pauses_ms={20: 4000.0})

    assert len(list(tmp_path.iterdir())) == 60


def test_folder_that_cannot_be_made_is_a_sink_error(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(SinkError, match="masks:DIR"):
        MaskImages("masks:x", tmp_path / "file" / "masks").open()


MS = 1_000_000


@pytest.mark.parametrize(("times_ms", "placed_ms"), [
    ([5000, 5040, 5080], [0, 40, 80]),
    ([0, 40, 5000], [0, 40, 5000]),
    ([100, 140, 140, 180], [0, 40, 80, 120]),
    ([900, 950, 100, 150], [0, 50, 100, 150]),
    ([0, 40, None, None, 160], [0, 40, 80, 120, 160]),
], ids=["offset", "gap", "duplicate", "jump back", "missing"])  # fmt: skip
def test_time_in_a_file_is_the_sources_but_always_increases(times_ms, placed_ms):
    timeline = Timeline()

    placed = [timeline.place(None if time is None else time * MS) for time in times_ms]

    assert placed == [time * MS for time in placed_ms]


@pytest.mark.parametrize(("times_ms", "captures_ms", "placed_ms"), [
    # ten hours ahead, and back
    ([0, 40, 36_000_080, 36_000_120, 160], [0, 40, 80, 120, 160], [0, 40, 80, 120, 160]),
    # ahead twice
    ([0, 40, 5080, 15_120, 15_160], [0, 40, 80, 120, 160], [0, 40, 80, 120, 160]),
    # nothing came for a while
    ([0, 40, 5000, 5040], [0, 40, 5000, 5040], [0, 40, 5000, 5040]),
    # held up on the way for 5 s, then the newest of what had waited
    ([0, 40, 80, 5000, 5040], [0, 40, 5000, 5010, 5040], [0, 40, 80, 5000, 5040]),
    # ahead by less than one second
    ([0, 40, 1000, 1040], [0, 40, 80, 120], [0, 40, 1000, 1040]),
    # ahead once more after it ran back
    ([9000, 9040, 0, 40, 5080], [0, 40, 80, 120, 160], [0, 40, 80, 120, 160]),
], ids=["there and back", "twice", "silence", "held up", "in bounds", "back first"])  # fmt: skip
def test_a_jump_ahead_is_no_hole_in_the_file(times_ms, captures_ms, placed_ms):
    timeline = Timeline()

    placed = [
        timeline.place(time * MS, 10**15 + capture * MS)
        for time, capture in zip(times_ms, captures_ms, strict=True)
    ]

    assert placed == [time * MS for time in placed_ms]


def test_stream_without_time_gets_one():
    timeline = Timeline()

    assert [timeline.place(None) for _ in range(3)] == [
        0, DEFAULT_INTERVAL_NS, 2 * DEFAULT_INTERVAL_NS,
    ]  # fmt: skip
