"""The black box: the right seconds, written on the right events, whatever ends the run."""

import json
import subprocess
import sys
from dataclasses import replace

import msgspec
import pytest

from edge_runtime.errors import BackendError, OptionError, SinkError
from edge_runtime.policy import EVERY
from edge_runtime.sinks.blackbox.options import parse_black_box
from edge_runtime.sinks.blackbox.triggers import SensorWatch, Triggers
from edge_runtime.sinks.recording.entry import Entry
from edge_runtime.sinks.spec import SinkContext, parse_sink
from edge_runtime.sinks.worker import SinkWorker
from edge_runtime.telemetry.readings import Readings
from tests.edge_runtime.test_mcap import IMAGES, MASK_SIZE, MASKS, messages, records, result_of
from tests.edge_runtime.test_sinks import play
from tests.scripted import LABELS, SIZE, FakeClock

pytest.importorskip("mcap", reason="pip install 'hyperseg-edge[mcap]'")


class FakeSensors:
    """A board that throttles when told to."""

    name = "fake"

    def __init__(self):
        self.readings = Readings(total_w=7.5, events={"over-current": 3}, tells_throttling=True)
        self.closed = False

    def read(self):
        return replace(self.readings, events=dict(self.readings.events))

    def close(self):
        self.closed = True


def box_of(folder, root, query="after=0", sensors=(), **context):
    from edge_runtime.sinks.blackbox.sink import BlackBox

    options = parse_black_box(f"{folder}?{query}")
    return BlackBox(
        f"blackbox:{folder}",
        options,
        SinkContext(LABELS, MASK_SIZE, **context),
        find=lambda: sensors,
        root=root,
    )


def boxes(folder):
    return sorted(folder.glob("*.mcap"))


def event_of(path):
    from mcap.reader import make_reader

    with path.open("rb") as file:
        return {record.name: record.metadata for record in make_reader(file).iter_metadata()}[
            "event"
        ]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "boxes"


@pytest.fixture
def memory(tmp_path):
    memory = tmp_path / "memory"
    memory.mkdir()
    return memory


def late(index):
    return replace(result_of(index), late=True)


def test_deadline_miss_is_written_with_what_came_before_and_after(folder, memory):
    said = []
    box = box_of(folder, memory, "after=60", say=said.append)
    box.open()
    for index in range(10):
        box.consume(late(index) if index == 6 else result_of(index))
    assert not boxes(folder)
    box.close()

    (path,) = boxes(folder)
    assert path.name.endswith("Z-late.mcap")
    assert [record["index"] for record in records(path)] == list(range(10))
    assert [record["stale"] for record in records(path)].index(True) == 6
    assert (len(messages(path, IMAGES)), len(messages(path, MASKS))) == (10, 10)
    event = event_of(path)
    assert (event["reasons"], event["results"]) == ("late", "10")
    assert float(event["seconds"]) == pytest.approx(0.36)
    assert said == [f"black box {path}: late"]


def test_nothing_is_written_without_an_event_and_nothing_left(folder, memory):
    box = box_of(folder, memory)
    box.open()
    for index in range(5):
        box.consume(result_of(index))
    box.close()

    assert not list(folder.iterdir())
    assert not list(memory.iterdir())


def test_box_is_written_in_silence_too(folder, memory):
    # given a camera that is unplugged, so that no result follows
    box = box_of(folder, memory, "after=0.05")
    box.open()
    box.consume(result_of(0))
    box.consume(result_of(1, "no-signal"))
    for _ in range(100):
        box._thread.join(0.05)
        if boxes(folder):
            break

    assert [record["state"] for record in records(boxes(folder)[0])] == ["ok", "no-signal"]
    box.close()


def test_events_during_one_box_share_it(folder, memory):
    box = box_of(folder, memory, "after=60")
    box.open()
    box.consume(late(0))
    box.consume(result_of(1, "no-signal"))
    box.close()

    assert [event_of(path)["reasons"] for path in boxes(folder)] == ["late; no-signal"]


def test_only_wanted_events_count(folder, memory):
    box = box_of(folder, memory, "on=no-signal")
    box.open()
    box.consume(late(0))
    box.close()

    assert not boxes(folder)


def test_rule_that_becomes_true_is_an_event(folder, memory, tmp_path):
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps({"rules": [{"name": "b ahead", "class": "b", "min_ratio": 0.5}]}))
    box = box_of(folder, memory, rules=rules)
    box.open()
    for index in (0, 0, 1, 1):
        box.consume(result_of(index))
    box.close()

    assert [event_of(path)["reasons"] for path in boxes(folder)] == ["rule b ahead"]


