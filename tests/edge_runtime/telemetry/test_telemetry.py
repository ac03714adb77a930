"""Watts, clocks, heat and throttling, from trees of files in the style of real boards."""

from __future__ import annotations

import io
import json
import threading
import time

import pytest
from rich.console import Console

from edge_runtime.bench.conditions import Tapped, together
from edge_runtime.device import describe_device
from edge_runtime.display import print_report
from edge_runtime.loop import LoopOptions
from edge_runtime.runner import execute
from edge_runtime.telemetry.host import HostSensors, open_host
from edge_runtime.telemetry.nvml import THROTTLES, NvmlSensors, open_nvml
from edge_runtime.telemetry.power_mode import jetson_clocks, power_mode
from edge_runtime.telemetry.readings import Readings, read_all
from edge_runtime.telemetry.sampler import Sampler, find_sensors
from edge_runtime.telemetry.sysfs import SysfsSensors
from tests.edge_runtime.telemetry.boards import BOARDS, Writer
from tests.scripted import FakeClock, ScriptedBackend, ScriptedSource

RAILS = {
    "orin-nano": {"VDD_IN": 7.4, "VDD_CPU_GPU_CV": 2.0, "VDD_SOC": 1.5},
    "agx-orin": {"VDD_GPU_SOC": 3.8, "VDD_CPU_CV": 1.9, "VIN_SYS_5V0": 4.0, "VDDQ_VDD2_1V8AO": 0.5},
    "thor": {"VDD_GPU": 10.0, "VDD_CPU_SOC_MSS": 6.0, "VIN_SYS_5V0": 5.0, "VIN": 30.0},
}
TOTALS = {"orin-nano": 7.4, "agx-orin": 9.7, "thor": 30.0}


@pytest.fixture(params=sorted(BOARDS))
def board(request, tmp_path):
    """(name, root of its files)."""
    return request.param, BOARDS[request.param].write(tmp_path)


def test_rails_are_found_by_their_labels(board):
    name, root = board

    readings = SysfsSensors(root).read()

    assert readings.rails_w == pytest.approx(RAILS[name])
    assert readings.total_w == pytest.approx(TOTALS[name])


def test_clocks_and_temperatures(board):
    name, root = board

    readings = SysfsSensors(root).read()

    assert readings.clocks_mhz == pytest.approx({"cpu": 1190.4, "gpu": 510.0})
    expected = [zone for zone in BOARDS[name].zones if zone not in BOARDS[name].unread]
    assert list(readings.temperatures_c) == expected
    assert readings.temperatures_c[expected[1]] == 50.5
    assert readings.events == {"oc1": 5, "oc2": 10, "oc3": 15}
    assert not readings.throttling
    assert not readings.below_lock


