"""`hyperseg export`: the file, its manifest, its verdict, and every way it can be refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from edge_runtime.artifacts import read_manifest
from edge_runtime.cli import main
from edge_runtime.errors import ArtifactError, ManifestError, OptionError, ParityError
from edge_runtime.pixels import YuvFormat
from export.export import export
from export.options import ExportOptions
from export.parity import compare, require
from export.to_onnx import to_onnx
from training.checkpoint import load_checkpoint, save_checkpoint
from training.model.hyperseg import HyperSeg
from training.presets import preset

SIZE = (64, 128)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "net.safetensors"
    net = HyperSeg(preset("street-n"))
    with torch.no_grad():
        for _ in range(2):
            net.train()(torch.randn(2, 3, 128, 128))
    save_checkpoint(path, net.eval(), name="street-test", preset="street-n", license="none")
    return path


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("exported") / "net.onnx"
    export(checkpoint, ExportOptions(output, SIZE))
    return output


def test_the_graph_takes_frames_and_gives_masks(exported):
    session = ort.InferenceSession(exported, providers=["CPUExecutionProvider"])
    (feed,), (answer,) = session.get_inputs(), session.get_outputs()
    assert (feed.name, feed.type, feed.shape) == ("frame", "tensor(uint8)", [1, *SIZE, 3])
    assert (answer.name, answer.type, answer.shape) == ("mask", "tensor(uint8)", [1, *SIZE])
    frame = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), np.uint8)
    assert session.run(None, {"frame": frame})[0].max() < 8


def test_weights_stored_as_float16_halve_the_file_and_are_owned_up_to(
    exported, checkpoint, tmp_path
):
    # given the same export with half the bits a weight
    output = tmp_path / "half.onnx"
    manifest = export(checkpoint, ExportOptions(output, SIZE, store="float16"))

    # then the file is about half, computes the same up to rounding, and says what that costs
    assert output.stat().st_size < 0.6 * exported.stat().st_size
    storage = manifest.options["storage"]
    assert storage["weights"] == "float16"
    assert 0 <= storage["pixels_changed"] < 0.05
    assert storage["frames"] == 2
    frame = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), np.uint8)
    masks = [
        ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"frame": frame})
        for path in (exported, output)
    ]
    assert (masks[0][0] != masks[1][0]).mean() < 0.05


@pytest.mark.slow
def test_a_checkpoint_becomes_a_model_for_nv12_with_small_weights(checkpoint, tmp_path):
    output, yuv = tmp_path / "nv12.onnx", YuvFormat("nv12", "bt709")
    export(checkpoint, ExportOptions(output, SIZE, store="float16", yuv=yuv))
    manifest = read_manifest(output, kind="onnx")
    assert manifest.preprocess.yuv == yuv
    assert manifest.input_size == SIZE
    assert manifest.options["yuv"]["rewrite_error"] < 1e-12
    assert manifest.options["storage"]["weights"] == "float16"


def test_the_manifest_says_what_it_is(exported, checkpoint):
    manifest = read_manifest(exported, kind="onnx")
    assert manifest.name == "street-test"
    assert manifest.preset == "street-n"
    assert manifest.input_size == SIZE
    assert manifest.labels.name == "street-8"
    assert manifest.preprocess.mean == (0.498, 0.498, 0.498)
    assert manifest.license == "none"
    assert manifest.parents[0].sha256 == read_manifest(checkpoint).sha256
    assert manifest.parity is not None
    assert manifest.parity.passed
    assert not manifest.parity.chaotic
    assert manifest.parity.agreement == 1.0
    assert 0 < manifest.parity.max_abs_error < 1e-2 * manifest.parity.max_abs_reference
    assert manifest.macs is not None
    assert manifest.macs > 1_000_000


def test_what_tensorrt_cannot_read_is_not_in_the_graph(exported):
    graph = onnx.load(exported).graph
    operators = {node.op_type for node in graph.node}
    assert not operators & {"Col2Im", "Loop", "If", "SequenceConstruct", "SplitToSequence"}
    assert "BatchNormalization" not in operators
    readers = [node.op_type for node in graph.node if "frame" in node.input]
    assert readers == ["Cast"], "a uint8 input may feed a cast only"
    assert next(node.op_type for node in graph.node if "mask" in node.output) == "Cast"


def test_nothing_of_the_machine_is_in_the_file(exported):
    graph = exported.read_bytes()
    for trace in (b"site-packages", str(Path.cwd()).encode(), str(Path.home()).encode() + b"/"):
        assert trace not in graph
    assert not re.search(rb"[\w/]+\.py\b", graph)


def test_names_have_no_colon_or_space(exported):
    """Calibration caches split at the last colon."""
    graph = onnx.load(exported).graph
    names = [name for node in graph.node for name in (*node.output, node.name)]
    assert not [name for name in names if ":" in name or " " in name]


def test_logits_head(checkpoint, tmp_path):
    manifest = export(checkpoint, ExportOptions(tmp_path / "l.onnx", SIZE, head="logits"))
    assert manifest.outputs[0].shape == (1, 8, *SIZE)
    session = ort.InferenceSession(tmp_path / "l.onnx", providers=["CPUExecutionProvider"])
    frame = np.zeros((1, *SIZE, 3), np.uint8)
    assert session.run(None, {"frame": frame})[0].dtype == np.float32


def test_a_wrong_graph_does_not_pass(checkpoint):
    """The gate can fail: one weight of the graph changed by a tenth."""
    net, _ = load_checkpoint(checkpoint)
    graph = to_onnx(net, SIZE, "mask")
    assert compare(net, graph, SIZE, "mask").passed
    largest = max(
        (t for t in graph.graph.initializer if t.data_type == onnx.TensorProto.FLOAT),
        key=lambda tensor: len(tensor.raw_data),
    )
    values = np.frombuffer(largest.raw_data, np.float32).copy()
    values[: len(values) // 2] *= 1.1
    largest.raw_data = values.tobytes()
    verdict = compare(net, graph, SIZE, "mask")
    assert not verdict.passed
    with pytest.raises(ParityError, match="nothing was written"):
        require(verdict)


@pytest.mark.parametrize("chaotic", [False, True])
def test_a_graph_that_gives_nan_does_not_pass_however_chaotic_the_network(
    checkpoint, chaotic, monkeypatch
):
    if chaotic:
        monkeypatch.setattr("export.parity.CHAOTIC", 0.0)
    net, _ = load_checkpoint(checkpoint)
    graph = to_onnx(net, SIZE, "mask")
    weight = next(t for t in graph.graph.initializer if len(t.dims) == 4)
    nothing = np.full_like(onnx.numpy_helper.to_array(weight), np.nan)
    weight.CopyFrom(onnx.numpy_helper.from_array(nothing, weight.name))

    verdict = compare(net, graph, SIZE, "mask", frames=1)

    assert verdict.chaotic == chaotic
    assert not verdict.passed
    assert np.isnan(verdict.max_abs_error)


def test_a_failed_gate_writes_nothing(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("export.parity.GATE", 1e-9)
    with pytest.raises(ParityError):
        export(checkpoint, ExportOptions(tmp_path / "n.onnx", SIZE))
    assert list(tmp_path.iterdir()) == []


def test_our_checkpoint_comes_back_whole(checkpoint):
    net, manifest = load_checkpoint(checkpoint)
    assert manifest.kind == "checkpoint"
    assert net.config == preset("street-n")
    assert not net.training


def test_a_checkpoint_with_other_tensors_is_refused(checkpoint, tmp_path):
    from edge_runtime.artifacts import manifest_path, sha256_of, write_artifact

    other = tmp_path / "other.safetensors"
    (tmp_path / "part").write_bytes(checkpoint.read_bytes())
    manifest = read_manifest(checkpoint)
    network = {**manifest.options["network"], "num_classes": 5}
    write_artifact(tmp_path / "part", other, replace(manifest, options={"network": network}))
    assert sha256_of(other) == read_manifest(other).sha256
    assert manifest_path(other).exists()
    with pytest.raises(ArtifactError, match="does not hold its manifest's network"):
        load_checkpoint(other)


def test_a_checkpoint_of_another_hash_is_refused(checkpoint, tmp_path):
    copy = tmp_path / "net.safetensors"
    copy.write_bytes(checkpoint.read_bytes()[:-1] + b"\0")
    manifest = checkpoint.with_name("net.safetensors.json").read_text()
    (tmp_path / "net.safetensors.json").write_text(manifest)
    with pytest.raises(ManifestError, match="does not belong to"):
        load_checkpoint(copy)


@pytest.mark.parametrize(
    ("output", "complaint"), [("x.engine", "must end in .onnx"), ("nowhere/x.onnx", "no folder")]
)
def test_an_output_that_cannot_be_is_refused_at_once(tmp_path, output, complaint):
    with pytest.raises(OptionError, match=complaint):
        ExportOptions(tmp_path / output)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["missing.safetensors"], "no model"),
        (["{checkpoint}", "--size", "100x100"], "64x64 and 128x128"),
        (["{checkpoint}", "--size", "large"], "HxW"),
        (["{checkpoint}", "--matrix", "bt601"], "this input is rgb: add --input nv12"),
        (["{checkpoint}", "--precision", "fp16", "--range", "full"], "this input is rgb"),
        (["street-edge-n", "--precision", "fp16", "--matrix", "bt709"], "this input is rgb"),
        (["street-edge-n", "--input", "rgb", "--range", "full"], "this input is rgb"),
        (["{empty}"], "0 bytes"),
        (["{text}"], "manifest"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    checkpoint, tmp_path, capsys, arguments, complaint
):
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "text.safetensors").write_text("hello")
    places = {
        "checkpoint": checkpoint,
        "empty": tmp_path / "empty.safetensors",
        "text": tmp_path / "text.safetensors",
    }
    output = tmp_path / "out.onnx"
    words = [argument.format(**places) for argument in arguments]
    assert main(["export", *words, "-o", str(output)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("hyperseg: error:")
    assert complaint in error
    assert not output.exists()


@pytest.mark.parametrize("what", ["checkpoint", "onnx", "preset"])
def test_inspect_says_size_work_and_classes(checkpoint, exported, capsys, what):
    artefact = {"checkpoint": str(checkpoint), "onnx": str(exported), "preset": "voc-l"}[what]
    assert main(["inspect", artefact, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["macs"] > 0
    assert facts["parameters"] > 0
    assert main(["inspect", artefact]) == 0
    assert "macs" in capsys.readouterr().out


def test_inspect_counts_a_published_network(capsys):
    assert main(["inspect", "cityscapes-m", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["macs"] == pytest.approx(7.685e9, rel=1e-3)
    assert facts["deployed"]["macs"] < facts["macs"]
    assert [level["signal_channels"] for level in facts["levels"]] == [416, 224, 128, 192, 320]
    assert [level["patch_px"] for level in facts["levels"]][-1] == [16, 16]


def test_inspect_refuses_what_is_nothing(capsys):
    assert main(["inspect", "cityscapes-xl"]) == 2
    assert "no model 'cityscapes-xl'" in capsys.readouterr().err
