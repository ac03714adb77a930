"""The latency report: its names, its file, and what is printed."""

import io
import json
import resource
import threading
from dataclasses import replace

import pytest
from rich.console import Console

from edge_runtime.artifacts import Parent
from edge_runtime.device import describe_device, rss_mb
from edge_runtime.display import LiveLine, print_report
from edge_runtime.errors import OptionError, SinkError
from edge_runtime.frames_log import FramesLog
from edge_runtime.loop import Loop, LoopOptions
from edge_runtime.policy import EVERY, LATEST, Policy
from edge_runtime.runner import execute
from tests.scripted import FakeClock, ScriptedBackend, ScriptedSource, scripted_manifest

FIGURES = {"n", "mean", "std", "min", "p50", "p90", "p95", "p99", "p999", "max"}
REFERENCE = {
    "": {"schema", "run_id", "started_at", "duration_s", "device", "model", "source", "frames",
         "fps", "warmup", "latency_ms", "jitter_ms", "power_w", "temperature_c", "clocks_mhz",
         "throttle_events", "memory_mb", "faults"},
    "device": {"model", "soc", "jetpack", "l4t", "cuda", "tensorrt", "onnxruntime", "gstreamer",
               "power_mode", "jetson_clocks"},
    "model": {"name", "backend", "onnx_sha256", "precision", "calib_sha256", "input",
              "engine_sha256"},
    "source": {"uri", "caps", "fps_nominal", "timestamp_source", "policy"},
    "frames": {"captured", "inferred", "published", "dropped", "late"},
    "frames.dropped": {"source_gap", "queue", "stale", "sink"},
    "fps": {"source", "infer", "publish"},
    "warmup": {"frames", "first_ms"},
    "latency_ms": {"result", "pipeline", "engine", "age_at_infer", "stages"},
    "latency_ms.result": FIGURES,
    "latency_ms.stages": {"arrival", "queue", "preprocess", "h2d", "infer", "enqueue", "d2h",
                          "postprocess", "publish", "render"},
    "latency_ms.stages.infer": FIGURES,
    "jitter_ms": {"mean", "p99", "max"},
    "power_w": {"mean", "max", "rails"},
    "temperature_c": {"gpu_max", "cpu_max"},
    "clocks_mhz": {"gpu_min"},
    "memory_mb": {"rss_start", "rss_end", "gpu_peak"},
    "faults.0": {"t_s", "kind", "recovered_after_s"},
}  # fmt: skip
"""The names that schema ``hyperseg-edge.latency/1`` fixes."""
ADDED = {
    "": {
        "ended",
        "sinks",
        "instrumentation",
        "faults_total",
        "outages",
        "telemetry",
        "throttled",
        "copies",
        "model_changes",
        "history",
    },
    "frames.dropped": {"damaged", "repeated", "outage"},
    "faults.0": {"reason"},
    "frames": {"in_flight"},
    "warmup": {"converged"},
    "latency_ms": {"clamped"},
}
"""What this runtime says beyond them."""


def run_scripted(policy=LATEST, infer_ms=50.0, log=None, **camera):
    return run_outcome(policy, infer_ms, log, **camera).report


def run_outcome(policy=LATEST, infer_ms=50.0, log=None, **camera):
    clock = FakeClock()
    backend = ScriptedBackend(clock, infer_ms=infer_ms)
    source = ScriptedSource(clock, latest=not policy.lossless, **camera)
    with backend:
        options = LoopOptions(policy=policy, clock=clock, log=log)
        return execute(backend, source, backend.manifest, options)


def at(record, place):
    for key in filter(None, place.split(".")):
        record = record[int(key) if key.isdigit() else key]
    return record


def test_names_are_exactly_those_of_the_schema():
    report = run_scripted(count=150, pauses_ms={100: 3000.0})

    record = json.loads(report.to_json())

    assert record["schema"] == "hyperseg-edge.latency/1"
    for place, names in REFERENCE.items():
        assert set(at(record, place)) == names | ADDED.get(place, set()), place or "top"


