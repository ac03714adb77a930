"""Masks in shared memory: whole, new, and gone when their run is gone."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import MaskReader
from edge_runtime.errors import SinkError
from edge_runtime.policy import EVERY
from edge_runtime.shm_reader import SharedMask
from edge_runtime.sinks.shm import SLOTS
from edge_runtime.sinks.spec import SinkContext, parse_sink
from edge_runtime.sinks.worker import SinkWorker
from tests.edge_runtime.test_mcap import MASK_SIZE, result_of
from tests.edge_runtime.test_sinks import play
from tests.scripted import LABELS, SIZE


def sink_of(path, size=MASK_SIZE):
    from edge_runtime.sinks.shm import shm

    return shm(parse_sink(f"shm:{path}"), SinkContext(LABELS, size))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "front"


@pytest.fixture
def sink(path):
    sink = sink_of(path)
    sink.open()
    yield sink
    sink.close()


@pytest.fixture
def reader(path, sink):
    # given a reader that has met the run
    with MaskReader(path) as reader:
        assert reader.read(0).state == "no-signal"
        yield reader


def painted(index, value, size=(96, 160)):
    return replace(result_of(index, size=size), mask=np.full(MASK_SIZE, value, np.uint8))


def test_mask_comes_with_its_frame_and_stamps(sink, reader):
    result = painted(7, 2)
    result.stamps.publish = result.stamps.post_end

    sink.consume(result)
    found = reader.read(0)

    assert (found.state, found.index, found.pts_ns) == ("ok", 7, 280_000_000)
    assert found.mask.shape == (96, 160)
    assert np.unique(found.mask).tolist() == [2]
    assert found.capture_ns == result.capture_ns
    assert found.publish_ns == result.stamps.publish
    assert found.timestamp_source == "driver"
    assert reader.labels["names"] == list(LABELS.names)
    assert found.age_ms() == pytest.approx((time.monotonic_ns() - result.capture_ns) / 1e6, abs=1e3)
    found.mask[:] = 0  # it is the reader's own


def test_no_mask_is_given_twice(sink, reader):
    sink.consume(painted(0, 1))

    assert reader.read(0).index == 0
    again = reader.read(0.01)

    assert (again.state, again.mask) == ("no-signal", None)
    assert "published nothing" in again.reason


def test_newest_mask_wins_and_what_was_skipped_is_counted(sink, reader):
    for index in range(11):
        sink.consume(painted(index, index))

    found = reader.read(0)

    assert (found.index, found.mask[0, 0], found.skipped) == (10, 10, 10)


def test_result_without_a_mask_is_told_as_such(sink, reader):
    sink.consume(result_of(0, "stale"))
    stale = reader.read(0)
    sink.consume(result_of(1, "no-signal"))
    silent = reader.read(0)

    assert (stale.state, stale.mask) == ("stale", None)
    assert (silent.state, silent.mask, silent.reason) == ("no-signal", None, "unplugged")


def test_what_was_there_before_the_reader_is_not_new(path, sink):
    sink.consume(painted(0, 1))

    with MaskReader(path) as late:
        assert late.read(0).state == "no-signal"
        sink.consume(painted(1, 1))
        assert late.read(0).index == 1


def test_mask_of_an_old_frame_can_be_refused(path, sink):
    with MaskReader(path, max_age_ms=100) as reader:
        reader.read(0)
        sink.consume(painted(0, 1))  # captured one second after the machine's start
        old = reader.read(0)
        sink.consume(replace(painted(1, 1), capture_ns=time.monotonic_ns() + 10**12))
        new = reader.read(0)

    assert (old.state, old.mask, old.index) == ("stale", None, 0)
    assert new.state == "ok"


def test_larger_frames_move_to_a_larger_memory_without_a_gap(sink, reader):
    sink.consume(painted(0, 1))
    reader.read(0)
    for index in (1, 2):
        sink.consume(painted(index, index, size=(400, 600)))

    found = reader.read(0.1)

    assert (found.state, found.index, found.skipped) == ("ok", 2, 1)
    assert found.mask.shape == (400, 600)
    assert (found.mask == 2).all()


def test_torn_mask_is_not_given(path, sink, reader):
    # given a result whose pixels are changed behind its check sum, as by a half-seen write
    sink.consume(painted(0, 1))
    data = bytearray(path.read_bytes())
    data[data.rindex(b"\1" * 100)] = 0
    with path.open("r+b") as file:
        file.write(data)

    assert reader.read(0.01).mask is None


def test_reader_that_is_overtaken_while_it_copies_takes_nothing_torn(path, sink):
    # given a writer without a pause and a reader that copies as fast as it can
    over = threading.Event()

    def write():
        index = 0
        while not over.is_set():
            sink.consume(painted(index, index % 251))
            index += 1

    thread = threading.Thread(target=write)
    thread.start()
    found = []
    with MaskReader(path) as reader:
        end = time.monotonic() + 0.7
        while time.monotonic() < end:
            found.append(reader.read(1.0))
    over.set()
    thread.join()

    got = [mask for mask in found if mask.state == "ok"]
    assert len(got) > 10
    for mask in got:
        assert np.unique(mask.mask).tolist() == [mask.index % 251]
    indices = [mask.index for mask in got]
    assert indices == sorted(set(indices))


def test_end_of_the_run_is_told_and_leaves_no_file(path):
    sink = sink_of(path)
    sink.open()
    with MaskReader(path) as reader:
        reader.read(0)
        sink.consume(painted(0, 1, size=MASK_SIZE))
        sink.close()

        ended = reader.read(0)

        # what was not read while the run lived is old
        assert (ended.state, ended.mask, ended.reason) == ("no-signal", None, "the run has ended")
        assert "no run writes" in reader.read(0).reason
    assert not list(path.parent.iterdir())


def test_two_runs_cannot_share_a_memory(path, sink):
    with pytest.raises(SinkError, match="another run"):
        sink_of(path).open()


def test_other_files_are_not_replaced(path):
    path.write_text("a letter")

    with pytest.raises(SinkError, match="another kind"):
        sink_of(path).open()
    with pytest.raises(ValueError, match="not a mask memory"):
        MaskReader(path).read(0)

    assert path.read_text() == "a letter"


@pytest.mark.parametrize("size", [(1 << 24, 1 << 24)])
def test_memory_that_is_not_there_is_a_sink_error_and_leaves_nothing(path, size):
    with pytest.raises(SinkError, match="cannot make the shared memory"):
        sink_of(path, size).open()

    assert not list(path.parent.iterdir())


def test_name_without_a_folder_lies_in_shared_memory():
    assert str(parse_sink("shm:front").path) == "/dev/shm/front"
    assert str(parse_sink("shm:/run/robot/front").path) == "/run/robot/front"


def test_run_publishes_every_result(path):
    # given a reader beside a run
    found, met = [], threading.Event()

    def read():
        with MaskReader(path) as reader:
            while (mask := reader.read(0.05)).reason != "the run has ended":
                met.set()
                found.append(mask)

    thread = threading.Thread(target=read)
    thread.start()
    outcome = play([SinkWorker(sink_of(path, SIZE), SIZE)], EVERY, live=False, count=200)
    thread.join(10)

    assert outcome.failure is None
    got = [mask for mask in found if mask.state == "ok"]
    assert all(np.unique(mask.mask).tolist() == [mask.index] for mask in got)
    assert not path.exists()


READER = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("shm_reader", {module!r})
shm_reader = sys.modules["shm_reader"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shm_reader)
assert not [name for name in sys.modules if name.startswith(("edge_runtime", "cv2", "gi"))]
reader = shm_reader.MaskReader({path!r})
reader.read(0)
print("ready", flush=True)
while True:
    mask = reader.read(10)
    print(mask.index, mask.state, mask.mask.max(), flush=True)
"""
WRITER = """
import sys, time
sys.path.insert(0, {root!r})
from tests.edge_runtime.test_shm import painted, sink_of
sink = sink_of({path!r})
sink.open()
print("ready", flush=True)
index = 0
while True:
    sink.consume(painted(index, index % 251))
    index += 1
    time.sleep(0.002)
"""