def test_power_mode_and_locked_clocks(board):
    name, root = board
    write = Writer(root)

    assert power_mode(root) == BOARDS[name].modes[1]
    assert jetson_clocks(root) is False
    device = describe_device(root)
    assert (device.power_mode, device.jetson_clocks) == (BOARDS[name].modes[1], False)
    for core in range(BOARDS[name].cores):
        write(f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_min_freq", 1_510_400)
    assert jetson_clocks(root) is False, "the GPU's is not locked"
    write(f"sys/class/devfreq/{BOARDS[name].gpu}/min_freq", 624_750_000)
    assert jetson_clocks(root) is True


def test_a_locked_clock_that_falls_is_throttling(board):
    name, root = board
    write, gpu = Writer(root), f"sys/class/devfreq/{BOARDS[name].gpu}"
    write(f"{gpu}/min_freq", 624_750_000)

    write(f"{gpu}/cur_freq", 624_750_000)
    assert not SysfsSensors(root).read().below_lock
    write(f"{gpu}/cur_freq", 0)
    assert not SysfsSensors(root).read().below_lock, "asleep"
    write(f"{gpu}/cur_freq", 408_000_000)
    assert SysfsSensors(root).read().below_lock


def test_a_machine_without_any_of_it(tmp_path):
    sensors = SysfsSensors(tmp_path)

    assert not sensors.present
    assert sensors.read() == Readings()
    assert find_sensors(tmp_path) == []
    assert power_mode(tmp_path) is None
    assert jetson_clocks(tmp_path) is None


@pytest.mark.parametrize("text", ["", "N/A", "not a number", "\x00\xff"])
def test_a_sensor_that_says_nonsense_is_left_out(tmp_path, text):
    root = BOARDS["orin-nano"].write(tmp_path)
    for place in ("sys/class/hwmon/hwmon1/in1_input", "sys/class/thermal/thermal_zone0/temp",
                  "sys/class/devfreq/17000000.gpu/cur_freq", "sys/class/hwmon/hwmon2/oc1_event_cnt",
                  "var/lib/nvpmodel/status"):  # fmt: skip
        (root / place).write_text(text)

    readings = SysfsSensors(root).read()

    assert "VDD_IN" not in readings.rails_w
    assert readings.total_w is None
    assert "cpu-thermal" not in readings.temperatures_c
    assert "gpu" not in readings.clocks_mhz
    assert "oc1" not in readings.events
    assert power_mode(root) is None


def test_other_power_monitors_give_watts_as_well(tmp_path):
    write = Writer(tmp_path)
    write("sys/class/hwmon/hwmon3/name", "ina238")
    write("sys/class/hwmon/hwmon3/power1_input", 12_500_000)

    assert SysfsSensors(tmp_path).read().rails_w == {"ina238": 12.5}


def sampled(sensors, changes=(), interval_s=0.01):
    """The summary after each change was made and seen."""
    with Sampler([sensors], interval_s) as sampler:
        for change in (lambda: None, *changes):
            change()
            before = sampler.summary().samples
            deadline = time.monotonic() + 5
            while sampler.summary().samples < before + 2 and time.monotonic() < deadline:
                time.sleep(0.005)
    return sampler.summary()


def test_the_summary_has_start_end_and_extremes(tmp_path):
    root = BOARDS["orin-nano"].write(tmp_path)
    write = Writer(root)
    amperes, gpu = "sys/class/hwmon/hwmon1/curr1_input", "sys/class/devfreq/17000000.gpu/cur_freq"

    telemetry = sampled(SysfsSensors(root), [
        lambda: (write(amperes, 2000), write(gpu, 306_000_000)),
        lambda: (write(amperes, 1000), write(gpu, 624_750_000)),
    ])  # fmt: skip

    watts, clock = telemetry.power_w, telemetry.clocks_mhz["gpu"]
    assert (watts.start, watts.end, watts.min, watts.max) == pytest.approx((7.4, 5.0, 5.0, 10.0))
    assert 5.0 < watts.mean < 10.0
    assert (clock.start, clock.min, clock.max) == pytest.approx((510.0, 306.0, 624.75))
    assert telemetry.throttle_events == {}
    assert telemetry.sensors == ("sysfs",)


def test_events_before_the_run_do_not_count_and_those_in_it_do(tmp_path):
    root = BOARDS["agx-orin"].write(tmp_path)
    write, alert = Writer(root), "sys/class/thermal/cooling_device1/cur_state"

    telemetry = sampled(SysfsSensors(root), [
        lambda: write("sys/class/hwmon/hwmon3/oc3_event_cnt", 19),
        lambda: write(alert, 1), lambda: write(alert, 0), lambda: write(alert, 1),
        lambda: write("sys/class/thermal/cooling_device2/cur_state", 1),  # only a hot surface
    ])  # fmt: skip

    assert telemetry.throttle_events == {"gpu-throttle": 2, "oc3": 4}


def test_the_last_moment_of_a_run_is_looked_at(tmp_path):
    root = BOARDS["thor"].write(tmp_path)

    with Sampler([SysfsSensors(root)], interval_s=60.0) as sampler:
        while sampler.summary().samples == 0:
            time.sleep(0.005)
        Writer(root)("sys/class/hwmon/hwmon3/oc1_event_cnt", 6)

    assert sampler.summary().throttle_events == {"oc1": 1}


class Plain(ScriptedSource):
    """A scripted camera that lets real time pass, so that sensors can be read."""

    def read(self, timeout_s):
        time.sleep(0.002)
        return super().read(timeout_s)


def run_on(root, during=lambda index: None):
    clock = FakeClock()
    backend = ScriptedBackend(clock)
    options = LoopOptions(clock=clock, on_result=lambda result: during(result.index))
    with backend:
        return execute(backend, Plain(clock, count=40), backend.manifest, options,
                       sensors=find_sensors(root)).report  # fmt: skip


def printed(report):
    console = Console(file=io.StringIO(), width=200)
    print_report(report, console)
    return console.file.getvalue()


def test_a_run_that_throttled_says_so_in_text_and_json(board):
    name, root = board
    events = f"sys/class/hwmon/hwmon{len(BOARDS[name].rails) + 1}/oc2_event_cnt"

    report = run_on(root, lambda index: Writer(root)(events, 12) if index == 20 else None)

    record = json.loads(report.to_json())
    assert record["throttled"] is True
    assert record["throttle_events"] == 2
    assert record["telemetry"]["throttle_events"] == {"oc2": 2}
    assert "THROTTLED: oc2 2 times" in printed(report)


def test_a_run_that_did_not_throttle_says_that_too(board):
    name, root = board

    report = run_on(root)

    record = json.loads(report.to_json())
    assert record["throttled"] is False
    assert record["throttle_events"] == 0
    assert record["power_w"]["rails"] == pytest.approx(RAILS[name])
    assert record["power_w"]["mean"] == pytest.approx(TOTALS[name])
    assert record["temperature_c"] == {"gpu_max": 50.5, "cpu_max": 50.0}
    assert record["clocks_mhz"] == {"gpu_min": 510.0}
    text = printed(report)
    assert f"Machine: {TOTALS[name]:.1f} W mean" in text
    assert "THROTTLED" not in text


def test_without_sensors_nothing_is_claimed(tmp_path):
    report = run_on(tmp_path)

    assert report.throttled is None
    assert report.throttle_events is None
    assert report.telemetry.samples == 0
    assert not [t for t in threading.enumerate() if t.name == "telemetry"]


def test_reading_is_cheap_and_its_cost_is_told(board):
    _, root = board

    telemetry = sampled(SysfsSensors(root), [lambda: None] * 5)

    # Far below 1 % of a core at one reading a second, machines that run tests being noisy.
    assert 0 < telemetry.mean_read_ms < 50
    assert telemetry.samples >= 10


def test_a_slow_sensor_delays_no_frame():
    class Slow:
        name = "slow"

        def read(self):
            time.sleep(0.3)
            return Readings(total_w=5.0)

        def close(self):
            pass

    clock = FakeClock()
    backend, begin = ScriptedBackend(clock), time.monotonic()
    with backend:
        source = ScriptedSource(clock, count=300)
        report = execute(backend, source, backend.manifest, LoopOptions(clock=clock),
                         sensors=[Slow()]).report  # fmt: skip

    assert report.telemetry.power_w.mean == 5.0
    # two readings at most are waited for: the one under way at the end, and the last look
    assert time.monotonic() - begin < 3.0


class Flaky:
    """Sensors that tell something, and raise at the readings they are told to."""

    def __init__(self, readings, fail_at=(), name="flaky"):
        self.readings, self.fail_at, self.name = readings, fail_at, name
        self.count = 0

    def read(self):
        self.count += 1
        if self.count - 1 in self.fail_at:
            raise RuntimeError(f"no answer\nat reading {self.count - 1}")
        return self.readings

    def close(self):
        pass


def test_sensors_that_raise_are_left_out_told_once_and_asked_again():
    # given a card whose library fails at two readings, beside a board that works
    card = Flaky(Readings(clocks_mhz={"gpu": 900.0}), fail_at=(1, 2), name="card")
    board = Flaky(Readings(total_w=5.0), name="board")
    sampler = Sampler([card, board])

    seen = []
    for _ in range(4):
        sampler.sample()
        now = sampler.summary(current=True)
        seen.append((sampler.latest.clocks_mhz, set(now.clocks_mhz), now.power_w.end))

    here = ({"gpu": 900.0}, {"gpu"}, 5.0)
    assert seen == [here, ({}, set(), 5.0), ({}, set(), 5.0), here]
    telemetry = sampler.summary()
    assert telemetry.failed == {"card": "RuntimeError: no answer at reading 1"}
    assert telemetry.samples == 4
    columns = telemetry.history.columns
    assert [row[columns.index("gpu_mhz")] for row in telemetry.history.rows] == [
        900.0, None, None, 900.0,
    ]  # fmt: skip


def test_throttling_that_a_failed_reading_does_not_tell_of_counts_once():
    hot = Readings(tells_throttling=True, throttling=frozenset({"thermal"}))
    sensors = Flaky(hot, fail_at=(1, 3, 5))
    sampler = Sampler([sensors])

    for _ in range(7):
        sampler.sample()
    assert sampler.throttle_counts == {"thermal": 1}

    # over, and begun again
    sensors.readings = Readings(tells_throttling=True)
    sampler.sample()
    sensors.readings = hot
    sampler.sample()
    assert sampler.throttle_counts == {"thermal": 2}


def test_sensors_that_raise_do_not_end_the_thread_and_the_report_says_so():
    sensors = Flaky(Readings(total_w=5.0), fail_at=range(1, 10**6))

    telemetry = sampled(sensors, [lambda: None] * 2)

    assert telemetry.samples >= 6
    assert telemetry.power_w.end == 5.0, "of the run, not of now"
    clock, card = FakeClock(), Flaky(Readings(), fail_at=(0, 1))
    with ScriptedBackend(clock) as backend:
        options = LoopOptions(clock=clock)
        source = Plain(clock, count=9)
        report = execute(backend, source, backend.manifest, options, sensors=[card]).report
    assert "Sensors of flaky failed at times" in printed(report)
    assert "RuntimeError: no answer at reading 0" in printed(report)
    record = json.loads(report.to_json())
    assert record["telemetry"]["failed"] == {"flaky": "RuntimeError: no answer at reading 0"}


def test_a_failed_reading_leaves_nothing_old_for_the_curve_of_a_benchmark():
    tap = Tapped(Flaky(Readings(total_w=5.0), fail_at=(1,)))

    assert [(read_all([tap]).total_w, together([tap]).total_w) for _ in range(3)] == [
        (5.0, 5.0), (None, None), (5.0, 5.0),
    ]  # fmt: skip


def test_a_kernel_that_does_not_tell_the_clock_costs_only_the_clock():
    class Psutil:
        def cpu_percent(self):
            return 12.0

        def cpu_freq(self):
            raise NotImplementedError("can't find current frequency file")

    readings = HostSensors(Psutil()).read()

    assert (readings.cpu_percent, readings.clocks_mhz) == (12.0, {})


def test_psutil_where_it_is_installed():
    pytest.importorskip("psutil", reason="no psutil: pip install 'hyperseg-edge[telemetry]'")

    readings = open_host().read()

    assert 0.0 <= readings.cpu_percent <= 100.0


def test_what_one_group_lacks_another_fills_in():
    first = Readings(total_w=7.0, clocks_mhz={"gpu": 500.0}, events={"oc1": 1})

    first.fill(Readings(total_w=9.0, cpu_percent=3.0, clocks_mhz={"gpu": 1.0, "cpu": 2.0}))

    assert first.total_w == 7.0
    assert first.cpu_percent == 3.0
    assert first.clocks_mhz == {"gpu": 500.0, "cpu": 2.0}


class OldDriver:
    """NVML of a card that tells little: what is not here, its driver does not support."""

    NVML_TEMPERATURE_GPU, NVML_CLOCK_SM, NVML_CLOCK_MEM = 0, 1, 2
    reasons = 0x20 | 0x04 | 0x01

    class NVMLError(Exception):
        pass

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802  (NVML's name)
        return index

    def nvmlDeviceGetPowerUsage(self, card):  # noqa: N802
        return 88_500

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, card):  # noqa: N802
        return self.reasons

    def __getattr__(self, name):
        def refuse(*_):
            raise self.NVMLError

        return refuse


def test_a_card_that_tells_only_some_of_it():
    sensors = NvmlSensors(OldDriver())

    readings = sensors.read()
    sensors.close()

    assert readings.total_w == readings.rails_w["GPU"] == 88.5
    assert readings.throttling == {"thermal-software", "power-cap"}
    assert readings.temperatures_c == readings.clocks_mhz == {}
    assert readings.gpu_memory_mb is None


@pytest.mark.gpu
def test_a_real_card_tells_power_heat_and_clocks():
    sensors = open_nvml()
    if sensors is None:
        pytest.skip("no NVML: pip install nvidia-ml-py, and a driver")

    readings = sensors.read()
    sensors.close()

    assert readings.total_w > 0
    assert 0 < readings.temperatures_c["gpu"] < 120
    assert readings.clocks_mhz["gpu"] > 0
    assert readings.throttling <= set(THROTTLES.values())