def test_what_the_platform_lacks_is_null():
    record = json.loads(run_scripted(count=30).to_json())

    assert record["power_w"] == {"mean": None, "max": None, "rails": {}}
    assert record["throttle_events"] is None
    assert record["latency_ms"]["stages"]["h2d"] is None
    assert record["latency_ms"]["result"]["p999"] is None


def test_report_is_written_whole(tmp_path):
    path = tmp_path / "report.json"
    report = run_scripted(count=30)

    report.write(path)

    assert json.loads(path.read_text()) == json.loads(report.to_json())
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


def test_report_that_cannot_be_written_is_an_option_error(tmp_path):
    with pytest.raises(OptionError, match="missing"):
        run_scripted(count=3).write(tmp_path / "missing" / "report.json")


def test_model_block_tells_precision_and_lineage():
    clock = FakeClock()
    table = Parent("calibration-table", "table.json", "b" * 64)
    manifest = replace(scripted_manifest(), parents=(table,), sha256="a" * 64)
    backend = ScriptedBackend(clock, manifest=manifest)

    with backend:
        source = ScriptedSource(clock, count=3)
        model = execute(backend, source, manifest, LoopOptions(clock=clock)).report.model

    assert (model.precision, model.calib_sha256) == ("int8", "b" * 64)
    assert model.onnx_sha256 == "a" * 64
    assert model.input == (1, 4, 6, 3)


def printed(report):
    console = Console(file=io.StringIO(), width=160)
    print_report(report, console)
    return console.file.getvalue()


def test_table_names_stages_drops_clock_and_warm_up():
    text = printed(run_scripted(count=300, arrival_ms=5.0))

    for expected in ("result", "age_at_infer", "  infer", "p99.9", "Clock: driver",
                     "policy latest", "scripted 1.0", "Warm-up: 30 frames"):  # fmt: skip
        assert expected in text
    assert "h2d" not in text


def test_table_says_when_results_were_slower_than_the_source():
    assert "slower than the source" in printed(run_scripted(count=300, infer_ms=80.0))
    assert "slower than the source" not in printed(run_scripted(count=300, infer_ms=10.0))
    slow_but_lossless = run_scripted(EVERY, count=300, infer_ms=80.0)
    assert "slower than the source" not in printed(slow_but_lossless)


def test_table_admits_a_warm_up_that_did_not_end():
    assert "all but the first" in printed(run_scripted(count=20))
    slower_and_slower = [10.0 * 1.003**number for number in range(1000)]
    report = run_scripted(EVERY, count=1000, live=False, infer_ms=slower_and_slower)
    assert "not stable within 30 s" in printed(report)
    assert "no frame was published" in printed(
        run_scripted(Policy("deadline", 1.0), count=5, arrival_ms=20.0)
    )


def live_loop():
    clock = FakeClock()
    backend = ScriptedBackend(clock, infer_ms=50.0)
    source = ScriptedSource(clock, count=300)
    with backend:
        loop = Loop(backend, source, backend.manifest, LoopOptions(policy=LATEST, clock=clock))
        yield loop, source
        loop.run()
        yield loop, source


def test_live_line_shows_rate_latency_age_and_drops():
    running = live_loop()
    loop, source = next(running)
    line = LiveLine(loop, Console(file=io.StringIO()))
    assert "0.0 frames/s" in line.line().plain

    next(running)

    text = line.line().plain
    assert "20." in text.split("frames/s")[0]
    assert "p50 68" in text or "p50 7" in text
    assert f"queue {source.counters.dropped_queue}" in text


@pytest.mark.parametrize("terminal", [False, True])
def test_live_line_starts_and_stops(terminal):
    loop, _ = next(live_loop())
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    threads = threading.active_count()

    with LiveLine(loop, console):
        assert threading.active_count() > threads

    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(5)
            assert not thread.is_alive()


def test_frames_log_has_a_line_per_result_whose_stages_add_up(tmp_path):
    path = tmp_path / "frames.jsonl"

    with FramesLog(path, has_device_copies=False) as log:
        report = run_scripted(Policy("deadline", 70.0), log=log, count=100)

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == report.frames.published + report.frames.dropped.stale
    for line in lines:
        assert (line["latency_ms"] is None) == (line["state"] != "ok")
        if line["latency_ms"] is not None:
            stages = line["latency_ms"]["stages"]
            assert stages["h2d"] is stages["d2h"] is None
            total = sum(value for value in stages.values() if value is not None)
            assert total == pytest.approx(line["latency_ms"]["result"], abs=1e-6)
    assert [file.name for file in tmp_path.iterdir()] == ["frames.jsonl"]


