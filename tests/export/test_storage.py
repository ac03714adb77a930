"""Weights stored as float16: half the file, the same graph again when unpacked."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.errors import ParityError
from edge_runtime.stored_weights import unpack_weights
from export.storage import measure_loss, pack_weights


def _graph(kernel: np.ndarray) -> onnx.ModelProto:
    """uint8 frame -> Cast -> Conv -> ArgMax -> uint8 mask."""
    classes = kernel.shape[0]
    nodes = [
        helper.make_node("Cast", ["frame"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["image"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["image", "kernel", "bias"], ["logits"], pads=[1, 1, 1, 1]),
        helper.make_node("ArgMax", ["logits"], ["ids"], axis=1, keepdims=0),
        helper.make_node("Cast", ["ids"], ["mask"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, 16, 16, 3])],
        [helper.make_tensor_value_info("mask", TensorProto.UINT8, [1, 16, 16])],
        [
            numpy_helper.from_array(kernel.astype(np.float32), "kernel"),
            numpy_helper.from_array(np.zeros(classes, np.float32), "bias"),
        ],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.fixture
def model() -> onnx.ModelProto:
    return _graph(np.random.default_rng(0).standard_normal((32, 3, 3, 3)))


def test_large_weights_take_half_and_small_ones_stay(model: onnx.ModelProto) -> None:
    packed = pack_weights(model)
    stored = {t.name: numpy_helper.to_array(t) for t in packed.graph.initializer}
    assert stored["kernel_float16"].dtype == np.float16
    assert stored["bias"].dtype == np.float32
    assert "kernel" not in stored


def test_unpacked_it_is_the_first_graph_with_rounded_weights(model: onnx.ModelProto) -> None:
    # Given a graph and its packed form
    unpacked = unpack_weights(pack_weights(model))

    # When both are compared tensor by tensor
    before = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    after = {t.name: numpy_helper.to_array(t) for t in unpacked.graph.initializer}

    # Then nodes and names are the same, and every weight is its float16 neighbour
    assert list(unpacked.graph.node) == list(model.graph.node)
    assert before.keys() == after.keys()
    np.testing.assert_array_equal(after["kernel"], before["kernel"].astype(np.float16))
    np.testing.assert_array_equal(after["bias"], before["bias"])


def test_a_graph_that_was_never_packed_is_left_as_it_is(model: onnx.ModelProto) -> None:
    assert unpack_weights(model) == model


def test_the_runtime_answers_as_with_rounded_weights(model: onnx.ModelProto) -> None:
    packed = pack_weights(model)
    frame = np.random.default_rng(1).integers(0, 256, (1, 16, 16, 3), np.uint8)
    answers = []
    for graph in (packed, unpack_weights(packed)):
        session = onnxruntime.InferenceSession(graph.SerializeToString())
        answers.append(session.run(None, {"frame": frame})[0])
    np.testing.assert_array_equal(*answers)


def test_the_loss_counts_the_pixels_that_change(model: onnx.ModelProto) -> None:
    # Given frames, and a file whose weights are another network's
    frames = np.random.default_rng(1).integers(0, 256, (3, 1, 16, 16, 3), np.uint8)
    other = _graph(np.random.default_rng(9).standard_normal((32, 3, 3, 3)))

    # When compared with itself and with the other
    same, different = measure_loss(model, model, frames), measure_loss(model, other, frames)

    # Then only the other differs
    assert (same.pixels_changed, same.frames) == (0.0, 3)
    assert different.pixels_changed > 0.5


def test_a_weight_beyond_float16_is_refused_by_name(model: onnx.ModelProto) -> None:
    kernel = numpy_helper.to_array(model.graph.initializer[0]).copy()
    kernel[3, 1, 0, 0] = 1e6
    with pytest.raises(ParityError, match=r"weight kernel reaches 1e\+06.*--store float32"):
        pack_weights(_graph(kernel))
