"""Several cameras on one network, on a clock that only passes when something takes time."""

import io
import math
import threading
from collections import Counter
from itertools import pairwise

import pytest
from rich.console import Console

from edge_runtime.errors import BackendError, SinkError, SourceError
from edge_runtime.policy import EVERY, LATEST, Policy
from edge_runtime.rig.display import RigLines
from edge_runtime.rig.engine import Engine
from edge_runtime.rig.lane import Lane, LaneOptions
from edge_runtime.rig.scheduler import Rig, RigOrders
from edge_runtime.rig.turns import Turns
from edge_runtime.sinks.outlets import Outlets
from edge_runtime.sinks.worker import SLOTS, SinkWorker
from edge_runtime.stop import Stop
from edge_runtime.supervision.source import SupervisedSource
from tests.scripted import SIZE, FakeClock, ScriptedBackend, ScriptedSource

FPS = 15.0
INTERVAL_MS = 1000 / FPS
DECODE_MS = 2.0
TICK_MS = 1.0
"""How long the rig waits, on the virtual clock, before it looks at its cameras again."""


class Played:
    """A rig after its run, and what each camera's subscriber saw."""

    def __init__(self, rig, ended):
        self.rig, self.ended = rig, ended
        self.seen = {lane.name: [] for lane in rig.lanes}

    def ages(self, name):
        return [r.latency_ms for r in self.seen[name] if r.state == "ok"]

    def gaps(self, name):
        times = [r.stamps.publish * 1e-6 for r in self.seen[name] if r.state == "ok"]
        return [after - before for before, after in pairwise(times)]

    def lane(self, name):
        return next(lane for lane in self.rig.lanes if lane.name == name)


def play(cameras, infer_ms=10.0, weights=None, duration_s=20.0, policies=(), outlets=(),
         stop=None, each=lambda name, result: None, fail_at=None, in_rounds=False):  # fmt: skip
    """Run scripted cameras, by name, through one scripted engine."""
    clock = FakeClock()
    backend = ScriptedBackend(clock, infer_ms=infer_ms, fail_at=fail_at)
    policies, outlets = dict(policies), dict(outlets)
    lanes = []
    with backend:
        engine = Engine(backend, backend.manifest)
        for name, script in cameras.items():
            source = SupervisedSource(ScriptedSource(clock, **script), clock=clock)
            lanes.append(Lane(engine, source, LaneOptions(
                policy=policies.get(name), outlets=outlets.get(name, Outlets()), clock=clock,
                on_result=lambda result, name=name: note(name, result),
            ), name))  # fmt: skip
        rig = Rig(lanes, RigOrders(
            stop=stop or Stop(), duration_s=duration_s, clock=clock, in_rounds=in_rounds,
            wait=lambda _: clock.pass_ms(TICK_MS),
        ), weights)  # fmt: skip
        played = Played(rig, None)

        def note(name, result):
            played.seen[name].append(result)
            each(name, result)

        played.ended = rig.run()
    return played


def live(phase_ms=0.0, **script):
    pauses = {0: phase_ms, **script.pop("pauses_ms", {})}
    return {"fps": FPS, "count": 10_000, "pauses_ms": pauses, **script}


def four(**faulty):
    cameras = {name: live(7.0 * number) for number, name in enumerate("abcd")}
    return cameras | {name: live(**script) for name, script in faulty.items()}


def assert_adds_up(lane):
    frames = lane.end
    tally, counters = lane.recorder.tally, frames.counters
    assert tally.read == tally.inferred + tally.dropped_stale
    assert tally.inferred == tally.published + tally.dropped_sink
    assert counters.captured == counters.dropped + tally.read + frames.in_flight


@pytest.mark.parametrize("infer_ms", [5.0, 14.0, 17.0, 40.0, 90.0])
def test_age_of_each_camera_is_bounded_however_slow_the_network(infer_ms):
    # given four cameras at 15 fps on a network that keeps up, or is up to five times too slow
    played = play(four(), infer_ms)

    # then no result is older than one interval, its decoding and one inference, nobody waits for
    # more than one turn of each other camera, and every frame is accounted for
    for name in "abcd":
        assert max(played.ages(name)) <= INTERVAL_MS + DECODE_MS + infer_ms + TICK_MS
        assert max(played.gaps(name)) <= max(infer_ms, INTERVAL_MS) + 3 * infer_ms + TICK_MS
        assert len(played.ages(name)) > 20
        assert_adds_up(played.lane(name))


