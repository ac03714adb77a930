"""The noise floor of a graph: how far rounding alone moves its answers.

Every weight is moved by one rounding unit of a precision, up or down at random, and the graph is
run again. What that changes is what no comparison may hold against a form of the same graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx
from onnx import numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Precision = Literal["fp32", "fp16", "int8"]

ROUNDING: dict[Precision, float] = {
    "fp32": float(np.finfo(np.float32).eps),
    "fp16": float(np.finfo(np.float16).eps),
    "int8": 1 / 254,
}
"""One rounding unit: a share of each weight, or, for int8, of the largest of its channel."""

EPS_RATIO = float(np.finfo(np.float64).eps / np.finfo(np.float32).eps)
"""How much finer float64 rounds than float32."""
SIZING = ("Resize", "Upsample")
"""Operators whose constants decide on shapes."""
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)


def jittered(model: onnx.ModelProto, precision: Precision, seed: int = 0) -> onnx.ModelProto:
    """A copy whose weights are each moved by up to one rounding unit of `precision`.

    Single numbers and the constants of resizing are left alone: among them are those that must be
    exact.

    Args:
        model: a graph with its weights in memory.
        precision: whose rounding unit.
        seed: of the directions.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    rng = np.random.default_rng(seed)
    for tensor in _weights(copy.graph):
        values = numpy_helper.to_array(tensor)
        if values.size < 2 or not np.isfinite(values).all():
            continue
        moved = _moved(values, precision, rng)
        tensor.CopyFrom(numpy_helper.from_array(moved.astype(values.dtype), tensor.name))
    return copy


def _moved(
    values: NDArray[Any], precision: Precision, rng: np.random.Generator
) -> NDArray[np.float64]:
    wide: NDArray[np.float64] = values.astype(np.float64)
    unit = ROUNDING[precision]
    if precision == "int8":
        # Rounding to a grid: evenly spread over one step of the channel's range.
        axes = tuple(range(1, wide.ndim))
        largest = np.abs(wide).max(axis=axes, keepdims=True) if axes else np.abs(wide).max()
        moved: NDArray[np.float64] = wide + rng.uniform(-1, 1, wide.shape) * unit * largest
    else:
        moved = wide * (1 + rng.choice((-unit, unit), wide.shape))
    return moved


def _weights(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    exact = {name for node in graph.node if node.op_type in SIZING for name in node.input[1:]}
    for tensor in graph.initializer:
        if tensor.data_type in FLOATS and tensor.name not in exact:
            yield tensor
    for node in graph.node:
        for attribute in node.attribute:
            is_tensor = attribute.type == onnx.AttributeProto.TENSOR
            if is_tensor and attribute.t.data_type in FLOATS and exact.isdisjoint(node.output):
                yield attribute.t