def test_throttling_is_an_event_and_the_sensors_are_in_the_box(folder, memory):
    sensors = FakeSensors()
    sensors.readings.throttling = frozenset({"thermal"})
    box = box_of(folder, memory, sensors=(sensors,))
    box.open()
    box.consume(result_of(0))
    box.close()

    (path,) = boxes(folder)
    assert event_of(path)["reasons"] == "throttle thermal"
    ((_, telemetry),) = messages(path, "/machine/telemetry")
    assert json.loads(telemetry)["total_w"] == 7.5
    assert sensors.closed


def test_counter_of_throttling_is_an_event_when_it_grows():
    clock, sensors = FakeClock(), FakeSensors()
    watch = SensorWatch((sensors,), clock)

    seen = []
    for count in (3, 3, 5, 5):
        sensors.readings.events["over-current"] = count
        watch.look()
        seen.append(set(watch.throttling))
        clock.pass_ms(1001)

    assert seen == [set(), set(), {"over-current"}, set()]
    assert watch.look() is not None
    assert watch.look() is None


def test_sensors_that_raise_are_no_end_of_a_black_box():
    # given a board whose counter grows while it cannot be read
    class Failing(FakeSensors):
        fails = False

        def read(self):
            if self.fails:
                raise RuntimeError("no answer")
            return super().read()

    clock, sensors = FakeClock(), Failing()
    watch = SensorWatch((sensors,), clock)

    seen = []
    for count, sensors.fails in ((3, False), (4, True), (5, False)):
        sensors.readings.events["over-current"] = count
        assert watch.look() is not None
        seen.append(set(watch.throttling))
        clock.pass_ms(1001)

    assert seen == [set(), set(), {"over-current"}]


def test_condition_that_lasts_is_one_event_and_another_after_a_pause():
    clock = FakeClock()
    triggers = Triggers({"late"}, 60, clock)

    events = []
    for second, is_late in [(0, 1), (30, 1), (80, 1), (90, 0), (141, 1), (142, 1)]:
        clock.now_ns = second * 10**9
        if triggers.see(late(0) if is_late else result_of(0)):
            events.append(second)

    assert events == [0, 141]


def test_old_boxes_make_room(folder, memory):
    box = box_of(folder, memory, "after=0&cooldown=0&keep=3")
    box.open()
    (folder / "mine.mcap").write_text("kept")
    for number in range(6):
        box.trigger(f"event {number}")
        box.consume(result_of(number))
        for _ in range(100):
            if any(f"event-{number}" in path.name for path in boxes(folder)):
                break
            box._thread.join(0.02)
    box.close()

    names = [path.name for path in boxes(folder)]
    assert len(names) == 4
    assert [name[-12:] for name in names[:3]] == [f"event-{n}.mcap" for n in (3, 4, 5)]
    assert names[3] == "mine.mcap"


def test_the_oldest_boxes_go_first_whatever_the_clock_says(folder):
    from edge_runtime.sinks.blackbox.files import BoxFiles

    # given three boxes, one of them named as they were before they had numbers
    def write(files, second, reason):
        entry = msgspec.msgpack.encode(Entry(second * 10**9, 1, b"{}"))
        files.write([entry], len(entry), {"run": {"a": "b"}}, [reason], second * 10**9)

    files = BoxFiles(folder, ".part", keep=3, keep_bytes=10**9)
    folder.mkdir()
    (folder / "blackbox-20261121T120000.000Z-old0.mcap").write_bytes(b"")
    for number in (1, 2):
        write(files, 1_795_000_000 + 60 * number, f"old{number}")

    # when the clock begins in 1970, twice
    kept = []
    for second, reason in ((100, "new0"), (160, "new1"), (100, "new2"), (100, "new2")):
        write(BoxFiles(folder, ".part", keep=3, keep_bytes=10**9), second, reason)
        kept.append([path.stem.rsplit("-", 1)[1] for path in boxes(folder)])

    assert kept == [
        ["old1", "old2", "new0"],
        ["old2", "new0", "new1"],
        ["new0", "new1", "new2"],
        ["new1", "new2", "new2"],
    ]