def test_rounds_pay_for_sets_with_age():
    infer_ms = 40.0

    played = play(four(), infer_ms, in_rounds=True)

    ages = [age for name in "abcd" for age in played.ages(name)]
    assert INTERVAL_MS + DECODE_MS + infer_ms < max(ages)
    assert max(ages) <= INTERVAL_MS + DECODE_MS + 4 * infer_ms + TICK_MS


def test_turns_are_equal_when_the_network_is_too_slow():
    # given cameras of very different rates, all faster than the network
    cameras = {"slow": live(fps=12.0), "fast": live(fps=200.0), "other": live(fps=60.0)}

    played = play(cameras, infer_ms=50.0)

    counts = played.rig.turns.counts
    assert max(counts) - min(counts) <= 1


def test_the_network_never_rests_while_a_camera_has_a_frame():
    # given one camera faster than the network among three that deliver nothing
    silent = {name: live(phase_ms=1e9) for name in "abc"}

    played = play(silent | {"busy": live(fps=100.0)}, infer_ms=20.0, duration_s=10.0)

    assert len(played.ages("busy")) == pytest.approx(500, abs=3)


def test_weights_share_the_network_as_they_say():
    played = play({name: live(fps=100.0) for name in "abc"}, infer_ms=20.0, weights=[2.0, 1.0, 1.0])

    a, b, c = played.rig.turns.counts
    assert a == pytest.approx(2 * b, abs=2)
    assert b == pytest.approx(c, abs=1)


@pytest.mark.parametrize("weights", [(1, 1, 1), (3, 1, 1), (1, 2.5, 0.7), (5, 0.2, 1)], ids=str)
def test_nobody_gets_more_turns_before_a_waiting_camera_than_its_weight_allows(weights):
    turns, others = Turns(weights), [Counter() for _ in weights]

    for _ in range(5_000):
        served = turns.order()[0]
        turns.take(served)
        others[served].clear()
        for waiting, counts in enumerate(others):
            counts[served] += 1
            assert waiting == served or counts[served] <= math.ceil(
                weights[served] / weights[waiting]
            )


def test_turns_are_not_saved_up_during_silence():
    # given a camera that had no frame while another took a hundred turns
    turns = Turns([1.0, 1.0])
    for _ in range(100):
        turns.take(0)

    # when both have frames again
    order = []
    for _ in range(6):
        order.append(turns.order()[0])
        turns.take(order[-1])

    assert order == [1, 0, 1, 0, 1, 0]


FAULTS = {
    "stall": {"pauses_ms": {30: 6_000.0}},
    "dead": {"pauses_ms": {30: 1e9}},
    "gone": {"fail_after": 30},
    "flood": {"fps": 500.0},
    "gaps": {"gaps": tuple(range(30, 150))},
    "late": {"arrival_ms": 400.0},
}


@pytest.mark.parametrize("infer_ms", [14.0, 26.0])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_one_camera_leaves_the_others_alone(fault, infer_ms):
    # given the same four cameras, once with one of them faulty
    well, ill = play(four(), infer_ms), play(four(d=FAULTS[fault]), infer_ms)

    # then the others are neither later nor slower than they may be without the fault
    for name in "abc":
        assert max(ill.ages(name)) <= INTERVAL_MS + DECODE_MS + infer_ms + TICK_MS
        assert max(ill.gaps(name)) <= max(infer_ms, INTERVAL_MS) + 3 * infer_ms + TICK_MS
        assert len(ill.ages(name)) >= 0.97 * len(well.ages(name))
        assert not [result for result in ill.seen[name] if result.state != "ok"]
    for lane in ill.rig.lanes:
        assert_adds_up(lane)


def test_silence_is_told_for_the_camera_that_is_silent():
    played = play(four(d={"pauses_ms": {30: 6_000.0}}), infer_ms=26.0)

    states = {name: Counter(r.state for r in played.seen[name]) for name in "abcd"}
    assert [states[name]["no-signal"] for name in "abcd"] == [0, 0, 0, 1]
    assert played.lane("d").outages().count == 1
    assert played.lane("a").outages().count == 0


def test_a_camera_that_failed_for_good_ends_alone():
    ended = []

    played = play(four(d={"fail_after": 12}), each=lambda name, _: ended.append(name))

    failed = played.lane("d")
    assert isinstance(failed.failure, SourceError)
    assert failed.end.ended == "error"
    assert failed.recorder.tally.published == 12
    assert played.ended == "duration"
    assert [played.lane(name).failure for name in "abc"] == [None] * 3
    assert len(set(ended[-9:])) == 3


