"""Lost cameras come back: on a virtual clock, by the schedules that the ``fault:`` source takes."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from edge_runtime.errors import OptionError, SourceError
from edge_runtime.loop import LoopOptions
from edge_runtime.policy import LATEST, Policy
from edge_runtime.runner import execute
from edge_runtime.sources.fault import KINDS
from edge_runtime.supervision.backoff import FIRST_S, LONGEST_S, STABLE_S, Backoff
from edge_runtime.supervision.health import KEPT_FAULTS
from edge_runtime.supervision.options import SupervisionOptions
from edge_runtime.supervision.source import SupervisedSource
from tests.faulty import FaultyWorld
from tests.scripted import MS, FakeClock, ScriptedBackend, ScriptedSource

LOSING = ("stall", "hang", "unplug", "eos")
"""Faults after which there is no signal."""


class Run:
    """A supervised faulty camera through the loop, with what a subscriber saw and when."""

    def __init__(
        self, schedule, *, duration_s=30.0, seed=0, policy=LATEST, infer_ms=10.0, **options
    ):
        self.clock = FakeClock()
        self.begin_ns = self.clock()
        self.world = FaultyWorld(self.clock, schedule)
        self.results, self.at_s, self.masks = [], [], []
        backend = ScriptedBackend(self.clock, infer_ms=infer_ms)
        self.source = SupervisedSource(
            self.world(),
            self.world,
            SupervisionOptions(**options),
            seed=seed,
            clock=self.clock,
            pause=lambda seconds: self.clock.pass_ms(seconds * 1e3),
        )
        loop_options = LoopOptions(
            policy=policy, clock=self.clock, duration_s=duration_s, on_result=self._note
        )
        with backend:
            self.outcome = execute(backend, self.source, backend.manifest, loop_options)
        self.report = self.outcome.report

    def _now_s(self):
        return (self.clock() - self.begin_ns) * 1e-9

    def _note(self, result):
        self.results.append(result)
        self.at_s.append(self._now_s())
        self.masks.append(None if result.mask is None else result.mask.copy())

    def silences(self):
        """(seconds at which no-signal was told, seconds of the next mask)."""
        told = []
        for position, result in enumerate(self.results):
            if result.state == "no-signal":
                later = range(position, len(self.results))
                back = next((self.at_s[i] for i in later if self.results[i].state == "ok"), None)
                told.append((self.at_s[position], back))
        return told

    def last_mask_before(self, at_s):
        return max(
            t for t, r in zip(self.at_s, self.results, strict=True) if r.state == "ok" and t < at_s
        )


@pytest.mark.parametrize("kind", LOSING)
def test_r2_a_lost_camera_is_told_within_2_s_and_back_within_5_s_100_of_100(kind):
    for seed in range(100):
        # given a fault of random length at a random time, and random waits
        rng = np.random.default_rng(seed)
        start_s, lasts_s = rng.uniform(1.0, 4.0), rng.uniform(2.5, 40.0)
        lasting = kind in ("stall", "unplug")
        schedule = f"{kind}@{start_s:.3f}" + (f"+{lasts_s:.3f}" if lasting else "")

        can_be_back_s = start_s + (lasts_s if lasting else 0.0)
        run = Run(schedule, duration_s=can_be_back_s + 12.0, seed=seed)

        [(told_s, back_s)] = run.silences()
        limit_s = 0.1 if kind in ("unplug", "eos") else 2.1  # an error needs no silence
        assert told_s - run.last_mask_before(told_s) <= limit_s + 2 / 15
        assert back_s is not None
        assert back_s - max(can_be_back_s, told_s) <= 5.0, seed
        assert run.outcome.failure is None
        assert run.report.outages.count == 1


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("policy", [LATEST, Policy("deadline", 60.0)], ids=str)
def test_r4_r10_whatever_happens_frames_add_up_and_no_mask_is_wrong(kind, policy):
    for seed in range(10):
        run = Run(f"every=8,kinds={kind},seed={seed}", duration_s=40.0, seed=seed, policy=policy)

        frames, dropped = run.report.frames, run.report.frames.dropped
        assert frames.captured == (
            frames.inferred + dropped.queue + dropped.stale + dropped.damaged + dropped.repeated
            + dropped.outage + frames.in_flight
        )  # fmt: skip
        assert frames.inferred == frames.published + dropped.sink
        indices = [r.index for r in run.results if r.state != "no-signal"]
        assert indices == sorted(set(indices)), "numbers go on over all openings"
        values = [int(mask[0, 0]) for mask in run.masks if mask is not None]
        assert 255 not in values, "a damaged frame was segmented"
        assert all(before != after for before, after in pairwise(values))
        for result in run.results:
            assert (result.mask is not None) == (result.state == "ok")


@pytest.mark.parametrize("seed", range(20))
def test_all_faults_at_random_for_ten_minutes(seed):
    run = Run(f"every=9,seed={seed}", duration_s=600.0, seed=seed)

    outages = run.report.outages
    assert run.report.ended == "duration"
    assert run.outcome.failure is None
    assert outages.count == sum(outages.causes.values()) == len(run.silences())
    assert all(back_s is not None or told_s > 590 for told_s, back_s in run.silences())
    assert all(camera.closed == camera.opened for camera in run.world.openings)


def test_an_outage_is_accounted_for():
    run = Run("unplug@5+6", duration_s=20.0)

    outages, [fault] = run.report.outages, run.report.faults
    assert outages.count == outages.reconnects == 1
    assert outages.causes == {"lost": 1}
    assert outages.failed_attempts >= 3
    assert outages.total_s == outages.longest_s == fault.recovered_after_s
    assert 6.0 < outages.total_s < 11.0
    assert fault.kind == "lost"
    assert fault.t_s == pytest.approx(4.7, abs=0.1)
    assert "the device is gone" in fault.reason
    record = json.loads(run.report.to_json())
    assert record["outages"]["causes"] == {"lost": 1}
    [silence] = [result for result in run.results if result.state == "no-signal"]
    assert silence.reason == fault.reason


def test_an_outage_at_the_end_counts_as_far_as_it_went():
    run = Run("unplug@5+1000", duration_s=20.0)

    assert run.report.outages.count == 1
    assert run.report.outages.reconnects == 0
    assert run.report.outages.total_s >= 15.0
    assert run.report.faults[0].recovered_after_s is None


def test_a_short_stall_ends_by_itself_and_is_not_opened_again():
    run = Run("stall@3+3", duration_s=10.0)

    assert run.report.outages.causes == {"stall": 1}
    assert run.report.outages.reconnects == 0
    assert len(run.world.openings) == 1
    assert "no error" in run.report.faults[0].reason


def test_a_camera_that_repeats_its_presentation_time_counts_as_silent():
    run = Run("pts-repeat@3+3", duration_s=10.0)

    assert run.report.outages.causes == {"stall": 1}
    assert run.report.frames.dropped.repeated >= 40
    assert run.report.outages.irregular == {"repeated": 1}


@pytest.mark.parametrize(("schedule", "kind"), [
    ("size=0.5@3+2", "size-change"),
    ("pts-jump=10@3", "pts-jump"),
    ("pts-jump=-1@3", "pts-jump"),
    ("corrupt=0.5@3+2", "damaged"),
])  # fmt: skip
def test_irregular_frames_are_named_and_the_source_is_degraded(schedule, kind):
    run = Run(schedule, duration_s=4.0)

    assert run.report.outages.count == 0
    assert run.report.outages.irregular.get(kind, 0) >= 1
    assert kind in [fault.kind for fault in run.report.faults]
    assert run.source.state == "degraded"


def test_jitter_and_bursts_are_no_jumps():
    run = Run("jitter=0.2@2+4,burst=0.5@8+4", duration_s=15.0)

    assert run.report.outages.irregular == {}
    assert run.report.outages.count == 0


def test_states_in_their_order():
    seen = []

    class Watching(Run):
        def _note(self, result):
            super()._note(result)
            state = self.source.state
            if not seen or seen[-1] != state:
                seen.append(state)

    Watching("stall@3+3,unplug@14+3,size=0.5@30+1", duration_s=40.0)

    assert seen == ["up", "stalled", "up", "reconnecting", "up", "degraded", "up"]


def test_a_low_rate_is_degraded():
    run = Run("drop=0.8@3+20", duration_s=15.0)

    assert run.source.state == "degraded"
    assert run.report.frames.dropped.source_gap > 80


def test_no_reconnect_ends_the_run_with_the_error():
    run = Run("unplug@3+2", duration_s=20.0, reconnect=False)

    assert isinstance(run.outcome.failure, SourceError)
    assert run.report.ended == "error"
    assert run.source.state == "failed"


def test_no_reconnect_lets_a_stall_last():
    run = Run("stall@3+9", duration_s=20.0, reconnect=False)

    assert run.outcome.failure is None
    assert run.report.outages.total_s == pytest.approx(9.0, abs=0.2)


def test_an_outage_beyond_its_limit_ends_the_run_with_the_reason():
    run = Run("unplug@3+500", duration_s=40.0, max_outage_s=10.0)

    assert run.report.ended == "error"
    assert "no signal for" in str(run.outcome.failure)
    assert "--max-outage 10" in str(run.outcome.failure)
    assert "unplugged" in str(run.outcome.failure)
    assert run.source.state == "failed"


def test_a_silent_camera_beyond_the_limit_ends_the_run_as_well():
    run = Run("stall@3+500", duration_s=40.0, max_outage_s=6.0, reconnect=False)

    assert "no new frame" in str(run.outcome.failure)
    assert run.report.duration_s < 10.0


def test_a_failure_before_the_first_frame_is_an_error_at_once():
    with pytest.raises(SourceError, match="no frame in time"):
        Run("slow-start@0+30", duration_s=20.0)


class DamagedFromTheStart:
    """A supervised camera read without a loop: its first frames are all damaged."""

    def __init__(self, schedule, **options):
        self.clock = FakeClock()
        self.world = FaultyWorld(self.clock, f"corrupt=1@0+2,{schedule}")
        self.source = SupervisedSource(
            self.world(),
            self.world,
            SupervisionOptions(**options),
            seed=1,
            clock=self.clock,
            pause=lambda seconds: self.clock.pass_ms(seconds * 1e3),
        )

    def good_after_s(self, limit_s):
        """When the first good frame came; None if there was none within the limit."""
        with self.source:
            begin_ns = self.clock()
            while (now_s := (self.clock() - begin_ns) * 1e-9) < limit_s:
                if self.source.read(0.1) is not None:
                    return now_s
        return None


@pytest.mark.parametrize(("fault", "cause"), [
    ("hang@1.9", "stall"), ("unplug@1.9+2", "lost"), ("eos@1.9", "end"),
])  # fmt: skip
def test_a_camera_lost_before_its_first_good_frame_comes_back(fault, cause):
    camera = DamagedFromTheStart(fault)

    came_s = camera.good_after_s(30.0)

    assert came_s is not None
    assert 1.9 < came_s < 10.0
    assert camera.source.record.causes == {cause: 1}
    assert camera.source.record.reconnects.total() == 1
    assert camera.source.counters.damaged > 20


def test_a_camera_that_falls_silent_before_its_first_good_frame_is_given_up_in_time():
    camera = DamagedFromTheStart("stall@1.9+900", max_outage_s=6.0)

    with pytest.raises(SourceError, match=r"no signal for .*--max-outage 6"):
        camera.good_after_s(30.0)

    assert (camera.clock() - camera.world.openings[0]._began_ns) * 1e-9 < 10.0


def test_damaged_frames_alone_do_not_prolong_an_outage_without_end():
    # given a camera that falls silent before its first good frame and is damaged ever after
    camera = DamagedFromTheStart("corrupt=1@2+900,stall@1+3", max_outage_s=6.0)

    with pytest.raises(SourceError, match="--max-outage 6"):
        camera.good_after_s(30.0)


def test_a_camera_that_never_gave_a_good_frame_is_not_hammered():
    # given a sender that ends the stream every half second
    ends = ",".join(f"eos@{number / 2}" for number in range(4, 240))
    camera = DamagedFromTheStart(f"corrupt=1@2+900,{ends}")

    assert camera.good_after_s(120.0) is None

    # one in 2 s: the waits grow, as each attempt but the first follows one that brought nothing
    assert 30 < len(camera.world.openings) < 80


def test_files_are_never_opened_again():
    clock = FakeClock()
    backend = ScriptedBackend(clock)
    source = SupervisedSource(
        ScriptedSource(clock, live=False, fail_after=12), lambda _: pytest.fail("opened again"),
        clock=clock,
    )  # fmt: skip

    with backend:
        outcome = execute(backend, source, backend.manifest, LoopOptions(clock=clock))

    assert outcome.report.ended == "error"
    assert outcome.report.frames.published == 12


def test_many_faults_do_not_fill_the_memory():
    run = Run("every=3,kinds=unplug/eos,seed=4", duration_s=3000.0)

    assert run.report.faults_total == run.report.outages.count > 2 * KEPT_FAULTS
    assert len(run.report.faults) == KEPT_FAULTS


def test_waits_double_up_to_a_cap_and_differ_between_clients():
    one, other = Backoff(seed=1), Backoff(seed=2)

    first = [one.next_s() for _ in range(20)]

    assert FIRST_S / 2 <= first[0] <= FIRST_S
    assert all(LONGEST_S / 2 <= wait <= LONGEST_S for wait in first[5:])
    assert first != [other.next_s() for _ in range(20)]


def test_a_camera_that_fails_at_once_again_is_not_hammered():
    waits = Backoff(seed=1)
    for _ in range(8):
        waits.next_s()

    waits.outage(up_s=STABLE_S / 2)
    assert waits.next_s() >= LONGEST_S / 2
    waits.outage(up_s=STABLE_S)
    assert waits.next_s() <= FIRST_S


@pytest.mark.parametrize("options", [
    {"stall_timeout_s": 0.0}, {"stall_timeout_s": float("nan")}, {"max_outage_s": -1.0},
    {"stall_timeout_s": 5.0, "max_outage_s": 2.0},
])  # fmt: skip
def test_options_that_cannot_work(options):
    with pytest.raises(OptionError, match="expected"):
        SupervisionOptions(**options)


def test_reconnecting_never_repeats_an_old_mask():
    run = Run("unplug@3+4", duration_s=12.0)

    before = [r for r, t in zip(run.results, run.at_s, strict=True) if t < 3.0][-1]
    after = run.results[[r.state for r in run.results].index("no-signal") + 1]
    assert after.index > before.index
    assert after.capture_ns - before.capture_ns > 4_000 * MS
