"""`hyperseg selftest`: trtexec's definitions, and a whole run on a small network."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from edge_runtime.artifacts import create_artifact, read_manifest
from edge_runtime.backends.base import open_backend
from edge_runtime.bench.figures import summarise, trtexec_percentile
from edge_runtime.cli import main
from edge_runtime.engines.gpu import query_gpu
from edge_runtime.errors import OptionError
from export.importing.importer import import_model
from export.importing.options import IMAGENET, ImportOptions
from export.selftest.account import Entry, Selftest, SelftestOptions
from export.selftest.latency import measure
from export.selftest.selftest import installed_runtime
from export.selftest.telemetry import reading
from tests.export.importing.networks import Strided, write


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    torch.manual_seed(2)
    folder = tmp_path_factory.mktemp("model")
    source = write(Strided(width=32), folder / "theirs.onnx")
    path = folder / "net.onnx"
    import_model(source, ImportOptions(path, "street-8", mean=IMAGENET[0], std=IMAGENET[1]))
    return path


@pytest.mark.parametrize(
    ("count", "percentile", "element"),
    [
        (100, 99, 99),
        (300, 99, 297),
        (100, 90, 89),
        (10, 99, 9),
        (1, 50, 0),
        (1000, 95, 949),
        (3, 0, 0),
    ],
)
def test_percentiles_are_trtexecs_element(count, percentile, element):
    assert trtexec_percentile(list(range(count)), percentile) == element


def test_variation_is_of_the_population():
    summary = summarise([3.0, 1.0, 2.0])
    assert (summary.min, summary.median, summary.max, summary.mean) == (1.0, 2.0, 3.0, 2.0)
    assert summary.variation == pytest.approx(np.std([1, 2, 3]) / 2)


def test_a_measurement_counts_every_query_once(model):
    manifest = read_manifest(model)
    with open_backend(model, manifest, threads=1) as backend:
        found = measure(backend, manifest, duration_s=0.05, warmup_s=0.01)
    assert found.queries >= 10
    assert found.warmup_queries >= 1
    assert found.throughput_qps == pytest.approx(found.queries / found.duration_s)
    assert found.h2d_ms is found.compute_ms is found.cuda_graph is None
    assert found.latency_ms.min <= found.latency_ms.median <= found.latency_ms.percentiles["p99"]
    # Queries follow each other, so their latencies fit into the wall time.
    assert found.latency_ms.mean * found.queries <= 1e3 * found.duration_s


@pytest.mark.slow
def test_a_machine_without_a_gpu_says_what_was_not_run(model, tmp_path, capsys):
    if query_gpu() is not None:
        pytest.skip("there is a GPU here")
    output = tmp_path / "self.json"
    arguments = ["selftest", str(model), "-o", str(output), "--duration", "0.1", "--threads", "1"]
    assert main(arguments) == 0
    account = json.loads(output.read_text())
    assert account["schema"] == "hyperseg-edge.selftest/1"
    assert account["gpu"] is None
    by_what = {(e["step"], e["what"]): e for e in account["entries"]}
    assert by_what["latency", "onnxruntime fp32"]["status"] == "done"
    assert "no FP16 figure" in by_what["latency", "onnxruntime fp16"]["reason"]
    assert by_what["parity", "FP16"]["status"] == "done"
    for precision in ("fp32", "fp16", "int8"):
        assert by_what["latency", f"engine {precision}"]["status"] == "not run"
        if installed_runtime() == "tensorrt_rtx":
            built = by_what["build", f"engine {precision}"]
            assert built["status"] == "done"
            assert "not executed here" in built["result"]["label"]
            assert by_what["parity", f"engine {precision}"]["status"] == "not run"
    assert len(account["not_run"]) >= 4
    shown = capsys.readouterr().out
    assert "not run  latency    engine fp16" in shown


def test_where_nothing_could_be_compared_the_test_has_failed(model, tmp_path, monkeypatch, capsys):
    """The engines' figures alone would be those of any model."""
    output, int8 = tmp_path / "self.json", tmp_path / "int8.onnx"
    graph = onnx.load(model)
    decider = next(node for node in graph.graph.node if node.op_type == "ArgMax")
    place = list(graph.graph.node).index(decider)
    restore = helper.make_node("DequantizeLinear", ["q", "step"], ["restored"], name="dq")
    graph.graph.node.insert(place, restore)
    quantise = helper.make_node("QuantizeLinear", [decider.input[0], "step"], ["q"], name="q")
    graph.graph.node.insert(place, quantise)
    graph.graph.initializer.append(numpy_helper.from_array(np.float32(0.1), "step"))
    decider.input[0] = "restored"
    described = read_manifest(model)
    create_artifact(int8, described, lambda part: part.write_bytes(graph.SerializeToString()))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    arguments = ["selftest", str(model), "--int8", str(int8), "-o", str(output)]
    assert main([*arguments, "--runtime", "tensorrt", "--duration", "0.1", "--threads", "1"]) == 3
    account = json.loads(output.read_text())
    (parity,) = [entry for entry in account["entries"] if entry["step"] == "parity"]
    assert parity["status"] == "failed"
    assert parity["reason"].startswith("nothing was compared: the package 'onnxruntime'")
    assert "hyperseg-edge[ort]" in parity["reason"]
    capsys.readouterr()


def test_what_was_not_run_is_no_failure_and_a_failure_is_one():
    assert Selftest([Entry("build", "engine fp16", "not run", "no GPU")]).passed
    failed = Selftest([Entry("build", "engine fp16", "failed", "out of memory")])
    assert not failed.passed
    assert failed.as_json()["not_run"] == []


def test_reasons_are_published_without_folders_and_secrets():
    reason = "cannot open /home/me/net.engine, nor rtsp://me:hush@cam/a"
    test = Selftest([Entry("build", "engine fp16", "not run", reason)])

    account = test.as_json()

    public = "cannot open net.engine, nor rtsp:a"
    assert account["not_run"] == [f"build engine fp16: {public}"]
    assert account["entries"][0]["reason"] == public


def test_only_an_fp32_model_is_taken(tmp_path, capsys):
    output = tmp_path / "self.json"
    assert main(["selftest", "no-such-model", "-o", str(output)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not output.exists()
    assert main(["selftest", "-o", str(tmp_path / "none" / "self.json")]) == 2
    with pytest.raises(OptionError, match="seconds above 0"):
        SelftestOptions(folder=tmp_path, duration_s=0)
    with pytest.raises(OptionError, match="no folder"):
        SelftestOptions(folder=tmp_path / "none")


def test_telemetry_reads_what_the_machine_has(tmp_path):
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text("48250\n")
    broken = tmp_path / "sys/class/thermal/thermal_zone1"
    broken.mkdir()
    (broken / "type").write_text("off\n")
    assert reading(tmp_path)["temperature_c"] == {"cpu-thermal": 48.25}
    assert "temperature_c" not in reading(tmp_path / "sys")