def test_files_end_one_by_one_and_lose_nothing():
    files = {name: {"live": False, "latest": False, "count": count}
             for name, count in (("short", 10), ("long", 50))}  # fmt: skip

    played = play(files, duration_s=None)

    assert played.ended == "end"
    assert [r.index for r in played.seen["short"]] == list(range(10))
    assert [r.index for r in played.seen["long"]] == list(range(50))
    assert {lane.end.ended for lane in played.rig.lanes} == {"end"}
    assert str(played.lane("long").policy) == "every"
    assert played.lane("short").end.duration_s < played.lane("long").end.duration_s


def test_a_policy_belongs_to_one_camera():
    # given frames of one camera that are too old for its deadline, and no deadline for the others
    old = live(arrival_ms=80.0)

    played = play(four(d=old), policies={"d": Policy("deadline", 60.0), "a": LATEST})

    assert {result.state for result in played.seen["d"]} == {"stale"}
    assert played.lane("d").recorder.tally.dropped_stale > 100
    assert played.rig.turns.counts[3] == 0
    assert str(played.lane("d").policy) == "deadline=60"
    assert str(played.lane("b").policy) == "latest"


@pytest.mark.parametrize("number", [1, 50])
def test_stopping_ends_all_cameras_alike(number):
    stop, seen = Stop(), []

    def stop_soon(name, _):
        seen.append(name)
        if len(seen) == number:
            stop.terminate()

    played = play(four(), stop=stop, each=stop_soon)

    assert played.ended == "terminated"
    assert len(seen) == number
    for lane in played.rig.lanes:
        assert lane.end.ended == "terminated"
        assert_adds_up(lane)


def test_a_failed_engine_ends_all_cameras():
    with pytest.raises(BackendError):
        play(four(), fail_at=20)


class HeldSink:
    """Takes one result and does not return until it is released."""

    label = "held"

    def __init__(self, error=None):
        self.release, self.error, self.indices = threading.Event(), error, []

    def open(self):
        pass

    def consume(self, result):
        self.release.wait(10)
        if self.error is not None:
            raise self.error
        self.indices.append(result.index)

    def close(self):
        pass

    def discard(self):
        pass


def test_a_full_sink_of_a_file_holds_up_nobody_else():
    # given a file of which nothing may be lost, whose sink hangs until the cameras have gone on
    sink, others = HeldSink(), []
    worker = SinkWorker(sink, SIZE)

    def release_late(name, _):
        others.append(name)
        if others.count("a") == 100:
            sink.release.set()

    cameras = {"a": live(count=300), "file": {"live": False, "latest": False, "count": 40}}
    with Outlets([worker], null=False) as outlets:
        played = play(cameras, outlets={"file": outlets}, each=release_late, duration_s=None)

    assert others[: 100 + SLOTS].count("file") == SLOTS
    assert sink.indices == list(range(40))
    assert max(played.ages("a")) <= INTERVAL_MS + DECODE_MS + 2 * 10.0 + TICK_MS
    assert [len(played.seen[name]) for name in ("a", "file")] == [300, 40]


def test_a_failed_sink_ends_its_camera_alone():
    sink = HeldSink(SinkError("the disk is full"))
    sink.release.set()
    worker = SinkWorker(sink, SIZE)
    with pytest.raises(SinkError, match="full"), Outlets([worker], null=False) as outlets:
        played = play(four(), policies={"b": EVERY}, outlets={"b": outlets})

    assert isinstance(played.lane("b").failure, SinkError)
    assert played.lane("b").end.ended == "error"
    assert [len(played.ages(name)) > 250 for name in "acd"] == [True] * 3


def test_live_lines_tell_of_each_camera():
    played = play(four(d={"fail_after": 12}), duration_s=None, stop=(stop := Stop()),
                  each=lambda name, result: result.index == 60 and stop.terminate())  # fmt: skip
    for lane in played.rig.lanes[:3]:
        lane.end = None

    lines = RigLines(played.rig, Console(file=io.StringIO())).line().plain.splitlines()

    assert [line.split()[0] for line in lines] == list("abcd")
    assert all("frames/s" in line for line in lines[:3])
    assert lines[3].endswith("over")
