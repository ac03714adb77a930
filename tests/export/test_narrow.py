"""Index constants take half the bytes, and select the same."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.narrow import narrow_indices


def model(reader: list[onnx.NodeProto]) -> onnx.ModelProto:
    """y = x gathered by a constant; `reader` are nodes that may read the constant too."""
    indices = numpy_helper.from_array(np.array([2, 0, 2]), "indices")
    nodes = [helper.make_node("Gather", ["x", "indices"], ["y"], axis=0), *reader]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])]
    outputs += [
        helper.make_tensor_value_info(name, TensorProto.INT64, [None])
        for node in reader
        for name in node.output
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 2])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [indices])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def dtype_of_indices(graph: onnx.ModelProto) -> int:
    return graph.graph.initializer[0].data_type


def test_indices_become_int32_and_select_the_same():
    graph = model([])
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    expected = ReferenceEvaluator(graph).run(None, {"x": x})[0]
    narrow_indices(graph)
    onnx.checker.check_model(graph, full_check=True)
    assert dtype_of_indices(graph) == TensorProto.INT32
    assert np.array_equal(ReferenceEvaluator(graph).run(None, {"x": x})[0], expected)


def test_what_was_inferred_of_an_index_does_not_contradict_it():
    # given a graph in which shape inference has noted the constant's type
    graph = model([])
    note = helper.make_tensor_value_info("indices", TensorProto.INT64, [3])
    graph.graph.value_info.append(note)

    narrow_indices(graph)

    onnx.checker.check_model(graph, full_check=True)
    assert [value.name for value in graph.graph.value_info] == []


def test_what_another_node_reads_as_int64_stays():
    graph = model([helper.make_node("Identity", ["indices"], ["z"])])
    narrow_indices(graph)
    assert dtype_of_indices(graph) == TensorProto.INT64


def test_what_int32_cannot_hold_stays():
    graph = model([])
    graph.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([2**31]), "indices"))
    narrow_indices(graph)
    assert dtype_of_indices(graph) == TensorProto.INT64
