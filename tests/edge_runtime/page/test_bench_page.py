"""The page of a bench: what its JSON says, throttling where it was, and names as text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from edge_runtime.bench.figures import BIN_RATIO, distribute
from edge_runtime.cli import main
from edge_runtime.page.bars import Interval, intervals, meter
from edge_runtime.page.charts import LEFT, RIGHT, WIDTH
from edge_runtime.page.files import read_report
from edge_runtime.page.markup import number
from edge_runtime.page.page import render
from tests.edge_runtime.bench.models import write
from tests.html_page import Page

pytest.importorskip("onnx", reason="models are made with onnx: scripts/setup dev brings it")
pytest.importorskip("onnxruntime", reason="scripts/setup runtime brings it")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two small models, measured for a second with a curve."""
    folder = tmp_path_factory.mktemp("bench")
    models = [str(write(folder, name)) for name in ("one", "two")]
    page = folder / "bench.html"
    arguments = ["--sustained", "1", "--window", "0.1", "--warmup", "2", "--threads", "1"]
    assert main(["bench", *models, *arguments, "--quiet", "--report", str(page)]) == 0
    return page


@pytest.fixture
def report(made):
    return read_report(made)


def test_page_says_what_the_report_within_says(made, report):
    page = Page(made.read_text(encoding="utf-8"))

    assert page.loaded == []
    assert page.report == report
    assert report["schema"] == "hyperseg-edge.bench/1"
    second = report["models"][1]
    for figures in report["models"]:
        latency = figures["metrics_ms"]["latency"]
        shown = [number(latency[key]) for key in ("mean", "median", "min", "max")]
        shown += [number(value) for value in latency["percentiles"].values()]
        shown += [number(figures["throughput_qps"]), figures["masks"]["hash"][:16]]
        assert set(shown) <= set(page.texts)
        assert figures["identity"]["sha256"] in page.texts
        assert f"{figures['queries']} queries after 2 of warm-up" in page.text
    ratio = second["ratio"]
    assert f"{ratio['median']:.3f}" in page.texts
    assert f"{ratio['low']:.3f} to {ratio['high']:.3f}" in page.text
    assert "100.00 %" in page.texts, "agreement of the masks"
    assert report["device"]["soc"] in page.texts
    assert f"load before {report['conditions']['load']:.1f}" in page.text


def test_every_query_is_in_the_distribution_and_every_bin_on_the_page(made, report):
    page = made.read_text(encoding="utf-8")

    for figures in report["models"]:
        found = figures["distribution"]
        assert sum(found["counts"]) == figures["queries"]
        for edge, count in zip(found["bins_ms"], found["counts"], strict=True):
            assert f"<title>up to {edge:.4g} ms: {count} queries</title>" in page
    assert page.count(" queries</title>") == sum(
        len(figures["distribution"]["bins_ms"]) for figures in report["models"]
    )


def test_curve_is_drawn_and_throttling_marked_where_it_was(report):
    # given throttling in the third and fourth window
    curve = report["models"][0]["curve"]
    assert len(curve) >= 5
    for window in curve[2:4]:
        window["throttling"] = ["<thermal>"]

    page = render(report)

    second = (WIDTH - LEFT - RIGHT) / report["seconds"]
    chart = page[page.index("Wall time of one over") :].partition("</svg>")[0]
    marks = re.findall(r'<rect class="hot" x="([\d.]+)" y="\d+" width="([\d.]+)"', chart)
    for (x, width), begin, end in zip(marks, curve[1:3], curve[2:4], strict=True):
        assert (float(x) - LEFT) / second == pytest.approx(begin["t_s"], abs=0.01)
        assert float(width) / second == pytest.approx(end["t_s"] - begin["t_s"], abs=0.01)
    assert "throttled: &lt;thermal&gt;" in chart
    assert chart.count('<path class="line') == 3
    for figures in report["models"]:
        assert f"Last quarter over the first: {figures['drift']:.3f}." in page
    assert ">throttled</span>" in page


def test_clocks_and_temperature_lie_beside_the_curve(report):
    columns = ["t_s", "power_w", "hottest_c", "cpu_mhz", "gpu_mhz", "cpu_percent",
               "throttle_events"]  # fmt: skip
    rows = [[t, 10.0 + t, 60.0 + t, None, 900.0, None, 0] for t in range(3)]
    report["telemetry"]["history"] = {"columns": columns, "rows": rows}

    page = Page(render(report))

    for title in ("Power, W", "Hottest sensor, °C", "Clocks, MHz"):
        assert title in page.texts
    assert "Not measured on this machine: processor." in page.texts


def test_one_model_without_a_curve_has_a_page_too(report):
    report["models"] = report["models"][:1]
    report["models"][0] |= {"curve": [], "drift": None, "distribution": None}

    page = Page(render(report))

    assert "Side by side" not in page.texts
    assert "Over time" not in page.texts
    assert number(report["models"][0]["metrics_ms"]["latency"]["median"], "ms") in page.texts


def test_hostile_names_stay_text(report):
    evil = '</script><script>alert(1)</script><img src=x onerror="x">'
    for figures in report["models"]:
        figures["label"] = figures["identity"]["name"] = figures["identity"]["file"] = evil
        figures["identity"]["cuda_graph"] = evil
    report |= {"pictures": evil, "warnings": [evil]}
    report["device"]["soc"] = report["device"]["power_mode"] = evil

    page = Page(render(report))

    assert page.loaded == []
    assert len(page.scripts) == 1
    assert evil in page.texts
    assert page.report["pictures"] == evil


def test_json_becomes_a_page_later_and_pages_can_be_compared(report, made, tmp_path, capsys):
    (tmp_path / "b.json").write_text(json.dumps(report))

    assert main(["report", str(tmp_path / "b.json")]) == 0
    assert main(["compare", str(made), str(tmp_path / "b.html")]) == 0

    assert read_report(tmp_path / "b.html") == report
    assert "throughput" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["one", "--tune", "--report", "t.html"], "a tuning has no --report"),
        (["one", "--report", "none/t.html"], "cannot write none/t.html"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_work(arguments, line, capsys):
    assert main(["bench", *arguments]) == 2
    assert line in capsys.readouterr().err


def test_bins_hold_what_took_as_long():
    found = distribute([1.0, 1.001, 5.0, 0.0])

    assert found.counts == [1, 1, 1, 1]
    assert sorted(found.bins_ms) == found.bins_ms
    for value, edge in zip((1.0, 1.001, 5.0), found.bins_ms[1:], strict=True):
        assert edge / BIN_RATIO < value * 1.0001
        assert value <= edge * 1.0001


def test_an_interval_without_limits_is_a_dot_only():
    chart = intervals("t", [Interval("a", 1.2, 1.1, 1.3), Interval("<b>", 0.9, None, None)])

    assert (chart.count("<circle"), chart.count("<rect")) == (2, 1)
    assert "&lt;b&gt;" in chart
    left, right = (float(x) for x in re.findall(r'cx="([\d.]+)"', chart))
    assert left > right
    assert intervals("t", [Interval("a", 1.0, None, None)]).count("NaN") == 0


@pytest.mark.parametrize(("share", "width"), [(0.25, 50.0), (7.0, 200.0), (None, 0.0), (-1, 0.0)])
def test_a_meter_stays_in_its_frame(share, width):
    assert f'class="bar" width="{width}"' in meter(share)