def test_failure_of_the_run_is_written(folder, memory):
    # given a run whose engine fails
    from edge_runtime.loop import LoopOptions
    from edge_runtime.runner import execute
    from edge_runtime.sinks.outlets import Outlets
    from tests.scripted import ScriptedBackend, ScriptedSource

    clock = FakeClock()
    backend = ScriptedBackend(clock, fail_at=7)
    worker = SinkWorker(box_of(folder, memory, "after=60"), SIZE)
    options = LoopOptions(policy=EVERY, clock=clock, outlets=Outlets([worker], null=False))
    with backend:
        source = ScriptedSource(clock, count=20, live=False, latest=False)
        outcome = execute(backend, source, backend.manifest, options)

    assert isinstance(outcome.failure, BackendError)
    (path,) = boxes(folder)
    assert event_of(path)["reasons"] == "crash: BackendError: the scripted engine failed"
    assert [record["index"] for record in records(path)] == list(range(7))


def test_run_that_was_told_to_stop_is_written(folder, memory):
    box = box_of(folder, memory, "after=60")
    with SinkWorker(box, MASK_SIZE, stopping=lambda: True) as worker:
        worker.offer(result_of(0), wait=True)

    assert [event_of(path)["reasons"] for path in boxes(folder)] == ["stop"]


def test_run_that_came_to_its_end_is_not_written(folder, memory):
    outcome = play([SinkWorker(box_of(folder, memory), SIZE)], EVERY, live=False)

    assert outcome.failure is None
    assert not boxes(folder)


ENDLESS = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.edge_runtime.test_blackbox import box_of
from tests.edge_runtime.test_mcap import result_of
box = box_of(Path({folder!r}), Path({memory!r}), model="killed one")
box.open()
for index in range(1_000_000):
    box.consume(result_of(index))
    print(index, flush=True)
"""


def test_last_seconds_of_a_killed_run_are_written_by_the_next(folder, memory, repository):
    script = ENDLESS.format(root=str(repository), folder=str(folder), memory=str(memory))
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if int(line) >= 50:
                break
        process.kill()
    assert not boxes(folder)

    said = []
    box = box_of(folder, memory, say=said.append)
    box.open()

    (path,) = boxes(folder)
    assert event_of(path)["reasons"] == "killed"
    assert [record["index"] for record in records(path)][:51] == list(range(51))
    assert "was killed" in said[0]
    box.close()
    assert not list(memory.iterdir())


def test_two_runs_share_a_folder(folder, memory):
    first, second = (box_of(folder, memory, "after=60") for _ in range(2))
    first.open()
    second.open()
    first.consume(late(1))
    second.consume(late(2))
    second.close()
    first.close()

    assert sorted(records(path)[0]["index"] for path in boxes(folder)) == [1, 2]
    assert not list(memory.iterdir())


FULL_DISK = """
import resource, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from edge_runtime.errors import SinkError
from tests.edge_runtime.test_blackbox import box_of, late
from tests.edge_runtime.test_mcap import result_of
box = box_of(Path({folder!r}), Path({memory!r}), "after=60", say=print)
box.open()
for index in range(100):
    box.consume(late(index))
resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))
try:
    box.close()
except SinkError as error:
    print(error)
"""


def test_full_disk_costs_the_box_alone(folder, memory, repository):
    script = FULL_DISK.format(root=str(repository), folder=str(folder), memory=str(memory))

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )

    told, raised = done.stdout.splitlines()
    assert told.endswith("the run goes on")
    assert raised.startswith("a black box could not be written")
    assert not list(folder.iterdir())
    assert not list(memory.iterdir())


def test_folder_that_cannot_be_made_is_a_sink_error(tmp_path, memory):
    (tmp_path / "file").write_text("")

    with pytest.raises(SinkError, match="another blackbox:DIR"):
        box_of(tmp_path / "file", memory).open()


@pytest.mark.parametrize(("text", "message"), [
    ("blackbox:", "expected"), ("blackbox:d?second=3", "seconds"), ("blackbox:d?keep=x", "number"),
    ("blackbox:d?seconds=0", "above 0"), ("blackbox:d?after=-1", "0 or above"),
    ("blackbox:d?on=fire", "late"), ("blackbox:d?memory_mb=2000", "no box would"),
    ("blackbox:?seconds=3", "folder"), ("blackbox:d?seconds=nan", "above 0"),
])  # fmt: skip
def test_options_that_cannot_work_are_refused(text, message):
    with pytest.raises(OptionError, match=message):
        parse_sink(text)


def test_options_are_read():
    spec = parse_sink("blackbox:a/b?seconds=7.5&keep=3&on=late,rule")
    options = parse_black_box(spec.rest)

    assert str(spec.path) == "a/b"
    assert (options.seconds, options.keep, options.on) == (7.5, 3, {"late", "rule"})
    assert spec.wants_picture
