"""Weights stored small: as integers on the way out, as float16 on the way in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from calibration.policy import POLICIES, place
from calibration.qdq import insert, strip
from calibration.storage import store_int8
from edge_runtime import cli
from edge_runtime.artifacts import read_manifest
from edge_runtime.errors import ArtifactError
from edge_runtime.stored_weights import SUFFIX
from tests.calibration.graphs import deploy_graph, frames, write_model

SCORES = onnx.helper.make_tensor_value_info("scores", 1, None)


def quantised(model: onnx.ModelProto, policy: str = "ort-cpu") -> onnx.ModelProto:
    placement = place(model, POLICIES[policy])
    return insert(model, placement, {tensor.name: 6.0 for tensor in placement.tensors})


def scores(graph: onnx.ModelProto, frame: np.ndarray, level: ort.GraphOptimizationLevel):
    """What ArgMax decides on: it would hide differences."""
    shown = onnx.ModelProto.FromString(graph.SerializeToString())
    shown.graph.output.append(SCORES)
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 4
    session = ort.InferenceSession(shown.SerializeToString(), options)
    return session.run(["scores"], {"frame": frame[None]})[0]


def with_halves(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """Weights that fall exactly between two integers of their grid, and beyond float's odds."""
    rng = np.random.default_rng(seed)
    for tensor in model.graph.initializer:
        if tensor.name.endswith(".weight"):
            values = rng.integers(-254, 255, tensor.dims).astype(np.float32) / 2
            values.reshape(len(values), -1)[:, 0] = 127
            values *= np.float32(rng.uniform(1e-3, 1e-2))
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


def packed(model: onnx.ModelProto) -> onnx.ModelProto:
    """As ``hyperseg export --store float16`` writes a model."""
    work = onnx.ModelProto.FromString(model.SerializeToString())
    casts = []
    for tensor in work.graph.initializer:
        if tensor.name.endswith(".weight"):
            name, values = tensor.name, numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(values, name + SUFFIX))
            casts.append(onnx.helper.make_node("Cast", [name + SUFFIX], [name], to=1))
    nodes = [*casts, *work.graph.node]
    del work.graph.node[:]
    work.graph.node.extend(nodes)
    onnx.checker.check_model(work, full_check=True)
    return work


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("seed", range(3))
def test_answers_are_the_same_bit_for_bit(policy, seed):
    # given a graph, and the same with stored integers
    graph = quantised(with_halves(deploy_graph(), seed), policy)
    stored = store_int8(graph)
    # when both run, fused and plainly, then not one bit differs
    levels = (ort.GraphOptimizationLevel.ORT_ENABLE_ALL, ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    for level in levels:
        for frame in frames(2, seed):
            one, two = scores(graph, frame, level), scores(stored, frame, level)
            assert one.std() > 0
            np.testing.assert_array_equal(one, two)


def test_only_integers_are_left_of_quantised_weights():
    graph = quantised(deploy_graph())
    kept = {t.name: numpy_helper.to_array(t) for t in store_int8(graph).graph.initializer}
    weight = "network.b.expand.weight"
    assert weight not in kept
    assert kept[f"{weight}__q"].dtype == np.int8
    assert np.abs(kept[f"{weight}__q"].astype(int)).max(axis=(1, 2, 3)).tolist() == [127] * 32
    assert kept["network.maker.weight"].dtype == np.float32


def test_a_float_weight_that_is_read_elsewhere_stays():
    model = deploy_graph()
    model.graph.node.append(
        onnx.helper.make_node("ReduceMax", ["network.join.weight"], ["extra"], keepdims=0)
    )
    model.graph.output.append(onnx.helper.make_tensor_value_info("extra", 1, []))
    names = {tensor.name for tensor in store_int8(quantised(model)).graph.initializer}
    assert {"network.join.weight", "network.join.weight__q"} <= names


def test_there_is_no_way_back_and_it_says_so():
    with pytest.raises(ArtifactError, match=r"'network\.[a-z.]+', are gone.*stored as INT8; start"):
        strip(store_int8(quantised(deploy_graph())))


def hyperseg(*arguments: object) -> int:
    return cli.main([str(argument) for argument in ("calibrate", *arguments)])


@pytest.mark.parametrize("store", ["float32", "int8"])
def test_a_model_of_float16_weights_is_calibrated_as_its_float32_form(tmp_path: Path, store: str):
    # given a model whose weights float16 can hold, stored both ways
    exact = deploy_graph()
    for tensor in exact.graph.initializer:
        if tensor.name.endswith(".weight"):
            values = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    (tmp_path / "packed").mkdir()
    models = [write_model(tmp_path, exact), write_model(tmp_path / "packed", packed(exact))]
    # when both are calibrated
    outputs = [tmp_path / "one.onnx", tmp_path / "two.onnx"]
    for model, output in zip(models, outputs, strict=True):
        assert hyperseg(
            model, "--frames", "street:", "--samples", 4, "--method", "minmax", "--store", store,
            "-o", output,
        ) == 0  # fmt: skip
    # then the same INT8 model comes out, and its manifest says how it is stored
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert read_manifest(outputs[1]).options["quantization"]["store"] == store
    assert read_manifest(outputs[1]).parents[0].sha256 == read_manifest(models[1]).sha256


def test_a_stored_model_cannot_be_calibrated_again(tmp_path: Path, capsys):
    output = tmp_path / "int8.onnx"
    model = write_model(tmp_path, store_int8(quantised(deploy_graph())))
    assert hyperseg(model, "--frames", "street:", "-o", output) == 2
    assert "start from the float model" in capsys.readouterr().err
    assert not output.exists()
