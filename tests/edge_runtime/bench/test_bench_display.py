"""What a bench shows: a bar that is drawn between rounds, and tables that leave nothing out."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from edge_runtime.bench.bench import bench
from edge_runtime.bench.display import Bar, print_bench
from edge_runtime.bench.options import BenchOptions, WarmUpPlan
from edge_runtime.bench.report import BenchReport
from edge_runtime.device import Device
from tests.edge_runtime.bench.models import write

pytest.importorskip("onnx", reason="models are made with onnx: scripts/setup dev brings it")
pytest.importorskip("onnxruntime", reason="scripts/setup runtime brings it")


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> BenchReport:
    folder: Path = tmp_path_factory.mktemp("models")
    models = tuple(str(write(folder, name)) for name in ("one", "two"))
    options = BenchOptions(
        models, sustained_s=2.0, window_s=0.1, warmup=WarmUpPlan(queries=1), threads=1, frames=1
    )
    return bench(options)


def shown(report: BenchReport) -> str:
    console = Console(file=io.StringIO(), width=160)
    print_bench(report, console)
    return console.file.getvalue()


def test_every_part_of_a_report_is_shown(report):
    text = shown(report)
    for part in (
        "one, ms per query", "two, over time (wall)", "Time by that of one, paired by round",
        "95 % interval", "100.00%", "Masks ", "Not measured: h2d, d2h (", "Clock: CLOCK_MONOTONIC",
        "1 of a drawn street", "Last quarter of the curve", "1 threads; fp32",
    ):  # fmt: skip
        assert part in text, part
    # On a CPU the wall time is the latency: once is enough.
    assert "│ wall" not in text


def test_what_slows_a_machine_down_is_shown(report):
    device = Device(soc="Orin", power_mode="15W", jetson_clocks=True)
    conditions = replace(report.conditions, governors={"schedutil": 6}, load=3.5)
    changed = replace(
        report, device=device, conditions=conditions, ended="interrupted", warnings=("it is hot",)
    )
    text = shown(changed)
    assert "Machine: Orin; power mode 15W; clocks locked; governor schedutil" in text
    assert "load before 3.5" in text
    assert "INTERRUPTED" in text
    assert "Warning: it is hot." in text


def test_bar_draws_on_a_terminal_without_a_thread_of_its_own():
    screen = io.StringIO()
    threads = threading.active_count()
    with Bar(Console(file=screen, force_terminal=True, width=80)) as bar:
        bar.phase("measuring")
        for number in range(1000):
            bar.tick(number / 1000)
        assert threading.active_count() == threads
    assert "measuring" in screen.getvalue()
    # A thousand rounds within a moment are no thousand drawings.
    assert screen.getvalue().count("measuring") < 100


def test_elsewhere_each_phase_is_one_line():
    screen = io.StringIO()
    with Bar(Console(file=screen)) as bar:
        for phase in ("warming up", "measuring"):
            bar.phase(phase)
            bar.tick(0.5)
    assert screen.getvalue() == "hyperseg: warming up\nhyperseg: measuring\n"
