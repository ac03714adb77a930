"""`hyperseg soak` on a real pipeline with a real, tiny model, and with faults put into it."""

import json
import mmap
import os
import time

import pytest

from edge_runtime.artifacts import write_artifact
from edge_runtime.cli import main
from edge_runtime.errors import OptionError, SourceError
from edge_runtime.loop import LoopOptions
from edge_runtime.options import RunOptions
from edge_runtime.runner import execute
from edge_runtime.soak.options import Limits, SoakOptions
from edge_runtime.soak.process import ProcessReader
from edge_runtime.soak.soak import soak
from edge_runtime.soak.verdict import judge_latency
from edge_runtime.soak.watch import Watch
from tests.scripted import FakeClock, ScriptedBackend, ScriptedSource, write_identity_onnx

pytest.importorskip("onnx", reason="models are made with onnx: scripts/setup dev brings it")
pytestmark = pytest.mark.gst

SOURCE = "test:bars?size=36x64"
NOISY = Limits(growth_mb_per_hour=8.0, p99_drift=50.0)
"""Of a machine that does other things, and runs of a second: only what is put in is to fail."""


@pytest.fixture
def model(tmp_path):
    part, path = tmp_path / "part.onnx", tmp_path / "identity.onnx"
    write_artifact(part, path, write_identity_onnx(part, (36, 64)))
    return path


def options(frames=600, **fields):
    run = RunOptions(quiet=True, threads=1)
    return SoakOptions(run, frames, accelerated=True, interval_s=0.02, limits=NOISY, **fields)


def pace(camera, result):
    """However fast the machine, a run lasts long enough for samples."""
    time.sleep(0.002)


def failed(report):
    """What failed but for latency, of which so few frames tell nothing."""
    return {criterion.name for criterion in report.criteria if not criterion.passed} - {"latency"}


def test_a_short_soak_says_what_it_saw_and_ends_at_its_frames(model, tmp_path):
    path = tmp_path / "soak.json"

    report = soak(model, [SOURCE], options(report=path), on_result=pace)

    assert failed(report) == set(), report.reasons
    assert report.ended == "frames"
    assert report.run.frames.published >= 600
    assert report.run.source.policy == "every"
    read = json.loads(path.read_text(encoding="utf-8"))
    assert [c["says"] for c in read["criteria"]] == [c.says for c in report.criteria]
    samples = read["samples"]
    assert len(samples["rows"]) >= 9
    assert {len(row) for row in samples["rows"]} == {len(samples["columns"])}


def test_what_a_subscriber_keeps_fails_the_soak(model):
    # Given a callback that keeps every mask, thirty times over, and opens a file now and then
    kept, opened = [], []

    def leak(camera, result):
        pace(camera, result)
        # from the kernel, and touched: this process may have enough freed memory at hand
        kept.append(mmap.mmap(-1, 30 * result.mask.size))
        kept[-1].write(b"\x01" * len(kept[-1]))
        if len(kept) % 60 == 0:
            opened.append(os.open(os.devnull, os.O_RDONLY))

    try:
        report = soak(model, [SOURCE], options(), on_result=leak)
    finally:
        for descriptor in opened:
            os.close(descriptor)
        for pages in kept:
            pages.close()

    assert failed(report) == {"memory", "descriptors"}, report.reasons
    assert not report.passed


def test_an_engine_that_grows_slower_is_seen_by_the_watch():
    # Given an engine that takes 10 ms at first and 14 ms at last, on a clock of its own
    clock, frames = FakeClock(), 5000
    backend = ScriptedBackend(clock, infer_ms=[10 + 4 * i / frames for i in range(frames)])
    watch = Watch(ProcessReader(), 1.0, clock=lambda: clock() * 1e-9)

    # When the loop runs under the watch
    with backend:
        loop = LoopOptions(clock=clock, on_result=lambda result: watch.note("", result))
        source = ScriptedSource(clock, count=frames, fps=50.0)
        outcome = execute(backend, source, backend.manifest, loop)
    watch.sample()

    # Then its latencies tell, and every frame was counted
    verdict = judge_latency({"": watch.cameras[""].parts()}, 10.0, Limits())
    assert not verdict.passed, verdict.says
    assert verdict.value > 0.15
    assert watch.table.column("frames").tolist() == [outcome.report.frames.published]
    assert watch.table.column("dropped").tolist() == [frames - outcome.report.frames.published]


def test_several_cameras_are_watched_in_one_run(model):
    report = soak(model, [f"front={SOURCE}", SOURCE.replace("bars", "smpte")], options(400), pace)

    assert failed(report) == set(), report.reasons
    assert [camera.name for camera in report.cameras.cameras] == ["front", "camera2"]
    assert report.run is None


def test_a_source_that_ends_before_its_time_is_no_pass(model, capsys):
    code = main(["soak", str(model), f"{SOURCE}&frames=50", "--accelerated", "--frames", "5000",
                 "--interval", "0.02", "--quiet"])  # fmt: skip

    said = capsys.readouterr()
    assert code == 3
    assert "hyperseg: soak failed: ended too soon (end) after 50 results" in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_a_live_soak_ends_with_its_duration(model, capsys):
    code = main(["soak", str(model), SOURCE, "--duration", "1.2s", "--interval", "0.05", "--quiet",
                 "--max-growth", "8", "--json"])  # fmt: skip

    report = json.loads(capsys.readouterr().out)
    assert code == 3  # 36 frames tell nothing of a 99th percentile
    assert report["ended"] == "duration"
    assert report["length"]["hours_are"] == "clock"
    assert report["run"]["source"]["policy"] == "latest"


def test_what_cannot_begin_is_an_error_and_no_verdict(model, tmp_path):
    with pytest.raises(SourceError):
        soak(model, [str(tmp_path / "absent.mp4")], SoakOptions(RunOptions(duration_s=1.0)))
    with pytest.raises(OptionError, match="cannot write"):
        soak(model, [SOURCE], options(report=tmp_path / "absent" / "soak.json"))


def test_the_process_is_read_as_the_kernel_has_it():
    reader = ProcessReader()
    before = reader.read()
    held = mmap.mmap(-1, 32 << 20)  # pages that nothing before has freed
    page = b"x" * 4096  # a larger piece might be kept by the allocator, and count as well
    for _ in range((32 << 20) // len(page)):
        held.write(page)
    descriptor = os.open(os.devnull, os.O_RDONLY)
    try:
        after = reader.read()
    finally:
        os.close(descriptor)
        held.close()

    assert after.rss_mb - before.rss_mb == pytest.approx(33.6, abs=4)
    assert after.descriptors == before.descriptors + 1
    assert after.threads == before.threads