def test_run_that_never_began_leaves_an_older_log_alone(tmp_path):
    path = tmp_path / "frames.jsonl"
    path.write_text("older\n")

    with pytest.raises(ZeroDivisionError), FramesLog(path, has_device_copies=False):
        raise ZeroDivisionError

    assert path.read_text() == "older\n"
    assert [file.name for file in tmp_path.iterdir()] == ["frames.jsonl"]


def test_a_full_disk_costs_the_frames_log_only_what_did_not_fit(tmp_path, file_limit):
    path, said = tmp_path / "frames.jsonl", []
    path.write_text("older\n")
    with FramesLog(path, has_device_copies=False) as log:

        def write(result):
            if result.index == 20:  # when there is room for one and a half lines more
                file_limit(round((tmp_path / "frames.jsonl.part").stat().st_size * 21.5 / 20))
            log(result)

        outcome = run_outcome(EVERY, count=40, log=write)
        said.append(str(outcome.failure))
        file_limit(resource.RLIM_INFINITY)

    assert [json.loads(line)["index"] for line in path.read_text().splitlines()] == [*range(21)]
    assert path.read_bytes().endswith(b"\n")
    assert said == [f"cannot write {path}: File too large; choose another --frames-log"]
    assert outcome.report.ended == "error"
    assert outcome.report.faults[-1].kind == "SinkError"
    assert [file.name for file in tmp_path.iterdir()] == ["frames.jsonl"]


def test_a_disk_that_is_full_from_the_start_leaves_an_older_log_alone(tmp_path, file_limit):
    path = tmp_path / "frames.jsonl"
    path.write_text("older\n")

    with FramesLog(path, has_device_copies=False) as log:
        file_limit(10)
        outcome = run_outcome(EVERY, count=40, log=log)
        file_limit(resource.RLIM_INFINITY)

    assert isinstance(outcome.failure, SinkError)
    assert path.read_text() == "older\n"
    assert [file.name for file in tmp_path.iterdir()] == ["frames.jsonl"]


def test_a_frames_log_that_cannot_be_renamed_says_where_it_is(tmp_path):
    path = tmp_path / "frames.jsonl"

    def log_a_run():
        with FramesLog(path, has_device_copies=False) as log:
            run_outcome(EVERY, count=40, log=log)
            path.mkdir()

    with pytest.raises(SinkError, match=r"what was logged is in frames\.jsonl\.part"):
        log_a_run()

    assert len((tmp_path / "frames.jsonl.part").read_text().splitlines()) == 40


def test_frames_log_that_cannot_be_opened_is_a_sink_error(tmp_path):
    log = FramesLog(tmp_path / "missing" / "frames.jsonl", has_device_copies=False)

    with pytest.raises(SinkError, match="frames-log"), log:
        pass


def test_device_of_a_board_comes_from_its_files(tmp_path):
    # given the files of a Jetson
    tree = tmp_path / "proc/device-tree"
    tree.mkdir(parents=True)
    (tree / "model").write_bytes(b"NVIDIA Jetson Orin Nano Developer Kit\0")
    (tree / "compatible").write_bytes(b"nvidia,p3768-0000\0nvidia,tegra234\0")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text(
        "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n"
    )

    device = describe_device(tmp_path)

    assert device.model == "NVIDIA Jetson Orin Nano Developer Kit"
    assert device.soc == "nvidia,tegra234"
    assert device.l4t == "36.4.3"
    assert device.power_mode is None


def test_device_of_a_pc_is_its_system_and_processor(tmp_path):
    device = describe_device(tmp_path)

    assert device.model
    assert device.l4t is None
    assert rss_mb(tmp_path) is None


def test_memory_is_read_in_megabytes(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/status").write_text("Name:\tx\nVmRSS:\t  100000 kB\n")

    assert rss_mb(tmp_path) == pytest.approx(102.4)
