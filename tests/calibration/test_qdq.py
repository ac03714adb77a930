from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from calibration.graph import GraphView
from calibration.judge import Runner
from calibration.policy import POLICIES, place
from calibration.qdq import activation_grid, insert, strip, weight_scales
from edge_runtime.errors import ArtifactError, OptionError
from tests.calibration.graphs import deploy_graph, frames

NAMES = sorted(POLICIES)


def quantised(policy: str, **choices: object) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    model = deploy_graph()
    placement = place(model, POLICIES[policy], **choices)
    ranges = {tensor.name: 6.0 for tensor in placement.tensors}
    return model, insert(model, placement, ranges)


@pytest.mark.parametrize("policy", NAMES)
def test_strip_gives_back_the_original_bytes(policy):
    model, graph = quantised(policy)
    assert graph.SerializeToString() != model.SerializeToString()
    assert strip(graph).SerializeToString() == model.SerializeToString()
    assert strip(model).SerializeToString() == model.SerializeToString()


@pytest.mark.parametrize("policy", NAMES)
def test_inserting_again_changes_nothing(policy):
    model, graph = quantised(policy)
    placement = place(model, POLICIES[policy])
    again = insert(graph, placement, {t.name: 6.0 for t in placement.tensors})
    assert again.SerializeToString() == graph.SerializeToString()


@pytest.mark.parametrize("policy", NAMES)
def test_scales_are_constants_zero_points_symmetric_and_weights_per_channel(policy):
    _, graph = quantised(policy)
    view = GraphView(graph)
    for node in graph.graph.node:
        if node.op_type != "QuantizeLinear":
            continue
        scale, zero = view.value(node.input[1]), view.value(node.input[2])
        assert scale is not None
        assert zero is not None
        assert scale.dtype == np.float32
        assert (scale > 0).all()
        if view.constant(node.input[0]) is not None:
            assert scale.shape == (view.shape(node.input[0])[0],)
        else:
            assert scale.shape == ()
        allowed = {("uint8", 0), ("uint8", 128)} if policy == "ort-cpu" else {("int8", 0)}
        if view.constant(node.input[0]) is not None:
            allowed = {("int8", 0)}
        assert {(str(zero.dtype), int(z)) for z in zero.reshape(-1)} <= allowed


@pytest.mark.parametrize("policy", NAMES)
def test_onnxruntime_computes_what_the_operators_are_defined_to_give(policy):
    # given the graph up to its scores: ArgMax would hide errors
    _, graph = quantised(policy)
    del graph.graph.output[:]
    graph.graph.output.append(onnx.helper.make_tensor_value_info("scores", 1, None))
    frame = frames(1)[0][None]
    # when: with and without fusions, and by ONNX's own reference
    plain = ort.SessionOptions()
    plain.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain.log_severity_level = 4
    reference = onnx.ModelProto.FromString(graph.SerializeToString())
    reference.opset_import[0].version = 19  # the reference has these operators from there on
    wanted = ReferenceEvaluator(reference).run(None, {"frame": frame})[0]
    steps = [
        ort.InferenceSession(graph.SerializeToString(), options).run(None, {"frame": frame})[0]
        for options in (plain, ort.SessionOptions())
    ]
    # then values differ by single steps of 6/127, where rounding fell on the other side
    for found in steps:
        assert np.abs(found - wanted).mean() < 0.02
        assert np.abs(found - wanted).max() < 0.3


@pytest.mark.parametrize("dynamic", [False, True])
def test_onnxruntime_fuses_every_quantised_convolution(tmp_path, dynamic):
    # given
    _, graph = quantised("ort-cpu", dynamic=dynamic)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    # when
    ort.InferenceSession(graph.SerializeToString(), options)
    # then: no Clip is left where a zero point of 0 and the scale do its work
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("QLinearConv") == 4 + dynamic
    assert kinds.count("QLinearAdd") == 1
    assert kinds.count("QLinearConcat") == 1
    assert kinds.count("Clip") == 0
    assert kinds.count("Relu") == 0


def test_a_missing_range_is_named():
    model = deploy_graph()
    placement = place(model, POLICIES["trt-gpu"])
    with pytest.raises(OptionError, match="'depthwise6'"):
        insert(model, placement, {t.name: 1.0 for t in placement.tensors if t.name != "depthwise6"})


@pytest.mark.parametrize("amax", [0.0, -1.0, float("nan"), float("inf"), 1e-44])
def test_a_range_that_cannot_be_a_scale_is_refused(amax):
    with pytest.raises(OptionError, match="cannot be quantised"):
        activation_grid(POLICIES["ort-cpu"], signed=True, bound=None, amax=amax)


def test_pairs_of_other_origin_are_refused():
    model = deploy_graph()
    model.graph.node.append(
        onnx.helper.make_node("QuantizeLinear", ["logits", "six"], ["foreign"], name="mine")
    )
    with pytest.raises(ArtifactError, match="not inserted here"):
        strip(model)


@given(st.floats(1e-6, 1e6), st.floats(0.01, 100.0))
def test_a_grid_never_reaches_past_a_clip(amax, bound):
    grid = activation_grid(POLICIES["ort-cpu"], signed=False, bound=bound, amax=amax)
    top = float(grid.scale) * 255
    assert top <= bound
    assert top == pytest.approx(min(amax, bound), rel=1e-6)


def test_a_dead_channel_keeps_its_bias_within_int32():
    # given weights that all but vanished beside a bias that did not
    weight = np.ones((3, 4, 1, 1), np.float32)
    weight[1] = 1e-12
    weight[2] = 0
    # when
    scales = weight_scales(weight, 0, np.array([1.0, 2.0, 0.0], np.float32), 0.01)
    # then
    assert scales[0] == pytest.approx(1 / 127)
    assert 2.0 / (scales[1] * 0.01) <= 2**30 * 1.0001
    assert scales[2] == 1.0


def test_a_graph_with_a_dead_channel_runs_right_in_onnxruntime():
    # given
    model = deploy_graph()
    tensor = next(t for t in model.graph.initializer if t.name == "network.b.expand.weight")
    values = numpy_helper.to_array(tensor).copy()
    values[3] = 1e-13
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    placement = place(model, POLICIES["ort-cpu"])
    graph = insert(model, placement, {t.name: 6.0 for t in placement.tensors})
    # when
    frame = frames(1)[0]
    agreement = np.mean(Runner(model, 1).mask(frame) == Runner(graph, 1).mask(frame))
    # then
    assert agreement > 0.9
