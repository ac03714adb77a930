"""The page of a report: complete, safe with hostile names, and a report itself."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise

import msgspec
import pytest

from edge_runtime.artifacts import write_artifact
from edge_runtime.cli import main
from edge_runtime.errors import OptionError
from edge_runtime.history import WINDOWS, History
from edge_runtime.loop import LoopOptions
from edge_runtime.page.charts import LEFT, RIGHT, WIDTH, log_ticks, nice_ticks, pieces
from edge_runtime.page.files import read_report, write_page
from edge_runtime.page.markup import duration_text, number
from edge_runtime.page.page import render
from edge_runtime.policy import EVERY, LATEST
from edge_runtime.runner import execute
from edge_runtime.telemetry.history import POINTS, ReadingsLog
from edge_runtime.telemetry.readings import Readings
from tests.html_page import Page
from tests.scripted import MS, FakeClock, ScriptedBackend, ScriptedSource, write_identity_onnx


class Board:
    """Sensors of a board that throttles at the second look."""

    name = "board"

    def __init__(self):
        self.looks = 0

    def read(self):
        self.looks += 1
        return Readings(
            total_w=10.0 + self.looks,
            temperatures_c={"gpu": 60.0},
            clocks_mhz={"gpu": 1300.0},
            events={"oc1": max(self.looks - 1, 0)},
            tells_throttling=True,
        )

    def close(self):
        pass


def play(policy=LATEST, sensors=(), infer_ms=20.0, **camera):
    clock = FakeClock()
    backend = ScriptedBackend(clock, infer_ms=infer_ms)
    source = ScriptedSource(clock, latest=not policy.lossless, **camera)
    options = LoopOptions(policy=policy, clock=clock)
    with backend:
        outcome = execute(backend, source, backend.manifest, options, sensors=sensors)
    return outcome.report


@pytest.fixture(scope="module")
def report():
    """A run of 60 s with an outage of 8 s in its middle, on a board that throttles."""
    return play(count=1500, pauses_ms={700: 8000.0}, arrival_ms=5.0, sensors=[Board()])


def test_a_page_is_whole_and_needs_nothing_beside_it(report):
    page = Page(render(msgspec.to_builtins(report)))

    assert page.loaded == []
    assert [script["type"] for script in page.scripts] == ["application/json"]
    assert "default-src 'none'" in page.source


def test_a_page_says_what_was_run_on_what_by_which_clock(report):
    text = Page(render(msgspec.to_builtins(report))).text

    for needed in ("scripted 1.0", "0" * 64, "driver", "the driver's stamp", "latest", "throttled",
                   report.device.soc or report.device.model):  # fmt: skip
        assert needed in text, needed


def test_an_outage_and_throttling_are_marked_where_they_were(report):
    page = render(msgspec.to_builtins(report))

    (outage,) = re.findall(r'<rect class="out" x="([\d.]+)" y="\d+" width="([\d.]+)"', page)
    second = (WIDTH - LEFT - RIGHT) / report.duration_s
    begin, width = (float(outage[0]) - LEFT) / second, float(outage[1]) / second
    fault = next(iter(report.faults))
    assert begin == pytest.approx(fault.t_s - 2, abs=1.2), "windows of a second"
    assert width == pytest.approx(8, abs=0.3)
    assert report.throttled
    assert '<rect class="hot"' in page


def test_the_line_is_broken_where_no_frames_were(report):
    page = render(msgspec.to_builtins(report))

    assert len(re.findall(r'<path class="line p50"', page)) == 2


@pytest.mark.parametrize("count", [1, 2, 40])
def test_a_run_that_was_short_has_a_page_too(count):
    short = play(EVERY, count=count, live=False)

    assert Page(render(msgspec.to_builtins(short))).loaded == []


def rig_of(report, failure=None):
    """A report of two cameras that ran alike."""
    camera = {"name": "front", "failure": failure, "report": report}
    return {
        "schema": "hyperseg-edge.cameras/1", "started_at": report["started_at"], "ended": "end",
        "duration_s": 60.0, "cameras": [camera, camera | {"name": "back"}],
        "engine": {"utilisation": 0.5, "per_second": 50.0, "service_ms": {"p50": 20.0}},
    }  # fmt: skip


def test_each_camera_has_a_chapter_and_the_machine_is_told_once(report):
    page = render(rig_of(msgspec.to_builtins(report), failure="<gone>"))

    assert Page(page).loaded == []
    assert "Camera front" in page
    assert "Camera back" in page
    assert "failed: &lt;gone&gt;" in page
    assert page.count(">Machine<") == page.count(">What was run, on what<") == 1
    assert page.count(">Latency over time<") == 2


@pytest.mark.parametrize("cameras", [False, True])
def test_a_soak_has_its_verdict_and_its_memory_on_top(report, cameras):
    run = msgspec.to_builtins(report)
    criterion = {"name": "memory", "passed": False, "says": "memory grew by 9 MB"}
    soak = {
        "schema": "hyperseg-edge.soak/1", "passed": False, "criteria": [criterion],
        "length": {"seconds": 7200.0, "hours": 2.0, "hours_are": "clock"},
        "samples": {"columns": ["t_s", "rss_mb"], "rows": [[0.0, 100.0], [60.0, 109.0]]},
        "run": None if cameras else run, "cameras": rig_of(run) if cameras else None,
    }  # fmt: skip

    page = render(soak)

    assert Page(page).loaded == []
    places = [page.index(words) for words in ("memory grew by 9 MB", "Memory over time", "The run")]
    assert places == sorted(places)
    assert report.started_at[:10] in page


def test_hostile_names_stay_text(report, tmp_path):
    evil = '</script><script>alert(1)</script><img src=x onerror="x">'
    hostile = replace(
        report,
        model=replace(report.model, name=evil),
        source=replace(report.source, uri=evil, caps=evil),
        faults=tuple(replace(fault, reason=evil) for fault in report.faults),
    )
    path = tmp_path / "page.html"
    write_page(path, hostile)

    page = Page(path.read_text(encoding="utf-8"))
    assert page.loaded == []
    assert len(page.scripts) == 1
    assert read_report(path)["model"]["name"] == evil


def test_the_suffix_decides_and_a_page_holds_the_report(report, tmp_path):
    page, plain = tmp_path / "r.html", tmp_path / "r.json"
    report.write(page)
    report.write(plain)

    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert read_report(page) == json.loads(plain.read_text()) == read_report(plain)


def test_a_page_is_made_of_a_report_that_was_written_before(report, tmp_path, capsys):
    report.write(tmp_path / "r.json")

    assert main(["report", str(tmp_path / "r.json")]) == 0

    assert (tmp_path / "r.html").exists()
    assert "wrote" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": "else/1"}', "\xff\xfe"])
def test_what_is_no_report_is_a_mistake_in_one_line(content, tmp_path, capsys):
    path = tmp_path / "x.json"
    path.write_bytes(content.encode("latin-1"))

    assert main(["report", str(path)]) == 2

    assert capsys.readouterr().err.count("\n") == 1


def test_a_page_without_a_report_in_it_is_a_mistake(tmp_path):
    (tmp_path / "x.html").write_text("<!doctype html><p>no report</p>")

    with pytest.raises(OptionError, match="holds no report"):
        read_report(tmp_path / "x.html")


def test_a_browser_draws_it(report, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    page = tmp_path / "r.html"
    report.write(page)

    dom = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
         f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()],
        capture_output=True, text=True, timeout=60,
    ).stdout  # fmt: skip

    assert dom.count("<svg") == page.read_text(encoding="utf-8").count("<svg") > 5
    assert "NaN" not in dom


def test_a_history_keeps_its_size_and_every_frame():
    history, begin_ns = History(), 5_000 * MS
    for number_ in range(20_000):
        history.add((20 + number_ % 7) * MS, begin_ns + number_ * 33 * MS)

    summary = history.summary(begin_ns)
    assert WINDOWS // 2 <= len(summary.rows) <= WINDOWS
    assert summary.window_s == 8
    assert sum(summary.counts) == sum(row[1] for row in summary.rows) == 20_000
    rows = [dict(zip(summary.columns, row, strict=True)) for row in summary.rows[:-1]]
    for row in rows:
        assert row["mean_ms"] == pytest.approx(23, abs=0.1)
        assert row["p50_ms"] == pytest.approx(23, rel=0.03)
        assert row["max_ms"] == 26
    assert rows[1]["t_s"] == 8


def test_a_window_with_few_frames_has_no_percentiles():
    history = History()
    for number_ in range(19):
        history.add(5 * MS, number_ * MS)

    (row,) = history.summary(0).rows
    assert row[2:] == [5.0, None, None, 5.0]
    assert History().summary(0) is None


def test_readings_over_a_day_are_few_and_evenly_spread():
    log = ReadingsLog()
    for second in range(86_400):
        log.add(Readings(total_w=float(second)), None, 1000.0 + second)

    rows = log.summary(1000.0).rows
    assert POINTS // 2 <= len(rows) <= POINTS
    steps = {after[0] - before[0] for before, after in pairwise(rows)}
    assert len(steps) == 1
    assert all(row[0] == row[1] for row in rows)


def test_ticks_are_round_and_reach_over_the_largest():
    assert nice_ticks(313.5) == [0, 100, 200, 300, 400]
    assert nice_ticks(0.07) == [0, 0.02, 0.04, 0.06, 0.08]
    assert nice_ticks(0)[0] == 0
    assert log_ticks(8, 120) == [10, 20, 50, 100]
    assert log_ticks(110, 320) == [150, 200, 300]
    assert log_ticks(0.5, 5000) == [1, 10, 100, 1000]


def test_lines_are_broken_at_gaps_and_missing_values():
    points = [(0, 1.0), (1, 2.0), (2, None), (3, 4.0), (9, 5.0)]

    assert list(pieces(points, 2.5)) == [[(0, 1.0), (1, 2.0)], [(3, 4.0)], [(9, 5.0)]]


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.0689, "0.0689"), (12.345, "12.3"), (313.54, "313.5"), (5e3, "5000")]  # noqa: E501, RUF001
)  # fmt: skip
def test_figures_have_three_digits_or_more(value, text):
    assert number(value) == text


def test_durations_have_the_unit_that_suits_them():
    assert [duration_text(s) for s in (0.5, 90, 200, 90_000)] == [
        "0.5 s",
        "90 s",
        "3.3 min",
        "25.0 h",
    ]


@pytest.mark.gst
def test_a_run_writes_the_page_that_it_was_asked_for(tmp_path, capsys):
    pytest.importorskip("onnx", reason="models are made with onnx: scripts/setup dev brings it")
    part, model, page = (tmp_path / name for name in ("part.onnx", "m.onnx", "r.html"))
    write_artifact(part, model, write_identity_onnx(part, (54, 96)))

    code = main(
        ["run", str(model), "test:bars", "--duration", "1", "--quiet", "--report", str(page)]
    )

    assert (code, capsys.readouterr().out) == (0, "")
    assert Page(page.read_text(encoding="utf-8")).loaded == []
    report = read_report(page)
    assert report["ended"] == "duration"
    assert sum(report["history"]["counts"]) == report["frames"]["published"] > 5
