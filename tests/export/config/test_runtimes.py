"""What is written for each runtime, read by the parser of its format."""

from __future__ import annotations

import ast
import configparser
import json
import subprocess
from pathlib import Path

import onnx
import pytest
from google.protobuf import text_format

from edge_runtime.artifacts import TensorSpec, read_manifest, sha256_of
from edge_runtime.errors import ArtifactError
from export.config.deepstream import plan_deepstream
from export.config.isaac_ros import plan_isaac_ros
from export.config.subject import load_subject
from export.config.triton import plan_triton
from export.config.write import write_plan
from tests.export.config.conftest import LABELS, SIZE, logits_graph, quantised_graph
from tests.export.config.triton_schema import model_config

NVINFER_KEYS = """
    batch-size gie-unique-id gpu-id infer-dims labelfile-path maintain-aspect-ratio
    model-color-format model-engine-file net-scale-factor network-input-order network-mode
    network-type num-detected-classes offsets onnx-file output-blob-names output-tensor-meta
    process-mode segmentation-output-order segmentation-threshold symmetric-padding
"""
"""Of nvinfer's ``gstnvinfer_property_parser.h``, those that a segmentation network may need."""


def written(tmp_path: Path, path: Path, make, runtime: str = "test", **options) -> tuple:
    """The folder that a plan became, and its notes."""
    subject = load_subject(path)
    plan = make(subject, **options)
    write_plan(tmp_path / "out", subject, plan, runtime)
    return tmp_path / "out", plan.notes


def nvinfer(folder: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=True)
    parser.read_string((folder / "config_infer_tiny.txt").read_text())
    assert parser.sections() == ["property"]
    return dict(parser["property"])


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        ({}, {}, {"network-type": "100", "output-tensor-meta": "1", "output-blob-names": "mask"}),
        (
            {},
            {"scores": True},
            {"network-type": "2", "segmentation-threshold": "0.5", "output-blob-names": "scores"},
        ),
        (
            {"graph": logits_graph(), "head": "logits"},
            {},
            {"network-type": "2", "segmentation-threshold": "0.0", "output-blob-names": "scores"},
        ),
        ({"color": "BGR"}, {}, {"model-color-format": "1", "network-mode": "0"}),
        ({"color": "RGB"}, {}, {"model-color-format": "0", "maintain-aspect-ratio": "0"}),
        ({"resize": "letterbox"}, {}, {"maintain-aspect-ratio": "1", "symmetric-padding": "1"}),
        ({"graph": quantised_graph()}, {}, {"network-mode": "1"}),
    ],
)
def test_nvinfer_is_told_what_the_manifest_says(tmp_path, subject, model, options, expected):
    folder, notes = written(tmp_path, subject(**model), plan_deepstream, **options)
    found = nvinfer(folder)
    assert set(found) <= set(NVINFER_KEYS.split())
    assert found.items() >= expected.items()
    assert found["infer-dims"] == f"3;{SIZE};{SIZE}"
    assert (found["net-scale-factor"], found["network-input-order"]) == ("1.0", "0")
    assert found["num-detected-classes"] == str(len(LABELS))
    # and what it names is there, with the input and output it names
    graph = onnx.load(folder / found["onnx-file"]).graph
    assert [value.name for value in graph.output] == [found["output-blob-names"]]
    assert (folder / found["labelfile-path"]).read_text().splitlines() == list(LABELS.names)
    assert found["model-engine-file"].startswith(found["onnx-file"] + "_b1_gpu0_")
    assert ("--stronglyTyped" in " ".join(notes)) == (found["network-mode"] == "1")