def started(script, **values):
    process = subprocess.Popen(
        [sys.executable, "-c", script.format(**values)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def test_other_process_reads_with_numpy_alone_is_killed_and_comes_back(path, sink, repository):
    module = str(repository / "edge_runtime/shm_reader.py")
    for round_ in (0, 1):
        other = started(READER, module=module, path=str(path))
        for index in range(round_ * 10, round_ * 10 + 5):
            sink.consume(painted(index, index))
            assert other.stdout.readline() == f"{index} ok {index}\n"
        other.kill()
        other.wait()
        other.stdout.close()
        for index in range(SLOTS * 2):
            sink.consume(painted(index, 0))


def test_killed_run_is_no_signal_and_the_next_takes_its_place(path, repository):
    # given a reader of a run that is killed
    with MaskReader(path) as reader:
        first = started(WRITER, root=str(repository), path=str(path))
        assert reader.read(10).state == "ok"
        first.kill()
        first.wait()
        first.stdout.close()

        # then what it left is not taken for new, by this reader or another
        found = [reader.read(0.1) for _ in range(3)]
        assert [mask.state for mask in found] == ["no-signal"] * 3
        assert found[0].reason == "the run was killed"
        assert path.exists()
        with MaskReader(path) as another:
            assert another.read(0.02).state == "no-signal"

        # and the same reader meets the next run
        second = started(WRITER, root=str(repository), path=str(path))
        assert reader.read(10).state == "ok"

        # which it also tells from one that merely stands still
        os.kill(second.pid, signal.SIGSTOP)
        time.sleep(0.05)
        reader.read(0)
        stopped = reader.read(0.05)
        assert (stopped.state, "published nothing" in stopped.reason) == ("no-signal", True)
        second.kill()
        second.wait()
        second.stdout.close()


def test_shared_mask_has_no_pixels_to_begin_with():
    assert SharedMask("no-signal").mask is None
