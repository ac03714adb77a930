"""Quantised weights stored as integers: chosen ones, or those that the Q of their pair makes.

`store_int8` computes the Q of a weight's pair instead of the engine, and leaves the float weight
out: a third of the size. Answers stay the same bit for bit; what is lost is the way back to the
float model. `with_integers` puts integers there that were rounded otherwise, and keeps the float
weight, which nothing reads then, for `calibration.qdq.strip`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from calibration.graph import QUANTIZE, GraphView
from calibration.qdq import SCALE, Q
from calibration.rounding import round_nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx
    from numpy.typing import NDArray

    from calibration.adaptive import Rounded


def with_integers(graph: onnx.ModelProto, rounded: Mapping[str, Rounded] | None) -> onnx.ModelProto:
    """A copy of a graph with our pairs whose quantised weights are the given integers.

    A weight that this graph leaves float, or quantises with other scales than its integers were
    chosen on, is left as it is. Without any integers the graph itself comes back.

    Args:
        graph: as `calibration.qdq.insert` gives it.
        rounded: weight -> integers.
    """
    if not rounded:
        return graph
    import onnx
    from onnx import numpy_helper

    work = onnx.ModelProto()
    work.CopyFrom(graph)
    view = GraphView(work)
    fitting = {}
    for name, choice in rounded.items():
        scales = view.value(name + SCALE)
        if scales is not None and np.array_equal(scales, choice.scales):
            fitting[name + Q] = choice.integers
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in work.graph.node]
    del work.graph.node[:]
    work.graph.node.extend(node for node in nodes if node.output[0] not in fitting)
    work.graph.initializer.extend(
        numpy_helper.from_array(values, name) for name, values in fitting.items()
    )
    onnx.checker.check_model(work, full_check=True)
    return work


def store_int8(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph with our pairs whose quantised weights are int8 initializers.

    A float weight that an operator reads beside its pair is kept.

    Args:
        graph: as `calibration.qdq.insert` gives it.
    """
    import onnx
    from onnx import numpy_helper

    work = onnx.ModelProto()
    work.CopyFrom(graph)
    view = GraphView(work)
    integers: dict[str, onnx.TensorProto] = {}
    kept = []
    for node in work.graph.node:
        weight = view.initializers.get(node.input[0]) if node.op_type == QUANTIZE else None
        if weight is None or not node.output[0].endswith(Q):
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
            continue
        values = _integers(
            numpy_helper.to_array(weight),
            numpy_helper.to_array(view.initializers[node.input[1]]),
            next(int(a.i) for a in node.attribute if a.name == "axis"),
        )
        integers[weight.name] = numpy_helper.from_array(values, node.output[0])
    read = {name for node in kept for name in node.input}
    tensors = []
    for tensor in work.graph.initializer:
        if tensor.name in integers:
            tensors.append(integers[tensor.name])
        if tensor.name in read:
            tensors.append(onnx.TensorProto.FromString(tensor.SerializeToString()))
    del work.graph.node[:], work.graph.initializer[:]
    work.graph.node.extend(kept)
    work.graph.initializer.extend(tensors)
    onnx.checker.check_model(work, full_check=True)
    return work


def _integers(
    weight: NDArray[np.float32], scales: NDArray[np.float32], axis: int
) -> NDArray[np.int8]:
    """What QuantizeLinear gives with zero point 0."""
    shape = [1] * weight.ndim
    shape[axis] = -1
    return round_nearest(weight, scales.reshape(shape))