@pytest.mark.parametrize(("scores", "last"), [(False, "fakesink"), (True, "nvsegvisual")])
def test_the_pipeline_is_a_script_for_this_configuration(tmp_path, subject, scores, last):
    folder, _ = written(tmp_path, subject(), plan_deepstream, scores=scores)
    script = folder / "pipeline.sh"
    subprocess.run(["sh", "-n", script], check=True)
    assert "nvinfer config-file-path=config_infer_tiny.txt ! \\\n    " + last in script.read_text()
    # without an argument it says what it wants
    refused = subprocess.run(["sh", script], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "give the URI of a video" in refused.stderr


def test_triton_serves_the_very_model(tmp_path, subject):
    # Given a model, when it becomes a folder of a repository
    path = subject()
    folder, _ = written(tmp_path, path, plan_triton)
    config = text_format.Parse((folder / "config.pbtxt").read_text(), model_config()())
    # Then inputs, outputs and names are the manifest's
    manifest = read_manifest(path)
    assert (config.name, config.backend, config.max_batch_size) == ("tiny", "onnxruntime", 0)
    kinds = config.DESCRIPTOR.file.enum_types_by_name["DataType"].values_by_name
    for tensors, specs in ((config.input, manifest.inputs), (config.output, manifest.outputs)):
        assert [tensor.name for tensor in tensors] == [spec.name for spec in specs]
        assert [tuple(tensor.dims) for tensor in tensors] == [spec.shape for spec in specs]
        assert {tensor.data_type for tensor in tensors} == {kinds["TYPE_UINT8"].number}
    (warmup,) = config.model_warmup
    assert (warmup.batch_size, warmup.inputs[0].key) == (1, "frame")
    assert tuple(warmup.inputs[0].value.dims) == manifest.inputs[0].shape
    parameters = {entry.key: entry.value.string_value for entry in config.parameters}
    assert json.loads(parameters["labels"]) == list(LABELS.names)
    assert json.loads(parameters["palette_rgb"]) == [list(colour) for colour in LABELS.palette]
    assert (parameters["color_order"], parameters["resize"]) == ("RGB", "stretch")
    # and the file is the artefact, byte for byte
    assert sha256_of(folder / "1" / "model.onnx") == manifest.sha256 == parameters["sha256"]


def test_triton_takes_scores_and_engines_of_tensorrt(tmp_path, subject):
    engine = subject(
        kind="engine",
        head="logits",
        outputs=(TensorSpec("logits", (1, 5, SIZE, SIZE), "float16"),),
        options={"engine": {"runtime": "tensorrt"}},
    )
    folder, notes = written(tmp_path, engine, plan_triton)
    config = text_format.Parse((folder / "config.pbtxt").read_text(), model_config()())
    assert config.backend == "tensorrt"
    assert "TYPE_FP16" in (folder / "config.pbtxt").read_text()
    assert (folder / "1" / "model.plan").read_bytes() == engine.read_bytes()
    assert any("only under the TensorRT version" in note for note in notes)


def test_triton_is_not_given_an_engine_of_another_runtime(subject):
    engine = subject(kind="engine", options={"engine": {"runtime": "tensorrt_rtx"}})
    with pytest.raises(ArtifactError, match="is an engine of tensorrt_rtx; Triton's backend"):
        plan_triton(load_subject(engine))


def literals(path: Path) -> dict[str, dict]:
    """The parameters at the top of a launch file, without running it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    return {node.targets[0].id: ast.literal_eval(node.value) for node in assigned}


@pytest.mark.parametrize(
    ("color", "resize", "keep"), [("RGB", "stretch", "False"), ("BGR", "letterbox", "True")]
)
def test_isaac_ros_is_told_what_the_manifest_says(tmp_path, subject, color, resize, keep):
    folder, notes = written(tmp_path, subject(color=color, resize=resize), plan_isaac_ros)
    found = literals(folder / "tiny.launch.py")
    encoder, engine, decoder = found["ENCODER"], found["TENSOR_RT"], found["DECODER"]
    assert encoder["encoding_desired"] == f"{color.lower()}8"
    assert encoder["keep_aspect_ratio"] == keep
    assert (encoder["network_image_height"], encoder["network_image_width"]) == (str(SIZE),) * 2
    # (x / 255 - mean) / stddev is x
    assert ast.literal_eval(encoder["image_mean"]) == [0.0] * 3
    assert ast.literal_eval(encoder["image_stddev"]) == pytest.approx([1 / 255] * 3)
    # the encoder's tensor is the node's input, and what it is bound to is in the model
    assert engine["input_tensor_names"] == [encoder["final_tensor_name"]]
    graph = onnx.load(folder / "tiny.onnx").graph
    assert engine["input_binding_names"] == [graph.input[0].name]
    assert engine["output_binding_names"] == [graph.output[0].name]
    assert engine["input_tensor_formats"] == [f"nitros_tensor_list_nchw_{color.lower()}_f32"]
    assert (decoder["network_output_type"], decoder["mask_width"]) == ("argmax", SIZE)
    assert decoder["color_palette"] == [0x010203, 0xFF0010, 0x00FF00, 0x0000FF, 0x090909]
    assert any("see that it is centred" in note for note in notes) == (resize == "letterbox")


@pytest.mark.parametrize("plan", [plan_deepstream, plan_isaac_ros])
def test_an_engine_cannot_be_fed_by_them(subject, plan):
    engine = subject(kind="engine", options={"engine": {"runtime": "tensorrt"}})
    with pytest.raises(ArtifactError, match="give the ONNX model it was built from"):
        plan(load_subject(engine))
