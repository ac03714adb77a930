"""INT8 models a third of the size: quantised weights stored as the integers they round to.

The Q of a weight's pair is computed here instead of by the engine, and the float weight left out.
Answers stay the same bit for bit; what is lost is the way back to the float model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from calibration.graph import QUANTIZE, GraphView
from calibration.qdq import Q

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray


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
    """What QuantizeLinear gives with zero point 0: divided, rounded half to even, saturated."""
    shape = [1] * weight.ndim
    shape[axis] = -1
    steps = np.rint(weight / scales.reshape(shape))
    return np.asarray(np.clip(steps, -128, 127), np.int8)
