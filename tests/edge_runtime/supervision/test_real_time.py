"""Lost cameras come back, on real pipelines in real time, and leave nothing behind."""

from __future__ import annotations

import gc
import json
import threading
import time
from pathlib import Path

import pytest

from edge_runtime import RunOptions, run
from edge_runtime.artifacts import write_artifact
from edge_runtime.cli import main
from edge_runtime.errors import SourceError
from edge_runtime.loop import LoopOptions
from edge_runtime.runner import execute
from edge_runtime.sources import SourceOpener
from edge_runtime.supervision import reconnection
from edge_runtime.supervision import source as supervised
from edge_runtime.supervision.backoff import Backoff
from edge_runtime.supervision.options import SupervisionOptions
from edge_runtime.supervision.source import SupervisedSource
from edge_runtime.video import SourceRequest
from tests.scripted import SIZE, FakeClock, ScriptedBackend, write_identity_onnx

pytestmark = pytest.mark.gst

REQUEST = SourceRequest(SIZE)
FAST = SupervisionOptions(stall_timeout_s=0.2)


def supervise(text, options=FAST, request=REQUEST):
    opener = SourceOpener(text, request)
    return SupervisedSource(opener.first(), opener, options, seed=1)


def play(source, duration_s, on_result=None):
    backend = ScriptedBackend(FakeClock())  # its figures do not matter here
    with backend:
        options = LoopOptions(duration_s=duration_s, on_result=on_result)
        return execute(backend, source, backend.manifest, options)


@pytest.mark.parametrize(("fault", "cause", "reconnects"), [
    ("stall@0.4+1", "stall", None),
    ("hang@0.4", "stall", 1),
    ("unplug@0.4+0.8", "lost", 1),
    ("eos@0.4", "end", 1),
])  # fmt: skip
def test_a_lost_source_comes_back(fault, cause, reconnects):
    states = []
    source = supervise(f"fault:{fault}:test:bars?size=32x48&fps=30")

    outcome = play(source, 3.0, lambda result: states.append(result.state))

    assert outcome.failure is None
    outages = outcome.report.outages
    assert (outages.count, outages.causes) == (1, {cause: 1})
    assert outages.reconnects == reconnects or reconnects is None
    assert outcome.report.faults[0].recovered_after_s < 2.5
    assert states.count("no-signal") == 1
    lost = states.index("no-signal")
    assert "ok" in states[:lost]
    assert "ok" in states[lost:]


def test_a_change_of_size_is_followed_without_a_gap():
    sizes = []
    source = supervise("fault:size=0.5@0.5+0.6:test:bars?size=40x64&fps=30")

    outcome = play(source, 1.8, lambda result: sizes.append(result.geometry.frame))

    assert [size for i, size in enumerate(sizes) if i == 0 or size != sizes[i - 1]] == [
        (40, 64), (20, 32), (40, 64),
    ]  # fmt: skip
    assert outcome.report.outages.count == 0
    assert outcome.report.outages.irregular == {"size-change": 1}  # one episode


def test_damaged_frames_are_not_segmented():
    source = supervise("fault:corrupt=0.5@0.3+5:test:bars?size=32x48&fps=30")

    report = play(source, 1.5).report

    assert report.frames.dropped.damaged > 5
    assert report.frames.captured == (
        report.frames.inferred + report.frames.dropped.damaged + report.frames.dropped.queue
        + report.frames.in_flight
    )  # fmt: skip


def _threads():
    return len(list(Path("/proc/self/task").iterdir()))


def _descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def _rss_mb():
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1000


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts by /proc")
def test_50_reconnects_leave_threads_descriptors_and_memory_flat(monkeypatch):
    monkeypatch.setattr("edge_runtime.supervision.backoff.FIRST_S", 0.01)
    monkeypatch.setattr("edge_runtime.supervision.backoff.LONGEST_S", 0.02)
    schedule = ",".join(f"{'eos' if n % 2 else 'hang'}@{0.4 * n:.1f}" for n in range(1, 400))
    options = SupervisionOptions(stall_timeout_s=0.05)
    source = supervise(f"fault:{schedule}:test:bars?size=32x48&fps=60", options)
    seen = {}

    with source:
        deadline = time.monotonic() + 120
        while source.record.summary(time.monotonic_ns()).reconnects < 60:
            assert time.monotonic() < deadline, "reconnects too slowly"
            source.read(0.1)
            done = source.record.summary(time.monotonic_ns()).reconnects
            if done in (10, 60) and done not in seen and source.outage is None:
                gc.collect()
                seen[done] = (_threads(), _descriptors(), _rss_mb())

    (threads, descriptors, rss), (threads_60, descriptors_60, rss_60) = seen[10], seen[60]
    assert threads_60 <= threads + 2
    assert descriptors_60 <= descriptors + 2
    assert rss_60 - rss < 5.0
    assert not [t for t in threading.enumerate() if t.name.startswith("camera")]


