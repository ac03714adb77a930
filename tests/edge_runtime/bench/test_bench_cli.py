"""`hyperseg bench` from the command line, on real ONNX Runtime sessions."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from edge_runtime.bench import subject
from edge_runtime.bench.bench import bench
from edge_runtime.bench.frames import Pictures
from edge_runtime.bench.options import BenchOptions, WarmUpPlan
from edge_runtime.cli import main
from tests.edge_runtime.bench.models import write

pytest.importorskip("onnx", reason="models are made with onnx: scripts/setup dev brings it")
pytest.importorskip("onnxruntime", reason="scripts/setup runtime brings it")

QUICK = ("--iterations", "12", "--warmup", "2", "--frames", "2", "--threads", "1")


@pytest.fixture
def model(tmp_path):
    return write(tmp_path, "one")


def test_one_model_in_full(model, capsys):
    assert main(["bench", str(model), *QUICK, "--json", "-"]) == 0

    out, err = capsys.readouterr()
    report = json.loads(out)
    (figures,) = report["models"]
    assert report["schema"] == "hyperseg-edge.bench/1"
    assert report["ended"] == "complete"
    assert report["clock"].startswith("CLOCK_MONOTONIC")
    assert figures["queries"] == 12
    assert figures["warmup"]["queries"] == 2
    assert figures["metrics_ms"]["h2d"] is None
    assert "no transfer" in figures["not_measured"]["h2d"]
    assert set(figures["metrics_ms"]) <= set(report["definitions"])
    latency = figures["metrics_ms"]["latency"]
    assert latency["min"] <= latency["median"] <= latency["percentiles"]["p99"] <= latency["max"]
    assert figures["masks"]["unchanged"]
    assert figures["ratio"] is None
    assert [line for line in err.splitlines() if "measuring" in line]


def test_neither_secrets_nor_folders_are_in_the_report(model, tmp_path, monkeypatch, capsys):
    cv2 = pytest.importorskip("cv2")
    folder = tmp_path / "password=hush"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.zeros((64, 64, 3), np.uint8))
    target = tmp_path / "bench.html"
    arguments = ["bench", str(model), *QUICK, "--source", str(folder), "--report", str(target)]
    monkeypatch.setattr("sys.argv", ["/home/me/bin/hyperseg", *arguments])

    assert main([*arguments, "--json", "-", "--quiet"]) == 0

    report = json.loads(capsys.readouterr().out)
    assert report["created_by"]["command"].startswith("hyperseg bench one.onnx --iterations 12")
    for text in (json.dumps(report), target.read_text()):
        assert str(tmp_path) not in text
        assert "hush" not in text


def test_models_are_compared_in_one_run(tmp_path, model, capsys):
    # given a copy, and a model of sixty times the pixels
    copy, large = write(tmp_path, "copy"), write(tmp_path, "large", (384, 512))
    target = tmp_path / "bench.json"

    code = main(["bench", str(model), "--models", f"{copy},{large}", *QUICK, "--json", str(target)])

    assert code == 0
    assert "95 % interval" in capsys.readouterr().out
    first, second, third = json.loads(target.read_text())["models"]
    assert second["masks"]["hash"] == first["masks"]["hash"]
    assert second["masks"]["agreement"] == 1.0
    assert third["masks"]["agreement"] is None
    assert third["ratio"]["low"] > 2
    assert third["queries"] == 12


def test_masks_that_were_not_expected_are_exit_3(model, capsys):
    main(["bench", str(model), *QUICK, "--json", "-", "--quiet"])
    found = json.loads(capsys.readouterr().out)["models"][0]["masks"]["hash"]

    right = main(["bench", str(model), *QUICK, "--quiet", "--expect-masks", found[:12]])
    wrong = main(["bench", str(model), *QUICK, "--quiet", "--expect-masks", "beef"])

    out, err = capsys.readouterr()
    assert (right, wrong, out) == (0, 3, "")
    assert err == f"hyperseg: bench failed: the masks of one are {found}\n"


def test_sustained_keeps_a_curve(model, capsys):
    arguments = ["--sustained", "2", "--window", "0.1", "--warmup", "2", "--threads", "1"]
    assert main(["bench", str(model), *arguments, "--json", "-"]) == 0
    (figures,) = json.loads(capsys.readouterr().out)["models"]
    times = [window["t_s"] for window in figures["curve"]]
    assert times == sorted(times)
    assert len(times) >= 8
    assert figures["drift"] > 0


def test_pictures_come_from_a_source(model, tmp_path, capsys):
    pytest.importorskip("gi")
    arguments = ["--source", "test:bars?size=48x64", "--json", "-", "--quiet"]
    assert main(["bench", str(model), *QUICK, *arguments]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["pictures"], report["frames"]) == ("test:bars?size=48x64", 2)
    assert report["models"][0]["masks"]["classes"] > 1


def test_models_get_the_same_pictures_of_a_camera_that_never_shows_the_same_twice(
    model, tmp_path, monkeypatch
):
    taken = []

    def take(source, manifest, count):
        taken.append(source)
        return [np.full((48, 64, 3), len(taken), np.uint8)]

    monkeypatch.setattr("edge_runtime.sources.take.take_frames", take)
    models = (str(model), str(write(tmp_path, "copy")))
    plan = WarmUpPlan(queries=1)
    report = bench(BenchOptions(models, iterations=1, warmup=plan, threads=1, source="camera"))
    assert taken == ["camera"]
    assert report.models[1].masks.agreement == 1.0


def test_password_of_a_source_stays_out_of_the_report(model, monkeypatch):
    camera = "rtsp://user:secret@10.0.0.2/stream"
    monkeypatch.setattr("sys.argv", ["hyperseg", "bench", "m.onnx", "--source", camera])
    monkeypatch.setattr(
        "edge_runtime.sources.take.take_frames", lambda *_: [np.zeros((48, 64, 3), np.uint8)]
    )
    plan = WarmUpPlan(queries=1)
    options = BenchOptions((str(model),), iterations=1, warmup=plan, threads=1, source=camera)
    text = bench(options).to_json()
    assert "rtsp:stream" in text
    assert "secret" not in text


def test_drawn_pictures_are_streets_and_not_zeros(model):
    options = BenchOptions((str(model),), iterations=1, warmup=WarmUpPlan(queries=1), threads=1)
    report = bench(options)
    assert report.pictures == "a drawn street"
    assert report.models[0].masks.classes > 30


def test_masks_that_change_under_the_measurement_are_told(model, monkeypatch):
    # given an engine that says something else once it is warm
    honest = subject.Subject.masks
    calls = []

    def masks(self):
        calls.append(1)
        return [mask + (len(calls) > 1) for mask in honest(self)]

    monkeypatch.setattr(subject.Subject, "masks", masks)
    options = BenchOptions((str(model),), iterations=2, warmup=WarmUpPlan(queries=1), threads=1)
    report = bench(options)
    assert not report.models[0].masks.unchanged
    assert any("masks of the same pictures differ" in text for text in report.warnings)


def test_model_that_says_something_else_is_told(tmp_path, model, monkeypatch):
    other = write(tmp_path, "other")
    honest = Pictures.of

    def shifted(self, manifest):
        found = honest(self, manifest)
        return [np.roll(f, 7, axis=1) for f in found] if manifest.name == "other" else found

    monkeypatch.setattr(Pictures, "of", shifted)
    options = BenchOptions(
        (str(model), str(other)), iterations=2, warmup=WarmUpPlan(queries=1), threads=1
    )
    assert any("says something else" in text for text in bench(options).warnings)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "0 models: give 1 to 16"),
        (["no-such"], "no model 'no-such'"),
        (["{model}", "--warmup", "soon"], "warm-up 'soon'"),
        (["{model}", "--duration", "0"], "expected a time above 0"),
        (["{model}", "--json", "{folder}/none/b.json"], "its folder is missing"),
        (["{model}", "--source", "{folder}/none.mp4"], "none.mp4"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(model, tmp_path, arguments, line, capsys):
    filled = [text.format(model=model, folder=tmp_path) for text in arguments]
    assert main(["bench", *filled, "--quiet"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert line in err


def test_damaged_model_is_refused(model, capsys):
    with model.open("r+b") as stream:
        stream.seek(20)
        stream.write(b"\xff")
    assert main(["bench", str(model), "--quiet"]) == 2
    assert "does not belong to" in capsys.readouterr().err


def test_interrupt_gives_what_was_measured_until_then(model, monkeypatch, capsys):
    # given Ctrl-C in the third counted query
    honest = subject.Subject.query

    def query(self, number, *, counted):
        if counted and self.queries == 3:
            os.kill(os.getpid(), 2)
        return honest(self, number, counted=counted)

    monkeypatch.setattr(subject.Subject, "query", query)
    code = main(["bench", str(model), "--duration", "60s", "--warmup", "1", "--json", "-"])
    report = json.loads(capsys.readouterr().out)
    assert (code, report["ended"], report["models"][0]["queries"]) == (130, "interrupted", 4)
