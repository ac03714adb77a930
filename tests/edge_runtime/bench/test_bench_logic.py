"""The logic of `hyperseg bench`: statistics, rounds, masks and judgements, on a virtual clock."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest

from edge_runtime.backends.tensorrt.stages import DeviceDurations, DeviceTimes
from edge_runtime.bench.conditions import Conditions, Tapped, look, together
from edge_runtime.bench.figures import paired_ratio
from edge_runtime.bench.judge import drift
from edge_runtime.bench.measure import Hooks, Measurement, Window
from edge_runtime.bench.options import BenchOptions, WarmUpPlan
from edge_runtime.bench.subject import Subject, agreement, masks_hash
from edge_runtime.errors import OptionError
from edge_runtime.rig.engine import Network
from edge_runtime.telemetry.readings import Readings
from tests.scripted import MS, SIZE, FakeClock, ScriptedBackend, scripted_manifest


def subject(clock, label="a", backend=None, **fields):
    backend = (backend or ScriptedBackend(clock, **fields)).__enter__()
    frames = [np.full((*SIZE, 3), value, np.uint8) for value in (0, 1)]
    return Subject(label, Network(backend, scripted_manifest()), frames, clock)


def measurement(clock, subjects, hooks=None, **options):
    options = BenchOptions(models=tuple(one.label for one in subjects), **options)
    return Measurement(subjects, options, hooks or Hooks(), clock)


# --- statistics


def test_ratio_of_pairs_is_found_under_noise_that_both_share():
    # given a model that takes 1.2 times another's time on a machine whose speed wanders threefold
    rng = np.random.default_rng(1)
    wander = np.exp(np.cumsum(rng.normal(0, 0.05, 300)))
    base = 10 * wander * rng.lognormal(0, 0.03, 300)
    slower = 12 * wander * rng.lognormal(0, 0.03, 300)

    found = paired_ratio(slower, base)

    assert found.low < 1.2 < found.high
    assert found.high - found.low < 0.05
    assert found.differs


def test_equal_models_are_rarely_said_to_differ():
    rng = np.random.default_rng(2)
    wrong = 0
    for _ in range(40):
        # bursts of 8 rounds that hit the two models differently: neighbours are no independent
        # samples, and an interval that took them so would be far too narrow
        bursts = np.repeat(rng.normal(0, 0.1, 30), 8)
        wrong += paired_ratio(np.exp(bursts + rng.normal(0, 0.05, 240)), np.ones(240)).differs
    assert wrong <= 6  # 15 if rounds were taken as independent


def test_few_rounds_have_no_interval_and_prove_nothing():
    found = paired_ratio([2.0] * 9, [1.0] * 9)
    assert (found.median, found.low, found.high) == (2.0, None, None)
    assert not found.differs


def test_interval_of_very_many_rounds_takes_bounded_memory():
    found = paired_ratio(np.full(200_003, 3.0), np.full(200_003, 2.0))
    assert (found.low, found.median, found.high) == (1.5, 1.5, 1.5)


# --- options


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("until-stable", WarmUpPlan()),
        ("50", WarmUpPlan(queries=50)),
        ("2s", WarmUpPlan(seconds=2.0)),
    ],
)
def test_warmup_is_read(text, plan):
    assert WarmUpPlan.parse(text) == plan


def test_warmup_that_cannot_be_read_says_what_is_expected():
    with pytest.raises(OptionError, match="expected until-stable, a number of queries"):
        WarmUpPlan.parse("soon")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"models": ()}, "0 models: give 1 to 16"),
        ({"iterations": 5, "duration_s": 1.0}, "one of --iterations, --duration and --sustained"),
        ({"iterations": 0}, "iterations 0: expected 1 or more"),
        ({"window_s": 5.0}, "divides the curve of --sustained"),
        ({"duration_s": 0.0}, "duration 0 s: expected above 0"),
        ({"sustained_s": float("inf")}, "sustained inf s"),
        ({"frames": 0}, "frames 0"),
        ({"threads": 0}, "threads 0"),
    ],
)
def test_options_that_cannot_work_are_refused(fields, message):
    with pytest.raises(OptionError, match=message):
        BenchOptions(**{"models": ("a",), **fields})


# --- one query


def test_query_without_a_device_has_no_transfers_and_says_why():
    clock = FakeClock()
    one = subject(clock, infer_ms=10.0)

    one.query(0, counted=True)

    assert list(one.values["latency"]) == list(one.values["compute"]) == [10.0]
    assert list(one.values["wall"]) == [10.0]
    assert sorted(one.unmeasured) == ["d2h", "enqueue", "h2d"]
    assert one.busy_ns == 10 * MS


def test_query_with_transfers_adds_them_up():
    one = subject(FakeClock(), infer_ms=10.0, copies_ms=2.0)

    one.query(0, counted=True)
    one.finish()

    stages = {name: list(one.values[name]) for name in ("h2d", "compute", "d2h", "latency")}
    assert stages == {"h2d": [2.0], "compute": [10.0], "d2h": [2.0], "latency": [14.0]}
    assert list(one.unmeasured) == ["enqueue"]


@dataclass
class LateBackend(ScriptedBackend):
    """Reads its device's clock one query late, as the engine's backend does."""

    copies_ms: float = 1.0
    times: DeviceTimes = field(default_factory=DeviceTimes)

    def infer(self, stamps) -> None:
        if self.calls:
            self.times.add(DeviceDurations(0.1, float(self.calls - 1), 0.2))
        self.times.launched(self.calls * MS)
        super().infer(stamps)


def test_late_device_times_are_those_of_the_counted_queries():
    # given an engine whose n-th query computes for n ms and is launched in n ms
    clock = FakeClock()
    one = subject(clock, backend=LateBackend(clock))

    for number in range(6):
        one.query(number, counted=number in (2, 3, 5))
    one.finish()

    assert list(one.values["compute"]) == [2.0, 3.0, 5.0]
    assert list(one.values["enqueue"]) == [2.0, 3.0, 5.0]
    assert list(one.values["latency"]) == pytest.approx([2.3, 3.3, 5.3])
    assert not one.unmeasured


def test_gpu_that_shares_its_memory_has_no_transfers_but_a_queue():
    clock = FakeClock()
    backend = LateBackend(clock, copies_ms=0.0)
    one = subject(clock, backend=backend)
    one.query(0, counted=False)
    one.query(1, counted=True)
    one.finish()
    assert list(one.values["latency"]) == list(one.values["compute"]) == [1.0]
    assert set(one.unmeasured) == {"h2d", "d2h"}
    assert "share their memory" in one.unmeasured["h2d"]


def test_masks_tell_engines_apart_to_the_pixel():
    clock = FakeClock()
    masks = subject(clock).masks()
    other = [mask.copy() for mask in masks]
    assert masks_hash(other) == masks_hash(masks)
    assert agreement(other, masks) == 1.0

    other[1][0, 0] ^= 1

    assert masks_hash(other) != masks_hash(masks)
    assert agreement(other, masks) == 1 - 1 / (2 * SIZE[0] * SIZE[1])
    assert masks_hash([masks[0].T]) != masks_hash([masks[0]])


# --- rounds


def test_warm_up_ends_when_the_latency_is_stable_and_counts_nothing():
    clock = FakeClock()
    slow_start = [50.0] * 20 + [10.0] * 1000
    one, two = subject(clock, infer_ms=slow_start), subject(clock, "b", infer_ms=5.0)
    bench = measurement(clock, [one, two])

    first, second = bench.warm_up()

    assert (first.stable, second.stable) == (True, True)
    assert first.first_ms == 50.0
    assert 60 < first.queries < 120
    assert one.queries == two.queries == 0
    assert not one.values["wall"]


def test_warm_up_that_never_gets_stable_ends_and_says_so():
    clock = FakeClock()
    rising = [float(1 + number) for number in range(2000)]
    (warmed,) = measurement(clock, [subject(clock, infer_ms=rising)]).warm_up()
    assert warmed.stable is False
    assert 30 <= warmed.seconds < 31


@pytest.mark.parametrize(("plan", "queries"), [("7", 7), ("1s", 100)])
def test_warm_up_of_a_given_length_claims_no_stability(plan, queries):
    clock = FakeClock()
    bench = measurement(clock, [subject(clock)], warmup=WarmUpPlan.parse(plan))
    (warmed,) = bench.warm_up()
    assert (warmed.queries, warmed.stable) == (queries, None)


def test_every_model_runs_in_every_round_in_random_order_after_a_query_that_does_not_count():
    clock, order = FakeClock(), []

    @dataclass
    class Noted(ScriptedBackend):
        def infer(self, stamps) -> None:
            order.append(self.name)
            super().infer(stamps)

    subjects = [subject(clock, name, backend=Noted(clock, name=name)) for name in "abc"]
    bench = measurement(clock, subjects, iterations=60)

    bench.run()

    turns = [tuple(order[i : i + 6]) for i in range(0, len(order), 6)]
    assert len(turns) == 60
    for turn in turns:
        assert turn[0::2] == turn[1::2]
        assert set(turn) == {"a", "b", "c"}
    assert len(Counter(turns)) == 6
    assert [one.queries for one in subjects] == [60] * 3


def test_pictures_are_taken_by_turns():
    clock = FakeClock()
    one = subject(clock)
    seen = []
    one.network.decode = lambda: seen.append(int(one.network.feed[0, 0, 0]))
    measurement(clock, [one], iterations=4).run()
    assert sorted(seen) == [0, 0, 1, 1]


def test_duration_is_kept_but_never_below_ten_queries():
    clock = FakeClock()
    quick, slow = subject(clock, infer_ms=1.0), subject(clock, infer_ms=400.0)
    bench = measurement(clock, [quick], duration_s=0.5)
    bench.run()
    assert (quick.queries, bench.seconds) == (500, 0.5)
    measurement(clock, [slow], duration_s=0.5).run()
    assert slow.queries == 10


def test_stop_ends_after_the_round_with_what_there_is():
    clock, looks = FakeClock(), []

    def stopped() -> bool:
        looks.append(1)
        return len(looks) > 3

    subjects = [subject(clock), subject(clock, "b")]
    measurement(clock, subjects, Hooks(stopped=stopped), iterations=1000).run()
    assert [one.queries for one in subjects] == [4, 4]


def test_curve_shows_when_a_machine_got_slower():
    # given one that throttles from 10 to 15 ms after 500 queries
    clock = FakeClock()
    one = subject(clock, infer_ms=[10.0] * 500 + [15.0] * 5000)
    readings = Readings(clocks_mhz={"gpu": 510.0}, throttling=frozenset({"thermal"}), total_w=9.5)
    hooks = Hooks(sensors=lambda: readings)
    bench = measurement(clock, [one], hooks, sustained_s=20.0, window_s=1.0)

    bench.run()

    curve = bench.curve["a"]
    assert [round(window.t_s) for window in curve] == list(range(1, 21))
    assert (curve[0].p50_ms, curve[-1].p50_ms) == (10.0, 15.0)
    assert sum(window.queries for window in curve) == one.queries
    assert (curve[0].clocks_mhz, curve[0].throttling, curve[0].power_w) == (
        {"gpu": 510.0}, ("thermal",), 9.5,
    )  # fmt: skip
    assert drift(curve) == 1.5


def test_short_curve_tells_no_drift():
    assert drift([Window(1.0, 5, 10.0, 11.0, 12.0)] * 7) is None


# --- conditions


def test_governors_and_boost_are_read(tmp_path):
    for core, governor in enumerate(["schedutil", "schedutil", "performance"]):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{core}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(governor + "\n")
    boost = tmp_path / "sys/devices/system/cpu/cpufreq"
    boost.mkdir()
    (boost / "boost").write_text("0\n")

    found = look(tmp_path)

    assert found.governors == {"schedutil": 2, "performance": 1}
    assert found.boost is False
    assert found.cores >= 1


def test_a_machine_that_tells_nothing_is_described_with_nulls(tmp_path):
    found = look(tmp_path)
    assert (found.governors, found.boost) == ({}, None)


@pytest.mark.parametrize(("load", "busy"), [(0.3, False), (2.0, True), (None, False)])
def test_busy_is_load_above_a_quarter_of_the_cores(load, busy):
    assert Conditions(2, load, {}, None).busy is busy


def test_sensors_that_come_first_are_believed_first():
    @dataclass
    class Fixed:
        name: str
        readings: Readings

        def read(self) -> Readings:
            return self.readings

        def close(self) -> None:
            self.name = "closed"

    first = Fixed("sysfs", Readings(clocks_mhz={"cpu": 1000.0}))
    second = Fixed("psutil", Readings(clocks_mhz={"cpu": 2000.0, "gpu": 5.0}))
    taps = [Tapped(first), Tapped(second)]
    for tap in taps:
        tap.read()
    readings = together(taps)
    assert readings is not None
    assert readings.clocks_mhz == {"cpu": 1000.0, "gpu": 5.0}
    assert together([]) is None
    taps[0].close()
    assert first.name == "closed"