def test_a_run_ends_in_time_while_its_camera_is_gone():
    source = supervise("fault:unplug@0.3+100:test:bars?size=32x48&fps=30")
    begin = time.monotonic()

    outcome = play(source, 1.5)

    assert outcome.report.ended == "duration"
    assert time.monotonic() - begin < 5
    assert outcome.report.outages.failed_attempts >= 1
    assert outcome.report.faults[0].recovered_after_s is None
    assert not [t for t in threading.enumerate() if t.name.startswith("camera")]


class WedgedSource:
    """A camera whose driver never returns from closing or opening, until released."""

    def __init__(self, inner, release, blocks):
        self._inner, self._release, self._blocks = inner, release, blocks

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def __enter__(self):
        if self._blocks == "open":
            self._release.wait()
        self._inner.__enter__()
        return self

    def __exit__(self, *exc_info):
        if self._blocks == "close":
            self._release.wait()
        self._inner.__exit__(*exc_info)


@pytest.mark.parametrize("blocks", ["close", "open"])
def test_a_driver_that_never_returns_ends_the_run_and_not_the_program(monkeypatch, blocks):
    monkeypatch.setattr(reconnection, "CLOSE_LIMIT_S", 0.3)
    monkeypatch.setattr(supervised, "STUCK_S", 0.6)
    monkeypatch.setattr(supervised, "JOIN_S", 0.2)
    release = threading.Event()
    opener = SourceOpener("fault:eos@0.3:test:bars?size=32x48&fps=30", REQUEST)
    first, later = opener.first(), WedgedSource(opener.first(), release, "open")
    if blocks == "close":
        first = WedgedSource(first, release, "close")
    source = SupervisedSource(first, lambda _: later, FAST, seed=1)
    begin = time.monotonic()

    outcome = play(source, 20.0)

    release.set()
    assert isinstance(outcome.failure, SourceError)
    assert "wedged" in str(outcome.failure)
    assert source.state == "failed"
    assert time.monotonic() - begin < 8


def test_waits_are_part_of_the_promise():
    # 2.5 s at most, and an opening of about 2 s, are within the 5 s
    waits = Backoff(seed=0)

    assert max(waits.next_s() for _ in range(1000)) <= 2.5


@pytest.fixture
def model(tmp_path):
    pytest.importorskip("onnx", reason="models are made with onnx: scripts/setup dev brings it")
    part, path = tmp_path / "part.onnx", tmp_path / "identity.onnx"
    write_artifact(part, path, write_identity_onnx(part, (54, 96)))
    return path


def test_the_command_line_tells_outages_in_report_log_and_table(model, tmp_path, capsys):
    report, log = tmp_path / "r.json", tmp_path / "f.jsonl"

    code = main(["run", str(model), "fault:unplug@1+0.5,size=0.5@2.2+5:test:bars?size=32x48&fps=30",
                 "--duration", "4", "--report", str(report), "--frames-log", str(log)])  # fmt: skip

    assert code == 0
    record = json.loads(report.read_text())
    assert record["outages"]["count"] == record["outages"]["reconnects"] == 1
    assert record["outages"]["causes"] == {"lost": 1}
    assert record["outages"]["irregular"] == {"size-change": 1}
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    [silent] = [line for line in lines if line["state"] == "no-signal"]
    assert "unplugged" in silent["reason"]
    assert silent["latency_ms"] is None
    assert "Signal: 1 outages (1 lost)" in capsys.readouterr().out


def test_the_command_line_gives_up_when_told_to(model, capsys):
    code = main(["run", str(model), "fault:unplug@0.5+60:test:bars?size=32x48&fps=30",
                 "--stall-timeout", "0.5", "--max-outage", "1", "--quiet"])  # fmt: skip

    assert code == 2
    assert "given up (--max-outage 1)" in capsys.readouterr().err


def test_the_command_line_does_not_reconnect_when_told_not_to(model, capsys):
    code = main(["run", str(model), "fault:eos@0.5:test:bars?size=32x48&fps=30",
                 "--no-reconnect", "--quiet"])  # fmt: skip

    assert code == 2
    assert "ended the stream" in capsys.readouterr().err


def test_a_live_stream_with_an_end_still_ends(model):
    report = run(model, "test:bars?size=32x48&fps=60&frames=12", RunOptions(quiet=True))

    assert report.ended == "end"
    assert report.outages.count == 0
